"""A circuit breaker: after several failures in a row an upstream is left alone for a while, and agents told at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

FAILURES: Final = 5
OPEN_SECONDS: Final = 10.0


class State(Enum):
    """What the breaker lets through."""

    CLOSED = "closed"
    OPEN = "open"


class Breaker:
    """One upstream's breaker.

    Args:
        probe: Asks the upstream for a sign of life with a request that does nothing; False without one. It, and never
            a tool's call, is what a half-open breaker sends.
        failures: How many in a row open it.
        open_seconds: How long it stays open before it probes.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[bool]], failures: int = FAILURES, open_seconds: float = OPEN_SECONDS
    ) -> None:
        self._probe = probe
        self._most_failures = failures
        self._open_seconds = open_seconds
        self._failures = 0
        self._opened_at = 0.0
        self._probing: asyncio.Future[bool] | None = None
        self.state = State.CLOSED

    async def lets_through(self) -> bool:
        """Whether a request may be sent now; probes first where it is time to."""
        if self.state is State.CLOSED:
            return True
        if self._probing is None:
            if time.monotonic() - self._opened_at < self._open_seconds:
                return False
            self._probing = asyncio.ensure_future(self._probed())
        return await asyncio.shield(self._probing)

    def succeeded(self) -> None:
        """The upstream gave an answer, whatever it says."""
        self._failures = 0
        self.state = State.CLOSED

    def failed(self) -> None:
        """It gave none, or a 5xx."""
        self._failures += 1
        if self._failures >= self._most_failures:
            self.state = State.OPEN
            self._opened_at = time.monotonic()

    async def _probed(self) -> bool:
        try:
            alive = await self._probe()
        finally:
            self._probing = None
        if alive:
            self.succeeded()
        else:
            self._opened_at = time.monotonic()
        return alive
