"""Sending with httpx, which knows proxies: for programs that send a few requests."""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import httpx

from runtime.errors import BadInput
from runtime.network import proxies
from runtime.payments.http import HEADERS, Limits, NotConnected, TimedOut, Timeouts, Unwritable, named


class PlainHttp:
    """An HTTP client on httpx.

    Args:
        trust: The trust store.
        timeouts: See `Timeouts`.
        limits: See `Limits`; with `kept_alive` 0 each request has a connection of its own.
        proxied: Whether it uses the proxies that the environment names.

    Raises:
        BadInput: Such a proxy cannot be used.
    """

    def __init__(self, trust: ssl.SSLContext, timeouts: Timeouts, limits: Limits, *, proxied: bool) -> None:
        if proxied:
            proxies()
        try:
            self._client = httpx.AsyncClient(
                verify=trust,
                follow_redirects=False,  # a redirect would carry the key, or the money, elsewhere
                trust_env=proxied,
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
        except (ValueError, ImportError, httpx.InvalidURL) as error:  # what `proxies` does not know of
            names = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY"
            raise BadInput(f"{names} in the environment cannot be used: {named(error)}") from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[httpx.Response]:
        """Send once."""
        try:
            async with self._client.stream(method, url, headers=headers, content=content, params=params) as response:
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NotConnected(named(error)) from error
        except httpx.TimeoutException as error:
            raise TimedOut(named(error)) from error
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise Unwritable(named(error)) from error

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()
