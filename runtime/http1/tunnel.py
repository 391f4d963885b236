"""The way to a server through an HTTP proxy: CONNECT, and TLS inside of it.

Nothing of a request is written before the tunnel stands, so a proxy that refuses leaves no doubt.
"""

import asyncio
import base64
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from runtime.errors import BadInput
from runtime.http1.connection import Broken, Connection
from runtime.network import proxy_for


@dataclass(frozen=True)
class HttpProxy:
    """A proxy.

    Args:
        tls: Trusts it, where it is spoken to by `https://` itself.
        authorization: For it alone; the server never sees it.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    authorization: bytes | None = None

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None, name: str | None) -> Connection:
        """A connection to a server, whose certificate has that name.

        Raises:
            OSError: Its `strerror` says what went wrong.
        """
        loop = asyncio.get_running_loop()
        transport, outer = await loop.create_connection(Connection, self.host, self.port, ssl=self.tls)
        try:
            await self._connect(outer, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            inner = Connection()
            if tls is None:
                transport.set_protocol(inner)
                inside = transport
            elif (inside := await loop.start_tls(transport, inner, tls, server_hostname=name)) is None:
                raise ConnectionError(0, "the proxy closed the connection")
        except BaseException:
            outer.close()
            raise
        inner.connection_made(inside)
        return inner

    async def _connect(self, outer: Connection, authority: str) -> None:
        headers = [(b"host", authority.encode("ascii"))]
        if self.authorization:
            headers.append((b"proxy-authorization", self.authorization))
        outer.write(b"CONNECT", authority.encode("ascii"), headers)
        try:
            await outer.head()
        except Broken as error:
            raise ConnectionError(0, f"the proxy gave no answer: {error}") from None
        if not 200 <= outer.status < 300:
            raise ConnectionError(0, f"the proxy answered {outer.status}")


def proxy_of(url: str, tls: ssl.SSLContext | None) -> HttpProxy | None:
    """The environment's proxy on the way to a URL; None: it is asked directly.

    Raises:
        BadInput: It is none that is spoken to here.
    """
    proxy = proxy_for(url)
    if proxy is None:
        return None
    if (scheme := urlsplit(proxy).scheme) not in ("http", "https"):
        raise BadInput(
            f"the environment names a {scheme}:// proxy for {urlsplit(url).hostname}, and only http:// and https:// "
            "proxies can be used: name such a one in HTTPS_PROXY, or the host in NO_PROXY"
        )
    return parsed(proxy, tls)


def parsed(proxy: str, tls: ssl.SSLContext | None) -> HttpProxy:
    """The proxy of an `http://` or `https://` URL; `tls` trusts it."""
    parts = urlsplit(proxy)
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(pair.encode())
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return HttpProxy(parts.hostname or "", port, tls if secure else None, authorization)
