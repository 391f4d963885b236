"""What was fetched or built once, kept by name, version and digest of its inputs; safe for concurrent callers.

An entry appears by one rename when it is whole, so a half-finished one is never used. One lock a name: whoever comes
second waits and says for what.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

UNUSED_DAYS = 30
"""An entry of another version or digest goes when nobody used it for so long."""

progress: TextIO = sys.stderr
"""Where progress is told; the pytest plugin points it past pytest's capture."""


def root() -> Path:
    """The cache directory of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "purpleflea" / "toolchain"


def say(text: str) -> None:
    """One line of progress."""
    print(f"toolchain: {text}", file=progress, flush=True)


def digest(parts: Iterable[bytes]) -> str:
    """A short digest of all inputs of an entry."""
    summary = hashlib.sha256()
    for part in parts:
        summary.update(len(part).to_bytes(8, "big") + part)
    return summary.hexdigest()[:12]


def entry(name: str, key: str) -> Path:
    """Where an entry lives once it is whole."""
    return root() / name / key


def fill(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The entry, made by `make(empty directory)` unless it is there; `make` runs in one process at a time."""
    final = entry(name, key)
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked(name, f"{name} ({key})"):
        for leftover in final.parent.glob(".part-*"):
            shutil.rmtree(leftover)
        if not final.is_dir():
            part = final.parent / f".part-{key}"
            part.mkdir()
            try:
                make(part)
                part.rename(final)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        _prune(final)
    return final


@contextlib.contextmanager
def locked(name: str, what: str = "") -> Iterator[None]:
    """Hold the lock of that name, one for all checkouts of this user; the kernel frees it when its holder dies.

    Who has to wait says for `what`; nothing is said of a lock that is held for moments only.
    """
    (root() / "locks").mkdir(parents=True, exist_ok=True)
    with (root() / "locks" / name).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            if what:
                say(f"waiting for process {lock.read().strip() or '?'}, which prepares {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield


def _prune(used: Path) -> None:
    os.utime(used)
    oldest = time.time() - UNUSED_DAYS * 86400
    for other in used.parent.iterdir():
        if other.is_dir() and other != used and other.stat().st_mtime < oldest:
            say(f"removing {other}, unused for {UNUSED_DAYS} days")
            shutil.rmtree(other)
