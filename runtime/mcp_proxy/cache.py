"""Answers to lists, for as long as their server says or the default; afterwards kept only for the server's absence."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

_ENTRIES: Final = 64

Key = tuple[str, ...]
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One result and until when it is fresh, in seconds of the monotonic clock."""

    result: Result
    fresh_until: float

    def aged(self) -> Result:
        """The result, with what is left of its `ttlMs` where it has one."""
        if "ttlMs" not in self.result:
            return self.result
        return self.result | {"ttlMs": max(0, int((self.fresh_until - time.monotonic()) * 1000))}


class Cache:
    """One upstream's lists.

    Args:
        default_seconds: How long a list is fresh that does not say so itself; what is no list is not, then.
    """

    def __init__(self, default_seconds: float) -> None:
        self._default_seconds = default_seconds
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._under_way: dict[Key, asyncio.Future[Result]] = {}

    def fresh(self, key: Key) -> Result | None:
        """The list, while it is fresh."""
        entry = self._entries.get(key)
        return entry.aged() if entry and time.monotonic() < entry.fresh_until else None

    def stale(self, key: Key) -> Result | None:
        """The list, however old."""
        entry = self._entries.get(key)
        return entry.aged() if entry else None

    def clear(self) -> None:
        """Ask again from now on; kept for the server's absence all the same."""
        self._entries = OrderedDict((key, Entry(entry.result, 0.0)) for key, entry in self._entries.items())

    async def once(self, key: Key, fetch: Callable[[], Awaitable[Result]]) -> Result:
        """Fetch a list once for all who ask for it now; an error is everybody's, and not kept.

        Whoever asked first may leave: the others still get it.
        """
        if key not in self._under_way:
            task = asyncio.ensure_future(self._fetched(key, fetch))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to hear it
            self._under_way[key] = task
        return await asyncio.shield(self._under_way[key])

    async def _fetched(self, key: Key, fetch: Callable[[], Awaitable[Result]]) -> Result:
        try:
            result = await fetch()
            ttl_ms = result.get("ttlMs")
            said = isinstance(ttl_ms, int | float) and not isinstance(ttl_ms, bool) and ttl_ms >= 0
            default = self._default_seconds if key[0].endswith("/list") else 0.0
            seconds = ttl_ms / 1000 if said else default
            self._entries[key] = Entry(result, time.monotonic() + seconds)
            self._entries.move_to_end(key)
            while len(self._entries) > _ENTRIES:
                self._entries.popitem(last=False)
            return result
        finally:
            del self._under_way[key]
