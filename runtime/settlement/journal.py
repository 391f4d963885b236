"""A journal in one SQLite file, for programs that have no Kubernetes API to write to: the demo, the Fly agent."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

from runtime.settlement.record import JournalConflict, Settlement, from_json, to_json

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settlement (
  key TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  phase TEXT NOT NULL,
  record TEXT NOT NULL CHECK (json_valid(record))
) STRICT
"""


class SqliteJournal:
    """Settlement records in SQLite, durable on return, compared and swapped by version.

    Args:
        path: The file; `":memory:"` for one that ends with the process.
    """

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits with the power
        self._db.execute(_SCHEMA)

    async def load(self, key: str) -> Settlement | None:
        """Return the record as last written."""
        row = self._db.execute("SELECT record, version FROM settlement WHERE key = ?", (key,)).fetchone()
        return from_json(json.loads(row[0]), str(row[1])) if row else None

    async def write(self, record: Settlement) -> Settlement:
        """Write if nobody wrote since `record` was read; see `Journal`."""
        version = int(record.version or 0)
        values = (version + 1, record.phase.value, json.dumps(to_json(record)), record.key)
        if version:
            sql = "UPDATE settlement SET version = ?, phase = ?, record = ? WHERE key = ? AND version = ?"
            done = self._db.execute(sql, (*values, version)).rowcount
        else:
            sql = "INSERT INTO settlement (version, phase, record, key) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            done = self._db.execute(sql, values).rowcount
        if not done:
            raise JournalConflict(record.key)
        return replace(record, version=str(version + 1))

    def records(self) -> list[Settlement]:
        """Return every record, in the order of their keys."""
        rows = self._db.execute("SELECT record, version FROM settlement ORDER BY key").fetchall()
        return [from_json(json.loads(record), str(version)) for record, version in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()
