"""Builds a tool from Go modules pinned in the directory beside this file that has the recipe's name."""

import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.toolchain import cache
from tests.toolchain.tools import Missing, Recipe, Tool

PROGRESS_SECONDS = 20

# What `go build` says, and what a person can do about it.
REMEDIES = {
    r"no space left on device": "the disk is full; free some space and run it again",
    r"requires go >= ([\d.]+)": "a newer Go is needed: install it, or let Go fetch it with GOTOOLCHAIN=auto",
    r"unknown directive: tool|invalid go version": "this Go is too old for tool lines; install 1.26 or newer",
    r"SECURITY ERROR|checksum mismatch": "a download differs from its checksum; `go clean -modcache`, then again",
    r"dial tcp|connection re|timeout|unexpected EOF|TLS handshake|no such host|502|503": (
        "the download of Go modules was interrupted; run it again, what has arrived is kept"
    ),
    r"signal: killed|cannot allocate memory": "the build ran out of memory; close something, or set GOFLAGS=-p=1",
}


def cached(tool: Tool) -> Path | None:
    """The program built earlier from the same inputs, if there is one."""
    if not tool.recipe:
        return None
    path = cache.entry(tool.recipe.name, _key(tool.recipe)) / tool.name
    return path if path.exists() else None


def build(tool: Tool) -> Path:
    """The built program; a cold build takes as long as the recipe says."""
    recipe = tool.recipe
    if not recipe:
        raise Missing("no build of it is known")
    if not shutil.which("go"):
        raise Missing(f"no Go on the PATH to build {recipe.name} {recipe.version} (install Go 1.26 or newer)")
    return cache.fill(recipe.name, _key(recipe), lambda directory: _go_build(recipe, directory)) / tool.name


def _key(recipe: Recipe) -> str:
    files = sorted(_source(recipe).rglob("*"))
    inputs = [file.read_bytes() for file in files if file.suffix in {".mod", ".sum", ".go"}]
    how = repr((recipe.packages, recipe.linker, recipe.tags, platform.system(), platform.machine()))
    return f"{recipe.version}-{cache.digest([*inputs, how.encode()])}"


def _source(recipe: Recipe) -> Path:
    return Path(__file__).parent / recipe.name


def _go_build(recipe: Recipe, directory: Path) -> None:
    _demand_space(recipe)
    cache.say(f"building {recipe.name} {recipe.version}: about {recipe.seconds} s when nothing is cached by Go")
    flags = [
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
        "-tags",
        recipe.tags,
        "-ldflags",
        f"-s -w {recipe.linker}",
    ]
    output = directory if len(recipe.packages) > 1 else directory / recipe.name
    command = ["nice", "-n", "5", "go", "build", *flags, "-o", f"{output}", *recipe.packages]
    log = directory / "build.log"
    started = time.monotonic()
    with log.open("w") as lines:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        process = subprocess.Popen(
            [*bound_to_parent(), *command], cwd=_source(recipe), stdout=lines, stderr=lines, env=environment
        )
        _wait(process, recipe, started)
    if process.returncode:
        raise Missing(explain(recipe, log.read_text()))
    log.unlink()
    cache.say(f"built {recipe.name} {recipe.version} in {time.monotonic() - started:.0f} s")


def _wait(process: subprocess.Popen[bytes], recipe: Recipe, started: float) -> None:
    try:
        while True:
            try:
                process.wait(PROGRESS_SECONDS)
                return
            except subprocess.TimeoutExpired:
                passed = time.monotonic() - started
                more = "" if passed < recipe.seconds else "; this machine is slower, or busy"
                cache.say(f"building {recipe.name}: {passed:.0f} s of about {recipe.seconds} s{more}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # go ends its compilers with it
            process.wait()


def bound_to_parent() -> list[str]:
    """The start of a command that the kernel kills when the thread that ran it is gone, even by kill -9."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


def _demand_space(recipe: Recipe) -> None:
    place = cache.root()
    free = shutil.disk_usage(place).free >> 20
    # Go's own caches may already hold all of it; a tenth is what the programs themselves need at least.
    asked = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True)
    warm = Path(asked.stdout.strip()).is_dir()
    needed = recipe.space_megabytes // 10 if warm else recipe.space_megabytes
    if free < needed:
        raise Missing(
            f"building {recipe.name} takes {needed} MB and {place} has {free} MB left; "
            "free some space, or point XDG_CACHE_HOME at a larger disk"
        )


def explain(recipe: Recipe, log: str) -> str:
    """Why a build failed, what to do about it, and Go's last words."""
    remedy = next((text for pattern, text in REMEDIES.items() if re.search(pattern, log)), "see Go's own words")
    tail = "\n    ".join(line for line in log.strip().splitlines()[-6:] if not line.startswith("go: downloading"))
    return f"building {recipe.name} {recipe.version} failed: {remedy}\n    {tail}\n"
