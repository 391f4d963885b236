"""A node's own part of the machine's cgroup tree, in version 1 and in version 2."""

import contextlib
import os
import time
from pathlib import Path

REMOVE_SECONDS = 5


def create(name: str) -> None:
    """A cgroup `name` at the top of every hierarchy, with the processors and controllers the kubelet wants there."""
    for top in hierarchies():
        own = top / name
        own.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty in a new group, and nothing can run there
            if (own / setting).exists() and not (own / "cgroup.controllers").exists():
                (own / setting).write_text((top / setting).read_text())
        if (own / "cgroup.controllers").exists():
            _enable_controllers(top)


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
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted({Path(fields[1]) for fields in mounts if fields[2] in {"cgroup", "cgroup2"}})


def _enable_controllers(top: Path) -> None:
    available = (top / "cgroup.controllers").read_text().split()
    for controller in available:
        # In a container's own cgroup namespace the top has processes, and then the kernel refuses.
        with contextlib.suppress(OSError):
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
