"""The two system calls the node level needs and Python 3.11 does not have."""

import ctypes
import os
from pathlib import Path

MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 0x40000, 0x100000
NAMESPACES = ("net", "uts", "mnt")
"""What a component enters; the process namespace is entered by whoever forks it."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    arguments = [text.encode() or None for text in (source, target, kind)]
    _check(
        _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mounting {source or kind} on {target}"
    )


def bind(source: str, target: str) -> None:
    """Show `source` at `target` too."""
    mount(source, target, flags=MS_BIND | MS_REC)


def enter(process: int, namespaces: tuple[str, ...] = NAMESPACES) -> None:
    """Put this process into those namespaces of another; of `pid`, only what this one forks from then on."""
    handles = [os.open(f"/proc/{process}/ns/{namespace}", os.O_RDONLY | os.O_CLOEXEC) for namespace in namespaces]
    for namespace, handle in zip(namespaces, handles, strict=True):
        _check(_libc.setns(handle, 0), f"entering the {namespace} namespace of process {process}")
        os.close(handle)


def first_child(process: int) -> int | None:
    """A process's first child, if it has one yet."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(children[0]) if children else None


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
