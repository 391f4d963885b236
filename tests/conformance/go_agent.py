"""The agent in Go, built from the rendered folder: once for each state of its sources, and kept."""

import os
import shutil
import subprocess
from pathlib import Path

from components.manifests.fly_go import go_files
from tests.toolchain import builder, cache
from tests.toolchain.tools import Missing

SECONDS = 40
"""A cold build, download included."""
STRICT = "TEST_GO" in os.environ
"""Whether the program watches for data races, and ends at the first: `TEST_GO=1`."""
STATICCHECK = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"


def build(*changed: tuple[str, str]) -> Path:
    """The program; `changed` has what to replace in its sources, and by what. Raises `Missing`."""
    if not shutil.which("go"):
        raise Missing("no Go on the PATH to build the agent (install Go 1.26 or newer)")
    files = go_files()
    for old, new in changed:
        assert sum(old in text for text in files.values()) == 1, f"{old!r} is not in one of the sources"
        files = {path: text.replace(old, new) for path, text in files.items()}
    key = cache.digest([f"{path}\0{text}".encode() for path, text in sorted(files.items())])
    return (
        cache.fill("fly-agent-strict" if STRICT else "fly-agent", key, lambda folder: _go_build(files, folder))
        / "agent"
    )


def write(files: dict[str, str], folder: Path) -> Path:
    """Put the folder's files there; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        (folder / Path(path).name).write_text(text)
    return folder


def _go_build(files: dict[str, str], folder: Path) -> None:
    source = write(files, folder / "source")
    cache.say(f"building the agent in Go: about {SECONDS} s when nothing is cached by Go")
    kind = ["-race"] if STRICT else ["-ldflags", "-s -w"]
    run(source, "build", "-trimpath", *kind, "-o", str(folder / "agent"), ".")
    run(source, "vet", "./...")


def run(source: Path, *arguments: str) -> None:
    """One `go` command there. Raises `Missing` with Go's own words."""
    flags = {"GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    environment = os.environ | flags | {"CGO_ENABLED": "1" if "-race" in arguments else "0"}
    command = [*builder.bound_to_parent(), "go", *arguments]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"go {arguments[0]} failed:\n{done.stderr[-2000:]}")
