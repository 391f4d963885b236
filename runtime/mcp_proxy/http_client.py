"""The HTTP/1.1 client towards the upstream servers: llhttp on asyncio, and one promise, which libraries do not make.

`NotSent` is raised only where not one byte of the request has been written. From the first byte on it is `Broken`: the
upstream may have acted. Nothing is repeated in here, no redirect is followed, no cookie kept.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final
from urllib.parse import urlsplit

from runtime.mcp_proxy.connection import Broken, Connection
from runtime.mcp_proxy.http1 import Headers
from runtime.mcp_proxy.tunnel import HttpProxy

ANSWER_BYTES: Final = 4 * 1024 * 1024
_CONNECT_SECONDS: Final = 5.0
_KEPT: Final = 4
"""Idle connections to one upstream."""
_KEPT_SECONDS: Final = 30.0
_JUST_USED_SECONDS: Final = 1.0
"""How long ago a connection may have been used that a money call is sent on. One that idles may be closed by the other
side at this moment, and a call that was written into that is lost in doubt."""


class NotSent(Exception):
    """No connection came about; not one byte of the request was written."""


class Answer:
    """An answer whose head has arrived. Read it by `pieces` or `whole`, then `close` it."""

    def __init__(self, client: "HttpClient", connection: Connection) -> None:
        self.status = connection.status
        self._headers = connection.headers
        self._client = client
        self._connection = connection

    def header(self, name: bytes) -> str:
        """The header's value, empty without one."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def kind(self) -> str:
        """The media type, without its parameters."""
        return self.header(b"content-type").partition(";")[0].strip().lower()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it arrives. Raises Broken."""
        while piece := await self._connection.piece():
            yield piece

    async def whole(self) -> bytes:
        """The body. Raises Broken, also beyond `ANSWER_BYTES`."""
        body = bytearray()
        while piece := await self._connection.piece():
            body += piece
            if len(body) > ANSWER_BYTES:
                raise Broken(f"the answer has more than {ANSWER_BYTES} bytes")
        return bytes(body)

    def close(self) -> None:
        """Keep the connection where the answer was read to its end; end it otherwise, which cancels the request."""
        self._client.keep(self._connection)


class HttpClient:
    """One upstream's connections.

    Args:
        url: `http(s)://host[:port][/path]`.
        tls: The trust store; used for `https`.
        proxy: The HTTP proxy on the way there; for `https` only.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None, proxy: HttpProxy | None = None) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.target = (parts.path or "/").encode("ascii")
        self.authority = parts.netloc.encode("ascii")
        self._tls = tls if parts.scheme == "https" else None
        self._proxy = proxy
        self._idle: list[Connection] = []

    async def send(
        self, method: str, headers: Headers, body: bytes, *, money: bool, seconds: float, on_write: Callable[[], None]
    ) -> Answer:
        """Send once and wait for the answer's head.

        Args:
            money: Send on a fresh connection, or on one that was just used.
            seconds: How long to wait for the head.
            on_write: Called before the first byte is written.

        Raises:
            NotSent: Nothing was written.
            Broken: Anything later.
        """
        connection = self._taken(money) or await self._opened()
        try:
            async with asyncio.timeout(seconds):
                on_write()
                connection.write(method.encode("ascii"), self.target, [(b"host", self.authority), *headers], body)
                await connection.head()
                return Answer(self, connection)
        except TimeoutError:
            connection.close()
            raise Broken(f"no answer within {seconds:g} s") from None
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _taken(self, money: bool) -> Connection | None:
        oldest = time.monotonic() - (_JUST_USED_SECONDS if money else _KEPT_SECONDS)
        while self._idle:
            connection = self._idle.pop()
            if connection.used_at >= oldest and connection.is_open:
                return connection
            connection.close()
        return None

    async def _opened(self) -> Connection:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if self._proxy and self._tls:
                    return await self._proxy.open(self.host, self.port, self._tls)
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self._tls)
                return connection
        except TimeoutError:
            raise NotSent(f"no connection to {self.host} within {_CONNECT_SECONDS:g} s") from None
        except OSError as error:  # ssl.SSLError, socket.gaierror, too
            raise NotSent(f"no connection to {self.host}: {error.strerror or type(error).__name__}") from None

    def keep(self, connection: Connection) -> None:
        """Take a connection back; one whose answer was not read to its end is closed."""
        if connection.is_open and len(self._idle) < _KEPT:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
