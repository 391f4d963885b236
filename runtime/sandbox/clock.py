"""The sandbox's time: the real time plus an offset that only ever grows and outlives a restart."""

import time
from datetime import UTC, datetime

from runtime.sandbox.database import Database


class Clock:
    """Seconds since the epoch, which a test or an administrator can move forward."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = 'clock_offset_seconds'").fetchone()
        self._offset_seconds: int = row["value"] if row else 0

    def now(self) -> int:
        """Epoch seconds, whole."""
        return int(time.time()) + self._offset_seconds

    def advance(self, seconds: int) -> int:
        """Move forward and return the new time; time-outs fall due with the next request or sweep."""
        if seconds < 0:
            raise ValueError(f"the clock only moves forward, not by {seconds} seconds")
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO settings VALUES ('clock_offset_seconds', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (seconds,),
            )
            self._offset_seconds += seconds
        return self.now()


def iso_time(epoch_seconds: int | None) -> str | None:
    """ISO-8601 with milliseconds and `Z`, as the published server writes it."""
    if epoch_seconds is None:
        return None
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
