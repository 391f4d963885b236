"""The HTTP/1.1 client towards the upstream servers: h11 on asyncio, and one promise, which libraries do not make.

`NotSent` is raised only where not one byte of the request has been written. From the first byte on it is `Broken`: the
upstream may have acted. Nothing is repeated in here, no redirect is followed, no cookie kept.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import h11

from runtime.mcp_proxy.tunnel import HttpProxy

Headers = list[tuple[bytes, bytes]]

ANSWER_BYTES: Final = 4 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 32 * 1024
_CONNECT_SECONDS: Final = 5.0
_KEPT: Final = 4
"""Idle connections to one upstream."""
_KEPT_SECONDS: Final = 30.0
_JUST_USED_SECONDS: Final = 1.0
"""How long ago a connection may have been used that a money call is sent on. One that idles may be closed by the other
side at this moment, and a call that was written into that is lost in doubt."""


class NotSent(Exception):
    """No connection came about; not one byte of the request was written."""


class Broken(Exception):
    """The request was written, at least in part, and no whole answer came: it may have been carried out."""


class Answer:
    """An answer whose head has arrived. Read it by `pieces` or `whole`, then `close` it."""

    def __init__(self, connection: "_Connection", head: h11.Response) -> None:
        self.status = head.status_code
        self._headers = dict(head.headers)
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
        while True:
            event = await self._connection.next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise Broken("the answer broke off")

    async def whole(self) -> bytes:
        """The body. Raises Broken, also beyond `ANSWER_BYTES`."""
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > ANSWER_BYTES:
                raise Broken(f"the answer has more than {ANSWER_BYTES} bytes")
        return bytes(body)

    def close(self) -> None:
        """Keep the connection where the answer was read to its end; end it otherwise, which cancels the request."""
        self._connection.release()


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
        self._idle: list[_Connection] = []

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
                await connection.write(method.encode("ascii"), self.target, headers, body)
                return Answer(connection, await connection.head())
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

    def _taken(self, money: bool) -> "_Connection | None":
        oldest = time.monotonic() - (_JUST_USED_SECONDS if money else _KEPT_SECONDS)
        while self._idle:
            connection = self._idle.pop()
            if connection.used_at >= oldest and connection.is_open():
                return connection
            connection.close()
        return None

    async def _opened(self) -> "_Connection":
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if self._proxy and self._tls:
                    reader, writer = await self._proxy.open(self.host, self.port, self._tls)
                else:
                    reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self._tls)
        except TimeoutError:
            raise NotSent(f"no connection to {self.host} within {_CONNECT_SECONDS:g} s") from None
        except OSError as error:  # ssl.SSLError, socket.gaierror, too
            raise NotSent(f"no connection to {self.host}: {error.strerror or type(error).__name__}") from None
        return _Connection(self, reader, writer)

    def keep(self, connection: "_Connection") -> None:
        """Take a connection back."""
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()


class _Connection:
    def __init__(self, client: HttpClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        self.used_at = time.monotonic()
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def is_open(self) -> bool:
        """Whether the other side has not closed it, as far as is known, nor sent what nobody asked for."""
        return not (self._reader.at_eof() or self._writer.is_closing() or self._reader._buffer)  # ty: ignore[missing-attribute]

    async def write(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> None:
        """Write the request."""
        head = [(b"host", self._client.authority), *headers]
        if body:
            head.append((b"content-length", str(len(body)).encode()))
        request = h11.Request(method=method, target=target, headers=head)
        pieces = [self._h11.send(request), self._h11.send(h11.Data(data=body)), self._h11.send(h11.EndOfMessage())]
        try:
            self._writer.write(b"".join(piece or b"" for piece in pieces))
            await self._writer.drain()
        except OSError as error:
            raise Broken(f"the connection broke while the request was written: {_named(error)}") from None

    async def head(self) -> h11.Response:
        """The final answer's head."""
        while True:
            event = await self.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise Broken("the connection was closed before an answer")

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """The next part of the answer. Raises Broken."""
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(await self._reader.read(_READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise Broken(f"the answer is no HTTP: {error}") from None
        except OSError as error:
            raise Broken(f"the connection broke: {_named(error)}") from None
        return event  # ty: ignore[invalid-explicit-return]

    def release(self) -> None:
        """Give it back where the exchange is complete, else close it."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and self.is_open():
            self._h11.start_next_cycle()
            self.used_at = time.monotonic()
            self._client.keep(self)
        else:
            self.close()

    def close(self) -> None:
        """End it now."""
        self._writer.transport.abort()


def _named(error: OSError) -> str:
    return error.strerror or type(error).__name__
