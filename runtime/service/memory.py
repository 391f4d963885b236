"""Keeps what a process has in its memory, the API key among it, from other processes and from disks."""

import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""Of prctl(2), `linux/prctl.h`."""


def keep_private() -> None:
    """No core dump, and on Linux no debugger of the same user and no look at `/proc/PID/environ` or `/proc/PID/mem`.

    Containers of one pod run as one user. Python without ctypes, as in the smallest of images, forbids the dump alone.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        try:
            import ctypes
        except ImportError:
            return
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
