"""The image that the Dockerfile makes: what is in it, what is not, and what a change of the sources rebuilds."""

import json
import re
import secrets
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.toolchain import base_image, buildah, cache, images
from tests.toolchain.buildah import BuildFailed

PYC_UNCHECKED_HASH = (1).to_bytes(4, "little")
ABOVE_THE_BASE = re.compile(r"app/(runtime|lib)/|(workspace|data|etc|app)/?$|etc/(passwd|group)$|usr/.*\.pyc$")
SECRET_FILES = re.compile(
    r"(^|/)(\.env|\.git|\.netrc|\.pypirc|id_[a-z0-9]+|.*\.(key|kubeconfig|p12))$|Pulumi\.[^/]*yaml$"
)

pytestmark = pytest.mark.xdist_group("image")


class Archive:
    """What an image archive holds, read without a container engine."""

    def __init__(self, path: Path):
        self._archive = tarfile.open(path)  # noqa: SIM115 (closed by the fixture)
        [manifest] = json.load(self._archive.extractfile("manifest.json"))
        self.config = json.load(self._archive.extractfile(manifest["Config"]))
        self.tags = manifest["RepoTags"]
        self.layers = manifest["Layers"]

    def files(self, layers: list[str]) -> dict[str, tarfile.TarInfo]:
        """Every entry of these layers by its path."""
        found = {}
        for layer in layers:
            with tarfile.open(fileobj=self._archive.extractfile(layer)) as content:
                found |= {entry.name: entry for entry in content if not entry.isdir()}
        return found

    def contents(self, layer: str, suffix: str) -> dict[str, bytes]:
        """Path and bytes of the files of one layer that end so."""
        with tarfile.open(fileobj=self._archive.extractfile(layer)) as content:
            chosen = [entry for entry in content if entry.isfile() and entry.name.endswith(suffix)]
            return {entry.name: content.extractfile(entry).read() for entry in chosen}

    def close(self):
        self._archive.close()


@pytest.fixture(scope="module")
def archive(runtime_image):
    opened = Archive(runtime_image.archive)
    yield opened
    opened.close()


def test_it_runs_as_a_numbered_user_and_knows_its_name(archive, runtime_image):
    assert archive.config["config"]["User"] == "10001:10001"
    assert archive.tags == [runtime_image.reference]


def test_it_holds_the_sources_of_this_checkout_and_nothing_else_of_ours(archive):
    inside = {name.removeprefix("app/"): body for name, body in archive.contents(archive.layers[-1], ".py").items()}
    ours = {
        path.relative_to(images.PROJECT).as_posix(): path.read_bytes()
        for path in (images.PROJECT / "runtime").rglob("*.py")
    }
    assert inside == ours
    above = archive.files(archive.layers[1:])
    assert [name for name in above if not ABOVE_THE_BASE.match(name)] == []


def test_it_holds_no_secret_and_no_pip(archive):
    every = archive.files(archive.layers)
    assert [name for name in every if SECRET_FILES.search(name)] == []
    assert [name for name in every if re.search(r"/pip/|/bin/pip", name)] == []
    variables = {line.partition("=")[0] for line in archive.config["config"]["Env"]}
    assert variables == {"PATH", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def test_it_holds_what_is_locked_with_its_licences_and_no_compiler(archive):
    every = archive.files(archive.layers)
    lock = (images.PROJECT / "requirements" / "runtime.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE)
    locked = {f"{name.replace('-', '_').lower()}-{version}" for name, version in pins}
    places = [match for name in every if (match := re.match(r"app/lib/([^/]+)\.dist-info/(.+)$", name))]
    inside = {match[1].lower() for match in places}
    left_out = {one.partition("-")[0] for one in locked ^ inside}
    assert left_out == {"uvloop"}, "the Fly agent's image has it"
    with_text = {match[1].lower() for match in places if re.search("LICEN|COPYING", match[2])}
    assert {one.partition("-")[0] for one in inside - with_text} == {"obstore"}, "its wheel names MIT, and has no text"
    above = archive.files(archive.layers[1:])
    assert [name for name in above if re.search(r"(^|/)(cc|gcc|g\+\+|clang|ld|make|rustc|go)(-[\d.]+)?$", name)] == []


def test_every_module_is_compiled_and_its_bytecode_needs_no_source_time(archive):
    sources = {name for name in archive.files(archive.layers) if re.match(r"app/(runtime|lib)/.*\.py$", name)}
    compiled = {name for name in archive.files(archive.layers) if name.startswith("app/") and name.endswith(".pyc")}
    assert len(compiled) == len(sources) > 100
    for layer in archive.layers[-2:]:
        assert {body[4:8] for body in archive.contents(layer, ".pyc").values()} == {PYC_UNCHECKED_HASH}
    standard_library = re.compile(r"usr/lib/python3\.\d+/asyncio/__pycache__/.*\.pyc$")
    assert any(standard_library.match(name) for name in archive.files(archive.layers))


def test_it_is_small(archive):
    """The base is a third of it, cryptography and obstore a tenth each; one more such should be noticed."""
    assert sum(entry.size for entry in archive.files(archive.layers).values()) < 135_000_000


@pytest.fixture
def copy(tmp_path, runtime_image) -> Path:
    """The sources of the image alone, in another directory with other times."""
    for name in images.SOURCES:
        source = images.PROJECT / name
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if source.is_dir():
            compiled = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=compiled, copy_function=shutil.copy)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def test_the_same_sources_elsewhere_are_the_same_image(copy, runtime_image):
    assert images.runtime_image(copy) == runtime_image


def test_a_change_of_the_sources_makes_one_new_layer(copy, archive):
    (copy / "runtime" / "__init__.py").write_text(f'"""Changed to {secrets.token_hex()}, never seen before."""\n')
    changed = Archive(images.runtime_image(copy).archive)
    try:
        assert changed.layers[:-1] == archive.layers[:-1]
        assert changed.layers[-1] != archive.layers[-1]
    finally:
        changed.close()


def test_a_wrong_dockerfile_says_which_step_failed_and_leaves_nothing(copy):
    mounts = Path("/proc/self/mounts").read_text()
    state = buildah.SYSTEM_STATE.exists()
    (copy / "Dockerfile").write_text("FROM scratch AS runtime\nCOPY no-such-file /\n")
    with pytest.raises(BuildFailed, match="no-such-file"):
        images.runtime_image(copy)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert buildah.SYSTEM_STATE.exists() == state
    assert not list((cache.root() / "image-runtime").glob(".part-*"))


def test_the_base_has_the_python_that_wheels_are_fetched_for(archive):
    version = base_image.python_version(base_image.context())
    assert f"usr/bin/python{version}" in archive.files(archive.layers[:1])
