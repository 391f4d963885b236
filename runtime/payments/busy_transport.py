"""httpx's requests sent by aiohttp: a quarter of the processor time where many are under way at once.

httpx's own transport takes 3 ms of CPU a request when sixteen are under way, this one 0.7 (httpx itself 0.4, aiohttp
0.15). Only the operator needs that, and has aiohttp loaded anyhow; for a program that sends a few it is 0.2 s of start.

The package httpx-aiohttp is not used, because it calls a connection that broke off *after* a request was sent
`ConnectTimeout`: a payment that may have happened would count as never sent, and be sent again.
"""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from yarl import URL

from runtime.payments.transport import Limits, Timeouts


class BusyTransport(httpx.AsyncBaseTransport):
    """An httpx transport on aiohttp. Knows no proxy.

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
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            middlewares=(_in_the_words_of_httpx,),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send once. Raises `httpx.ConnectError` or `ConnectTimeout` only when nothing was sent."""
        if self._session is None:
            self._session = self._open()  # here, because aiohttp wants a running loop
        try:
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content or None,
                allow_redirects=False,
            )
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise httpx.LocalProtocolError(str(error)) from error
        return httpx.Response(response.status, headers=[*response.raw_headers], stream=_Body(response), request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


async def _in_the_words_of_httpx(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Translate below aiohttp's own repetition of reads, which ours would multiply.

    aiohttp raises the first two only from its connector, before it has a connection to send on; all else may come from
    after the request has left.
    """
    try:
        return await handler(request)
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
        raise httpx.ConnectError(str(error)) from error
    except aiohttp.ServerTimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error)) from error


class _Body(httpx.AsyncByteStream):
    """The answer's bytes as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response.content.iter_any():
                yield piece
        except aiohttp.ServerTimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise httpx.ReadError(str(error)) from error

    async def aclose(self) -> None:
        self._response.close()  # returns a connection whose answer was read to its end, ends any other
