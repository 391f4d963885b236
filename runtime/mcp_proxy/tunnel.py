"""The way to an `https://` upstream through the environment's HTTP proxy: CONNECT, and TLS inside of it.

Nothing of a request is written before the tunnel stands, so a proxy that refuses leaves no doubt.
"""

import asyncio
import base64
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

import h11

from runtime.errors import BadInput
from runtime.network import proxy_for

_READ_BYTES: Final = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class HttpProxy:
    """A proxy.

    Args:
        tls: Trusts it, where it is spoken to by `https://` itself.
        authorization: For it alone; the upstream never sees it.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    authorization: bytes | None = None

    async def open(self, host: str, port: int, tls: ssl.SSLContext) -> Streams:
        """A TLS connection to the upstream. Raises OSError, whose `strerror` says what went wrong."""
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        try:
            await self._connect(reader, writer, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            await writer.start_tls(tls, server_hostname=host)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str) -> None:
        http = h11.Connection(h11.CLIENT)
        headers = [(b"host", authority.encode("ascii"))]
        if self.authorization:
            headers.append((b"proxy-authorization", self.authorization))
        request = h11.Request(method=b"CONNECT", target=authority.encode("ascii"), headers=headers)
        writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        try:
            while not isinstance(event := http.next_event(), h11.Response):
                if isinstance(event, h11.ConnectionClosed):
                    raise ConnectionError(0, "the proxy closed the connection")
                if event is h11.NEED_DATA:
                    http.receive_data(await reader.read(_READ_BYTES))
        except h11.RemoteProtocolError:
            raise ConnectionError(0, "the proxy speaks no HTTP") from None
        if not 200 <= event.status_code < 300:
            raise ConnectionError(0, f"the proxy answered {event.status_code}")


def proxy_of(url: str, tls: ssl.SSLContext | None) -> HttpProxy | None:
    """The environment's proxy for an upstream; None: it is asked directly.

    Raises:
        BadInput: The proxy is none that the sidecar speaks to.
    """
    proxy = proxy_for(url)
    if proxy is None:
        return None
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https"):
        raise BadInput(
            f"the environment names a {parts.scheme}:// proxy for {urlsplit(url).hostname}, and the sidecar speaks to "
            "http:// and https:// proxies only: name such a one in HTTPS_PROXY, or the host in NO_PROXY"
        )
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(pair.encode())
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return HttpProxy(parts.hostname or "", port, tls if secure else None, authorization)
