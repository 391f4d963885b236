"""The wall clock of a process under test, set forward or back while it runs (libfaketime from Debian).

Only wall time moves; monotonic time, and with it every time-out and sleep, stays true. Programs that ask the kernel
past the C library, as Go's do, are not deceived: this is for Python.
"""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.toolchain import debian
from tests.toolchain.tools import Missing


class Clock:
    """One clock, shared by all processes that are started with `environment`."""

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "clock-offset"
        self._set(0)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        """What a process must find in its environment to live by this clock."""

    @contextlib.contextmanager
    def shifted(self, seconds: float) -> Iterator[None]:
        """So many seconds later (or earlier, when negative), at once, until the end."""
        self._set(seconds)
        try:
            yield
        finally:
            self._set(0)

    def lives_in(self, log: str) -> bool:
        """Whether a program's first line of JSON was written by this clock, and not by the machine's."""
        line = next(line for line in log.splitlines() if line.startswith("{"))
        here = datetime.now(UTC) + timedelta(seconds=float(self._offset.read_text()))
        return abs(datetime.fromisoformat(json.loads(line)["time"]) - here) < timedelta(minutes=5)

    def _set(self, seconds: float) -> None:
        whole = self._offset.with_suffix(".new")
        whole.write_text(f"{seconds:+.3f}\n")
        whole.replace(self._offset)  # by rename: a half-written offset would be read as no offset


def _library() -> Path:
    found = sorted((debian.programs("libfaketime").parent / "tree").rglob("libfaketimeMT.so.1"))
    if not found:
        raise Missing("the Debian package libfaketime has no libfaketimeMT.so.1 for this machine")
    return found[0]
