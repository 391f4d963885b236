"""What sends a request and how long it may take: the interface, and what a sender says when it fails."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each step of an exchange may take, in seconds. The first four are the Fly guide's."""

    connect_seconds: float = 3.0
    read_seconds: float = 10.0
    """Between two pieces of the answer."""
    write_seconds: float = 5.0
    pool_seconds: float = 1.0
    """Waiting for a free connection."""
    exchange_seconds: float = 30.0
    """All of it, so that an answer cannot drip for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything there may be."""

    connections: int = 50
    kept_alive: int = 20
    kept_alive_seconds: float = 15.0
    body_bytes: int = 4 * 1024 * 1024
    """Of one answer; a page of a list is the largest."""


HEADERS: Final = {"User-Agent": "purpleflea", "Accept-Encoding": "identity"}


class NotConnected(Exception):
    """No connection came about (DNS, connect, TLS, proxy, no free connection), so nothing was sent."""


class TimedOut(Exception):
    """It was sent, or part of it, and no complete answer came in time."""


class BrokenOff(Exception):
    """It was sent, or part of it, and the connection or the answer broke off."""


class Unwritable(Exception):
    """The request cannot be written as HTTP, so nothing was sent."""


class HttpAnswer(Protocol):
    """What is read of an answer; `httpx.Response` is one."""

    @property
    def status_code(self) -> int: ...  # noqa: D102 - httpx's
    @property
    def reason_phrase(self) -> str: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    def aiter_raw(self) -> AsyncIterator[bytes]: ...  # noqa: D102


class Http(Protocol):
    """What sends requests. Of its exceptions any other than those above counts as `BrokenOff`."""

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[HttpAnswer]:
        """Send once, follow no redirect. Raises those above."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


MakeHttp = Callable[[ssl.SSLContext, Timeouts, Limits], Http]
"""Makes one; with `kept_alive` 0 it uses a connection of its own for each request."""


def named(error: BaseException) -> str:
    """The error with its class, which is often all that it says."""
    return f"{type(error).__name__} {error}".strip()
