"""What sends a request and how long it may take: httpx, or another client with as much of its interface as is used."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import httpx


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


class HttpAnswer(Protocol):
    """What is read of an answer, by the names of `httpx.Response`."""

    @property
    def status_code(self) -> int: ...  # noqa: D102 - httpx's
    @property
    def reason_phrase(self) -> str: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    def aiter_raw(self) -> AsyncIterator[bytes]: ...  # noqa: D102


class Http(Protocol):
    """What sends requests: an `httpx.AsyncClient`, or what takes the same words and raises the same errors."""

    def stream(  # noqa: D102 - httpx's
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[HttpAnswer]: ...
    async def aclose(self) -> None: ...  # noqa: D102


MakeHttp = Callable[[ssl.SSLContext, Timeouts, Limits], Http]
"""Makes one; with `kept_alive` 0 it uses a connection of its own for each request."""


def httpx_client(trust: ssl.SSLContext, timeouts: Timeouts, limits: Limits, *, plain: bool) -> httpx.AsyncClient:
    """An `httpx.AsyncClient`, which is a `MakeHttp` but for `plain`: whether it uses no proxy from the environment."""
    return httpx.AsyncClient(
        verify=trust,
        follow_redirects=False,  # a redirect would carry the key, or the money, elsewhere
        trust_env=not plain,
        headers=HEADERS,
        timeout=httpx.Timeout(
            connect=timeouts.connect_seconds,
            read=timeouts.read_seconds,
            write=timeouts.write_seconds,
            pool=timeouts.pool_seconds,
        ),
        limits=httpx.Limits(
            max_connections=limits.connections,
            max_keepalive_connections=limits.kept_alive,
            keepalive_expiry=limits.kept_alive_seconds,
        ),
    )
