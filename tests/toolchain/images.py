"""The project's Dockerfile, built for the tests without a daemon or a network and cached by content.

`runtime_image()` gives an archive, `bring` takes it into a node. Wheels are fetched on the host, checked against the
pinned hashes, and mounted into the build; a change under runtime/ rebuilds only the layers above the dependencies.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.toolchain import base_image, buildah, cache, tools
from tests.toolchain.cluster import Cluster
from tests.toolchain.tools import Missing

PROJECT = Path(__file__).parents[2]
REPOSITORY = "kube.local/purpleflea-runtime"
SOURCES = ("Dockerfile", ".dockerignore", "requirements/runtime.txt", "runtime")
KEPT_ARCHIVES = 5
"""Each is about 100 MB and each change of the sources makes one."""


@dataclass(frozen=True)
class Image:
    """A built image: `ctr -n k8s.io images import {archive}` makes `reference` known to a node."""

    reference: str
    archive: Path


def runtime_image(project: Path = PROJECT, target: str = "runtime") -> Image:
    """The image of one target of the Dockerfile; its tag is the digest of everything that goes in.

    Raises `Missing` when this machine cannot build it, `BuildFailed` when the Dockerfile is wrong.
    """
    base = base_image.context()
    key = cache.digest([base.name.encode(), target.encode(), *_contents(project)])
    reference = f"{REPOSITORY}-{target}:{key}" if target != "runtime" else f"{REPOSITORY}:{key}"

    def make(part: Path) -> None:
        _build(project, target, reference, base, part / "image.tar")

    entry = cache.fill(f"image-{target}", key, make)
    _drop_old(entry)
    return Image(reference, entry / "image.tar")


def bring(cluster: Cluster, image: Image, name: str = "") -> None:
    """Make the image known to a node of ours, once; by `name` too, which then means this image."""
    ctr = [f"{tools.find('containerd').path.with_name('ctr')}", "--namespace", "k8s.io", "images"]
    with cache.locked("image-import", "an image in the node"):
        if image.reference not in cluster.run_inside(*ctr, "list", "--quiet").split():
            cluster.run_inside(*ctr, "import", f"{image.archive}")
        if name:
            cluster.run_inside(*ctr, "tag", "--force", image.reference, f"docker.io/{name}")


def _contents(project: Path) -> list[bytes]:
    """Names and bytes of all that the build reads, in order."""
    parts = []
    for name in SOURCES:
        source = project / name
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                parts += [file.relative_to(project).as_posix().encode(), file.read_bytes()]
    return parts


def _build(project: Path, target: str, reference: str, base: Path, archive: Path) -> None:
    wheels = _wheelhouse(project / "requirements" / "runtime.txt", base_image.python_version(base))
    with buildah.session() as store:
        cache.say("building the runtime image: about 30 s the first time, a few after a change")
        tag, builder_tag = base_image.ensure(store, base)
        arguments = {"BASE_IMAGE": tag, "BUILDER_IMAGE": builder_tag}
        options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        mount = f"{wheels}:{base_image.WHEELHOUSE}:ro"
        store.build(project, reference, "--target", target, "--volume", mount, *options)
        store.export(reference, archive)


def _wheelhouse(requirements: Path, python: str) -> Path:
    """Wheels of exactly the pinned hashes for the base's Python."""

    def download(part: Path) -> None:
        cache.say("fetching the runtime's wheels")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        rules = ["--require-hashes", "--only-binary=:all:", "--python-version", python]
        command += [*rules, "--dest", f"{part}", "--requirement", f"{requirements}"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise Missing(f"the runtime's wheels could not be fetched; is the network there?\n{run.stderr[-500:]}")

    return cache.fill("wheelhouse", cache.digest([python.encode(), requirements.read_bytes()]), download)


def _drop_old(used: Path) -> None:
    entries = sorted((path for path in used.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for entry in entries[:-KEPT_ARCHIVES]:
        if entry != used:
            shutil.rmtree(entry, ignore_errors=True)
