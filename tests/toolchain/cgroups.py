"""A node's own part of the machine's cgroup tree, in version 1 and in version 2."""

import contextlib
import os
import time
from pathlib import Path

from tests.toolchain.tools import Missing

NEEDED = frozenset({"cpu", "cpuset", "memory", "pids"})
REMOVE_SECONDS = 5
MOUNTS = Path("/proc/mounts")


def demand() -> None:
    """Refuse a version 2 tree whose top does not hand on what pods need; to change that would outlive the node."""
    mounted = _mounted()
    if any(kind == "cgroup" for _, kind in mounted):
        return  # version 1, where every hierarchy hands on all it has
    for top, _ in mounted:
        if lacking := NEEDED - set((top / "cgroup.subtree_control").read_text().split()):
            wanted = " ".join(f"+{controller}" for controller in sorted(lacking))
            raise Missing(
                f"pods need cgroup controllers that {top} does not hand on; "
                f"`echo {wanted} > {top}/cgroup.subtree_control` turns them on "
                "(a container has to be started with --cgroupns=host), or set E2E_KUBECONFIG"
            )


def create(name: str) -> None:
    """A cgroup `name` at the top of every hierarchy, with the processors and the memory nodes of the top."""
    for top in hierarchies():
        own = top / name
        own.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (top / setting).exists():  # version 1: empty in a new group, and nothing can run there
                (own / setting).write_text((top / setting).read_text())


def remove(name: str) -> None:
    """Remove the cgroups of a node whose processes are gone or just dying."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while left := [top / name for top in hierarchies() if (top / name).is_dir()]:
        for own in left:
            for directory, _, _ in os.walk(own, topdown=False):
                with contextlib.suppress(OSError):  # its last process is not reaped yet
                    Path(directory).rmdir()
        if time.monotonic() > deadline:
            raise OSError(f"cgroups that do not empty: {', '.join(map(str, left))}")
        time.sleep(0.01)


def hierarchies() -> list[Path]:
    """The top of each mounted cgroup hierarchy."""
    return sorted(top for top, _ in _mounted())


def _mounted() -> set[tuple[Path, str]]:
    mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    return {(Path(fields[1]), fields[2]) for fields in mounts if fields[2] in {"cgroup", "cgroup2"}}
