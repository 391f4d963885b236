"""Sending with aiohttp: a tenth of the CPU where many requests are under way.

httpx takes 1.8 ms of CPU a request when sixteen are under way, this 0.2. Only the operator needs that, and has aiohttp
loaded anyhow; httpx beside it would be 3 MiB and 0.1 s of start. For a program that sends a few it is the other way.

The package httpx-aiohttp is not used, because it calls a connection that broke off *after* a request was sent
`ConnectTimeout`: a payment that may have happened would count as never sent, and be sent again.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from yarl import URL

from runtime.network import proxies
from runtime.payments.http import HEADERS, BrokenOff, Limits, NotConnected, TimedOut, Timeouts, Unwritable, named


def unless_proxied() -> "type[BusyHttp] | None":
    """BusyHttp; None where the environment names a proxy, which only httpx supports."""
    return BusyHttp if proxies().keys() <= {"no"} else None


class BusyAnswer:
    """What `transport` reads of an answer."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status_code = response.status
        self.reason_phrase = response.reason or ""
        self.headers: Mapping[str, str] = response.headers

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come."""
        with _translated_errors():
            async for piece in self._response.content.iter_any():
                yield piece


class BusyHttp:
    """An HTTP client on aiohttp. Knows no proxy and follows no redirect.

    Args:
        tls: The trust store.
        timeouts: See `Timeouts`; a write is bounded by the whole exchange.
        limits: See `Limits`; with `kept_alive` 0 each request has a connection of its own.
    """

    def __init__(self, tls: ssl.SSLContext, timeouts: Timeouts, limits: Limits) -> None:
        self._tls = tls
        self._timeouts = timeouts
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        keeps = self._limits.kept_alive > 0
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            limit=self._limits.connections,
            force_close=not keeps,
            keepalive_timeout=self._limits.kept_alive_seconds if keeps else None,
        )
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=self._timeouts.pool_seconds + self._timeouts.connect_seconds,
            sock_connect=self._timeouts.connect_seconds,
            sock_read=self._timeouts.read_seconds,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            middlewares=(_translated,),
        )

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[BusyAnswer]:
        """Send once."""
        if self._session is None:
            self._session = self._open()  # here, because aiohttp wants a running loop
        target = URL(url, encoded=True)
        try:
            response = await self._session.request(
                method, target, headers=headers, data=content, params=params, allow_redirects=False
            )
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise Unwritable(named(error)) from error
        try:
            yield BusyAnswer(response)
        finally:
            response.close()  # returns a connection whose answer was read to its end, ends any other

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


async def _translated(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Translate below aiohttp's own repetition of reads, which ours would multiply."""
    with _translated_errors():
        return await handler(request)


@contextmanager
def _translated_errors() -> Generator[None]:
    """Name what went wrong.

    aiohttp raises the first three only from its connector, before it has a connection to send on; all else may come
    from after the request has left.
    """
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
        raise NotConnected(named(error)) from error
    except aiohttp.ServerTimeoutError as error:
        raise TimedOut(named(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise BrokenOff(named(error)) from error
