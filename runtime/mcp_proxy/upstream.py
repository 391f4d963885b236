"""One upstream MCP server: its connections, its breaker, its lists, and what may be sent to it again."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.contract import VERSION
from runtime.http1.client import Answer, HttpClient, NotSent
from runtime.http1.connection import Broken
from runtime.http1.written import Headers
from runtime.mcp_proxy import message, tools
from runtime.mcp_proxy.breaker import Breaker
from runtime.mcp_proxy.cache import Cache
from runtime.mcp_proxy.message import Executed, Reason

ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = (0.1, 0.4)
_AT_ONCE: Final = 64
"""Calls under way to one upstream; one more is told so instead of waiting in a queue that nobody sees."""
_PROBE_SECONDS: Final = 5.0

JSON: Final = (b"content-type", b"application/json")
ACCEPT: Final = (b"accept", b"application/json, text/event-stream")
PLAIN: Final = (b"accept-encoding", b"identity")
AGENT: Final = (b"user-agent", f"purpleflea-mcp-proxy/{VERSION}".encode())
_PING: Final = message.write({"jsonrpc": "2.0", "id": "probe", "method": "ping"})


class Failure(Exception):
    """The upstream gave no answer that can be passed on; the sidecar answers itself."""

    def __init__(self, reason: Reason, executed: Executed, text: str, **facts: Any) -> None:
        super().__init__(text)
        self.reason = reason
        self.executed = executed
        self.text = text
        self.facts = facts


@dataclass
class Sending:
    """One message's way to the upstream.

    Args:
        safe: Whether it may be sent again whatever became of the first time.
        money: Whether it moves money.
        attempts: How often it was tried.
        written: Whether a byte of it ever was written.
        passed_on: Whether the agent has seen a part of the answer, after which nothing is tried again.
    """

    safe: bool
    money: bool = False
    attempts: int = 0
    written: bool = False
    passed_on: bool = False

    @property
    def executed(self) -> Executed:
        """What is to be said of it if no answer comes any more."""
        return Executed.UNKNOWN if self.written and not self.safe else Executed.NO


@dataclass
class Upstream:
    """One server.

    Args:
        name: Its path on the sidecar, e.g. `escrow`.
        call_seconds: How long an answer may take to begin.
    """

    name: str
    client: HttpClient
    call_seconds: float
    cache: Cache
    takes_key: set[str] = field(default_factory=lambda: set(tools.TAKES_KEY))
    under_way: int = 0

    def __post_init__(self) -> None:
        self.breaker = Breaker(self._is_alive)

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Within the block the call counts as one that is under way. Raises Failure beyond the bound."""
        if self.under_way >= _AT_ONCE:
            text = f"{_AT_ONCE} calls to {self.name} are under way; wait for one of them."
            raise Failure(Reason.BUSY, Executed.NO, text)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def send(self, sending: Sending, headers: Headers, body: bytes) -> Answer:
        """Send once and wait for the head of the answer. A 5xx is an answer, and counts as a failure of the upstream.

        Raises:
            Failure: The breaker is open.
            NotSent, Broken: See `HttpClient.send`.
        """
        if not await self.breaker.lets_through():
            text = f"{self.name} has not answered lately and is left alone for some seconds. Try again later."
            raise Failure(Reason.OPEN, sending.executed, text)
        sending.attempts += 1
        try:
            answer = await self._sent(headers, body, sending)
        except (NotSent, Broken):
            self.breaker.failed()
            raise
        (self.breaker.failed if answer.status >= 500 else self.breaker.succeeded)()
        return answer

    async def _sent(self, headers: Headers, body: bytes, sending: Sending) -> Answer:
        def written() -> None:
            sending.written = True

        return await self.client.send(
            "POST", "", headers, body, fresh=sending.money, seconds=self.call_seconds, on_write=written
        )

    async def pause(self, sending: Sending, error: Exception) -> None:
        """Wait before the next attempt; raises Failure where there is none."""
        again = isinstance(error, NotSent) or (sending.safe and not sending.passed_on)
        if again and sending.attempts < ATTEMPTS:
            await asyncio.sleep(_PAUSE_SECONDS[sending.attempts - 1] * random.uniform(0.5, 1.0))  # noqa: S311
            return
        if sending.executed is Executed.NO:
            text = f"{self.name} cannot be reached: {error}. It was not carried out; try again later."
            raise Failure(Reason.UNREACHABLE, Executed.NO, text)
        raise lost(str(error))

    async def _is_alive(self) -> bool:
        """Whether it answers a ping, with whatever below 500."""
        try:
            answer = await self.client.send("POST", "", [JSON, ACCEPT, PLAIN, AGENT], _PING, seconds=_PROBE_SECONDS)
            answer.close()
        except (NotSent, Broken):
            return False
        return answer.status < 500


def lost(why: str) -> Failure:
    """For a call whose fate is not known."""
    text = (
        f"The answer was lost ({why}). The call may have been carried out, and was not sent again. "
        "Look first, e.g. by get_escrow, or ask a person; do not simply repeat it."
    )
    return Failure(Reason.BROKEN, Executed.UNKNOWN, text)
