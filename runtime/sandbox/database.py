"""The sandbox's SQLite file: one writer process, a schema version, one transaction at a time."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from runtime.errors import BadInput

SCHEMA_VERSION: Final = 2
_APPLICATION_ID: Final = 0x50464C53  # "PFLS": tells our file from any other SQLite database
_OLDEST_SQLITE: Final = (3, 37)  # STRICT tables


class DatabaseUnusableError(BadInput):
    """The ledger's file cannot be used; the text says why and what to do, for a person."""


class Database:
    """An open ledger file. Every read and write goes through `transaction`, from any thread of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.RLock()
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise DatabaseUnusableError(
                f"Python's SQLite is {sqlite3.sqlite_version}; the sandbox needs 3.37 or newer."
            )
        self._lock = _lock_for_writing(path)
        try:
            self._connection = _open(path)
        except BaseException:
            self._lock.close()
            raise

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """BEGIN IMMEDIATE … COMMIT, or ROLLBACK on any exception; an inner use joins the outer transaction."""
        with self._mutex:
            connection = self._connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """A reader's view of what is committed, held for the block; however long it takes, no payment waits for it."""
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close the file and let another process have it."""
        with self._mutex:
            self._connection.close()
            self._lock.close()


def _lock_for_writing(path: Path) -> TextIO:
    """The kernel drops this lock with the process, so a killed sandbox leaves nothing to clean up."""
    try:
        lock = Path(f"{path}.lock").open("a+", encoding="ascii")  # noqa: SIM115 - held as long as the database
    except OSError as error:
        raise DatabaseUnusableError(
            f"Cannot write beside {path}: {error.strerror}. Name a writable --database."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise DatabaseUnusableError(
            f"{path} is in use by another sandbox (process {holder}). One process writes one ledger: "
            "stop that one, or name another --database."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise DatabaseUnusableError(f"Cannot open {path}: {error}. Name another --database.") from None
    connection.row_factory = sqlite3.Row
    try:
        _require_ours(connection, path)
        # NORMAL: a killed process loses nothing; a power cut may lose the last commits, never the balance.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if _version(connection) == 0:
            _create(connection)
    except sqlite3.Error as error:
        connection.close()
        raise DatabaseUnusableError(
            f"{path} is not a usable sandbox ledger: {error}. Name another --database."
        ) from None
    except DatabaseUnusableError:
        connection.close()
        raise
    return connection


def _require_ours(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application_id != _APPLICATION_ID:
        raise DatabaseUnusableError(f"{path} is a SQLite database of another program. Name another --database.")
    if tables and _version(connection) != SCHEMA_VERSION:
        raise DatabaseUnusableError(
            f"{path} has ledger schema version {_version(connection)}, this sandbox writes version {SCHEMA_VERSION}. "
            "Ledgers are not migrated: run the version that wrote it, or name another --database."
        )


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _create(connection: sqlite3.Connection) -> None:
    schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    connection.executescript(
        f"BEGIN IMMEDIATE; {schema}"
        f" PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
    )
