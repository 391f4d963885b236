"""Debian packages without installing them: fetched by apt as any user, unpacked into the cache."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from tests.toolchain import cache
from tests.toolchain.tools import Missing, Tool

SECONDS = 300
"""How long a download may take before it counts as stuck."""


def cached(tool: Tool) -> Path | None:
    """The program from a package that was unpacked earlier, if there is one."""
    path = tool.debian and cache.entry(*_entry((tool.debian,))) / "bin" / tool.name
    return path if path and path.exists() else None


def fetch(tool: Tool) -> Path:
    """The program from its package."""
    if not tool.debian:
        raise Missing("no Debian package is known for it")
    return programs(tool.debian) / tool.name


def programs(*packages: str) -> Path:
    """A directory with every program of these packages, ready to run; what they depend on and lack comes along."""
    return cache.fill(*_entry(packages), make=lambda part: _unpack(packages, part)) / "bin"


def _entry(packages: tuple[str, ...]) -> tuple[str, str]:
    return "debian-" + "+".join(packages), release()


def release() -> str:
    """Which packages these are, e.g. `bookworm-x86_64`."""
    fields = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return f"{fields.get('VERSION_CODENAME', 'unknown')}-{platform.machine()}"


def unpack_system(packages: tuple[str, ...], root: Path, without: tuple[str, ...] = ()) -> None:
    """Fill `root` with these packages and all that they depend on but `without`, as if on an empty machine.

    No script of a package runs. The tree has a merged /usr whichever way the packages still name their files.
    """
    apt = root.parent / "apt"
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for archive in _download(packages, apt, installed=False):
        if archive.name.partition("_")[0] not in without:
            files = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, capture_output=True).stdout
            unpack = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", root]
            subprocess.run(unpack, input=files, check=True, capture_output=True)
    shutil.rmtree(apt)


def _unpack(packages: tuple[str, ...], part: Path) -> None:
    archives = _download(packages, part / "apt")
    tree = part / "tree"
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", archive, tree], check=True, capture_output=True)
    shutil.rmtree(part / "apt")
    _link_programs(part, cache.entry(*_entry(packages)), alone=len(archives) == 1)


def _download(packages: tuple[str, ...], place: Path, *, installed: bool = True) -> list[Path]:
    """The packages and what the machine lacks of their dependencies; nothing of the machine's apt is changed.

    Without `installed` nothing counts as being there already.
    """
    names = " ".join(packages)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing(f"no apt here to fetch the Debian package {names}; install it your system's way")
    cache.say(f"fetching the Debian package {names}")
    (place / "lists" / "partial").mkdir(parents=True)
    options = [f"Dir::Cache={place}", f"Dir::Cache::archives={place}", "Debug::NoLocking=1", "APT::Sandbox::User="]
    if not installed:
        (place / "status").touch()
        options.append(f"Dir::State::status={place / 'status'}")
    install = ["install", "--download-only", "--yes", "--no-install-recommends", *packages]
    run = _apt(options, install)
    if run.returncode and "Unable to locate package" in run.stderr + run.stdout:
        options.append(f"Dir::State::lists={place / 'lists'}")  # a machine without package lists: our own
        _apt(options, ["update"])
        run = _apt(options, install)
    if run.returncode:
        tail = (run.stderr or run.stdout).strip().splitlines()[-1:]
        raise Missing(
            f"apt could not fetch {names} ({' '.join(tail)}); "
            "is the network there? Run it again, or install the package"
        )
    return sorted(place.glob("*.deb"))


def _apt(options: list[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    flags = [flag for option in options for flag in ("-o", option)]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    command = ["apt-get", "--quiet", *flags, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise Missing(f"apt did not answer within {SECONDS} s; is the network there?") from error


def _link_programs(part: Path, final: Path, *, alone: bool) -> None:
    """bin/ with each program: a link, or a two-line script that lets it find the libraries that came along."""
    (part / "bin").mkdir()
    for place in ("bin", "sbin", "usr/bin", "usr/sbin"):
        directory = part / "tree" / place
        for program in sorted(directory.iterdir()) if directory.is_dir() else []:
            home = final / "tree" / place / program.name
            target = part / "bin" / program.name
            if target.is_symlink() or target.exists():
                continue  # the same program in a second place
            if alone:
                target.symlink_to(home)
                continue
            libraries = ":".join(f"{final / 'tree' / found.relative_to(part / 'tree')}" for found in _libraries(part))
            target.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{home}" "$@"\n')
            target.chmod(0o755)


def _libraries(part: Path) -> list[Path]:
    return sorted({file.parent for file in (part / "tree").rglob("*.so*")})
