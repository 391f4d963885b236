"""Server-sent events, cut at their ends: each is passed on whole, as it came, with comments, `id` and `retry`."""

import re
from collections.abc import Iterator
from typing import Final

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_LINE: Final = re.compile(rb"\r\n|\n|\r")


class EventCutter:
    """Collects bytes until an event is whole.

    Args:
        most_bytes: Of one event.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()
        self._looked_at = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Every event that is whole now, with the blank line that ends it.

        Raises:
            ValueError: An event is longer than it may be.
        """
        self._rest += piece
        while found := _END.search(self._rest, self._looked_at):
            event = bytes(self._rest[: found.end()])
            del self._rest[: found.end()]
            self._looked_at = 0
            yield event
        self._looked_at = max(0, len(self._rest) - 3)  # an end may lie across two pieces
        if len(self._rest) > self._most_bytes:
            raise ValueError(f"an event has more than {self._most_bytes} bytes")


def data_of(event: bytes) -> bytes:
    """What an event says: its `data` lines, joined."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines)


def has_id(event: bytes) -> bool:
    """Whether the event has an id, from which a client can resume."""
    return any(line.startswith(b"id:") for line in _LINE.split(event))
