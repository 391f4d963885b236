"""A worker's log of what it did: a file that only grows, one JSON object a line, on the disk before it counts.

An agent that brings its own loop writes it like this; payroll then pays for it:

    log = WorkLog(Path(os.environ["WORKSPACE"]) / "work-log.jsonl")
    with log.task("invoice-17", escrow="esc_1") as task:
        task.evidence = digest(do_the_work())

A task that raises is logged as failed, and is never paid. A line that a crash has torn is a line of its own, which
readers skip. On a full disk no task begins, and one that has begun is still logged: room for that is set aside.
"""

import hashlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec

from runtime.redaction import excerpt

PAGE_BYTES: Final = 1 << 20
"""Most that one reading gives."""
LINE_BYTES: Final = 4096
"""Of one entry; what is longer is no entry."""
RESERVE_BYTES: Final = 4 * LINE_BYTES
"""Set aside for the ends of tasks that have begun."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class LogFull(OSError):
    """Nothing more can be written; the message says why."""


class TaskOutcome(StrEnum):
    """How a task ended."""

    DONE = "done"
    FAILED = "failed"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task: as it begins, and once more with its outcome as it ends.

    Args:
        task: Its id; a queue's task has its escrow's.
        escrow: What pays for it, at the payment service.
        started: When it began.
        finished: When it ended.
        outcome: How; None while it goes on.
        evidence: SHA-256 of its result, in hex.
        note: For a person, e.g. why it failed.
    """

    task: Name
    escrow: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    started: Moment
    finished: Moment | None = None
    outcome: TaskOutcome | None = None
    evidence: Annotated[str, msgspec.Meta(max_length=64)] = ""
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""

    def line(self) -> bytes:
        """As the log has it."""
        return msgspec.json.encode(self) + b"\n"


_decode = msgspec.json.Decoder(Entry).decode


def digest(result: bytes | str) -> str:
    """The evidence of a result."""
    return hashlib.sha256(result.encode() if isinstance(result, str) else result).hexdigest()


def read_lines(lines: bytes) -> tuple[list[Entry], int]:
    """The entries in a piece of a log, and how many lines are none."""
    found, torn = [], 0
    for line in lines.split(b"\n"):
        if not line:
            continue
        try:
            if len(line) > LINE_BYTES:
                raise ValueError("too long")
            found.append(_decode(line))
        except ValueError:  # msgspec's is one
            torn += 1
    return found, torn


@dataclass
class Running:
    """A task that has begun; who does it says what came of it."""

    task: str
    escrow: str | None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: TaskOutcome = TaskOutcome.DONE
    evidence: str = ""
    note: str = ""

    def entry(self, finished: datetime | None = None) -> Entry:
        """Its line: that it began, or how it ended."""
        begun = Entry(task=self.task, escrow=self.escrow, started=self.started)
        if finished is None:
            return begun
        return msgspec.structs.replace(
            begun, finished=finished, outcome=self.outcome, evidence=self.evidence, note=excerpt(self.note, 500)
        )


class WorkLog:
    """The log in one file; several processes may write it.

    Args:
        path: The file, on the workspace. Its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reserve = path.with_suffix(".reserve")
        self._file: int | None = None

    @contextmanager
    def task(self, task: str, escrow: str | None = None) -> Generator[Running]:
        """Log that a task begins, and how it ended. Raises `LogFull` before it begins."""
        running = self.begin(task, escrow)
        try:
            yield running
        except Exception as error:
            running.outcome, running.note = TaskOutcome.FAILED, f"{type(error).__name__}: {error}"
            self.end(running)
            raise
        self.end(running)

    def begin(self, task: str, escrow: str | None = None) -> Running:
        """Log that a task begins. Raises `LogFull`; then it must not begin."""
        running = Running(task, escrow)
        try:
            self._set_aside()
            self._append(running.entry())
        except OSError as error:
            raise LogFull(f"no task can begin: {self.path} cannot be written: {error}") from error
        return running

    def end(self, running: Running) -> Entry:
        """Log how a task ended, in the room that is set aside if there is no other. Raises `LogFull`."""
        entry = running.entry(datetime.now(UTC))
        try:
            self._append(entry)
        except OSError:
            with suppress(OSError):
                self._reserve.unlink()
            try:
                self._append(entry)
            except OSError as error:
                raise LogFull(f"the end of {running.task} cannot be logged in {self.path}: {error}") from error
        return entry

    def read(self, since: int = 0) -> tuple[bytes, int]:
        """Whole lines from an offset on, `PAGE_BYTES` at most, and the offset after them."""
        try:
            with self.path.open("rb") as file:
                file.seek(since)
                piece = file.read(PAGE_BYTES)
        except FileNotFoundError:
            return b"", since
        end = piece.rfind(b"\n") + 1
        return piece[:end], since + end

    def size(self) -> int:
        """How many bytes it has."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def entries(self) -> Iterator[Entry]:
        """Every entry."""
        since = 0
        while (page := self.read(since))[0]:
            yield from read_lines(page[0])[0]
            since = page[1]

    def _append(self, entry: Entry) -> None:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
            _sync_folder(self.path.parent)
        line, size = entry.line(), os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            line = b"\n" + line  # what a crash or a full disk has torn stays a line of its own
        if (written := os.write(self._file, line)) != len(line):
            raise OSError(f"{written} of {len(line)} bytes were written")
        os.fsync(self._file)

    def _set_aside(self) -> None:
        if self._reserve.exists() and self._reserve.stat().st_size == RESERVE_BYTES:
            return
        with self._reserve.open("wb") as file:
            file.write(b" " * RESERVE_BYTES)
            file.flush()
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
