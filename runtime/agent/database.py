"""The ledger's file: one connection on one thread, and writes that wait together are committed together.

A commit waits for the disk, and a Machine's disk manages a few hundred of those a second. So the thread takes whatever
has queued up meanwhile into one transaction: one flush for all of them. Each write changes the file by one statement at
most, which SQLite undoes by itself where it fails, so that none needs a savepoint. Nobody else has the connection, so
nobody's commit makes another's abandoned write permanent, and a caller that gives up waiting changes nothing.
"""

import asyncio
import os
import queue
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]

RESERVE_BYTES: Final = 1 << 20
"""Set aside on the volume for the ends of what has begun."""
MOST_TOGETHER: Final = 256
"""Writes in one transaction."""
_FULL: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class LedgerFull(Exception):
    """The volume has no room for new work; nothing was written."""


class Database:
    """The file, opened; `close` it.

    Args:
        path: The file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reserve = path.with_suffix(".reserve")
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits with the power
        self._queue: queue.SimpleQueue[tuple[Write[Any], asyncio.Future[Any], bool] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """For whoever opens the ledger, before the first `write`."""
        return self._connection

    async def write(self, write: Write[T], *, new: bool = False) -> T:
        """Carry it out; returns once it is on the disk. It goes on if the caller is cancelled.

        Args:
            write: Gets the connection inside a transaction, and changes the file by one statement at most. What it
                raises is raised here, and keeps nobody else's from being carried out.
            new: Whether it begins something, and may be refused where the disk is full.

        Raises:
            LedgerFull: `new`, and there is no room.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((write, done, new))
        return await done

    def close(self) -> None:
        """Finish what is queued, and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._connection.close()

    def has_room(self) -> bool:
        """Whether new work may begin: the reserve stands, or could be set aside again."""
        return self.reserve.exists() or self.set_aside()

    def set_aside(self) -> bool:
        """Fill the reserve, with bytes that take real room."""
        try:
            if shutil.disk_usage(self.path.parent).free < 2 * RESERVE_BYTES:
                return False
            with self.reserve.open("wb") as file:
                file.write(os.urandom(RESERVE_BYTES))
                os.fsync(file.fileno())
        except OSError:
            self.reserve.unlink(missing_ok=True)
            return False
        return True

    # --- on the thread

    def _serve(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < MOST_TOGETHER:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._queue.put(None)
                    break
                batch.append(following)
            answers = self._together([(write, new) for write, _, new in batch])
            _hand_over([(done, answer) for (_, done, _), answer in zip(batch, answers, strict=True)])

    def _together(self, writes: list[tuple[Write[Any], bool]]) -> list[Any]:
        """What each returned or raised. On a full disk new work is refused, and the rest gets the reserve's room."""
        try:
            return self._transaction([write for write, _ in writes])
        except sqlite3.Error as error:
            if not _is_full(error):
                return [error] * len(writes)
        self.reserve.unlink(missing_ok=True)
        begun = [write for write, new in writes if not new]
        try:
            answers = iter(self._transaction(begun))
        except sqlite3.Error as error:
            return [LedgerFull() if new else error for _, new in writes]
        return [LedgerFull() if new else next(answers) for _, new in writes]

    def _transaction(self, writes: list[Write[Any]]) -> list[Any]:
        connection, answers = self._connection, []
        connection.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                try:
                    answers.append(write(connection))
                except Exception as error:
                    if _is_full(error):
                        raise  # SQLite may have rolled all of it back
                    answers.append(error)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answers


def _is_full(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _FULL


def _hand_over(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Wake the callers: one call into each loop, not one each."""
    loop = answers[0][0].get_loop()

    def resolve() -> None:
        for done, answer in answers:
            if done.done():
                continue  # its caller was cancelled
            if isinstance(answer, BaseException):
                done.set_exception(answer)
            else:
                done.set_result(answer)

    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)
