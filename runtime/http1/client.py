"""One server's connections, and one promise, which libraries do not make.

`NotSent` is raised only where not one byte of the request has been written. From the first byte on it is `Broken`: the
server may have acted. Nothing is repeated in here, no redirect is followed, no cookie kept.
"""

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final
from urllib.parse import urlsplit

import aiohappyeyeballs

from runtime.http1.connection import Broken, Connection
from runtime.http1.tunnel import HttpProxy
from runtime.http1.written import Headers

ANSWER_BYTES: Final = 4 * 1024 * 1024
_JUST_USED_SECONDS: Final = 1.0
"""How long ago a connection may have been used that counts as fresh. One that idles may be closed by the other side at
this moment, and what is written into that is lost in doubt."""
_RESOLVED_SECONDS: Final = 10.0
"""How long an address is used again: in a pod a name is asked for with each of the search domains."""
_NEXT_ADDRESS_SECONDS: Final = 0.25
_CLOSE: Final = (b"connection", b"close")


class NotSent(Exception):
    """No connection came about; not one byte of the request was written."""


class Untrusted(NotSent):
    """The server's certificate is not one that is trusted, or not its own."""


class Silent(Broken):
    """The time was up."""


class TooLong(Broken):
    """The answer has more bytes than are read of it."""


class Answer:
    """An answer whose head has arrived. Read it by `pieces` or `whole`, then `close` it."""

    def __init__(self, client: "HttpClient", connection: Connection) -> None:
        self.status = connection.status
        self.reason = connection.reason
        self._headers = connection.headers
        self._client = client
        self._connection = connection
        self._is_closed = False

    def header(self, name: bytes) -> str:
        """The header's value, empty without one."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """By their names in lower case."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}

    @property
    def kind(self) -> str:
        """The media type, without its parameters."""
        return self.header(b"content-type").partition(";")[0].strip().lower()

    async def pieces(self, seconds: float | None = None) -> AsyncGenerator[bytes]:
        """The body as it arrives. Raises Broken; Silent, where the next piece takes longer than `seconds`."""
        while piece := await self._piece(seconds):
            yield piece

    async def _piece(self, seconds: float | None) -> bytes:
        if seconds is None or self._connection.has_piece:  # a timeout costs as much as a piece
            return await self._connection.piece()
        try:
            async with asyncio.timeout(seconds):
                return await self._connection.piece()
        except TimeoutError:
            raise Silent(f"nothing more of the answer within {seconds:g} s") from None

    async def whole(self, most_bytes: int = ANSWER_BYTES) -> bytearray:
        """The body. Raises Broken; TooLong, as soon as it is known to be."""
        body, announced = bytearray(), self.header(b"content-length")
        while len(body) <= most_bytes >= int(announced or 0):
            if not (piece := await self._connection.piece()):
                return body
            body += piece
        raise TooLong(f"the answer has more than {most_bytes} bytes")

    def close(self) -> None:
        """Keep the connection where the answer was read to its end; end it otherwise, which cancels the request."""
        if not self._is_closed:  # twice, it would be two requests' at one time
            self._is_closed = True
            self._client.give_back(self._connection)


class HttpClient:
    """One server's connections.

    Args:
        url: `http(s)://host[:port][/path]`.
        tls: The trust store, and our certificate; used for `https`.
        proxy: The HTTP proxy on the way there.
        name: What the server's certificate says, where that is not the URL's host.
        most: Connections at one time; 0 without a bound.
        kept: Idle ones that are kept; with 0 each request has a connection of its own.
        kept_seconds: How long.
        connect_seconds: How long a connection may take to come about.
        wait_seconds: How long to wait for a free one.
    """

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext | None,
        proxy: HttpProxy | None = None,
        *,
        name: str | None = None,
        most: int = 0,
        kept: int = 4,
        kept_seconds: float = 30.0,
        connect_seconds: float = 5.0,
        wait_seconds: float | None = None,
    ) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self._path = parts.path
        self._authority = parts.netloc.encode("ascii")
        self._tls = tls if parts.scheme == "https" else None
        self._proxy = proxy
        self._name = (name or self.host) if self._tls else None
        self._free = asyncio.Semaphore(most) if most else None
        self._kept = kept
        self._kept_seconds = kept_seconds
        self._connect_seconds = connect_seconds
        self._wait_seconds = wait_seconds
        self._idle: deque[Connection] = deque()
        self._addresses: list[aiohappyeyeballs.AddrInfoType] = []
        self._resolved_at = 0.0

    async def send(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes = b"",
        *,
        seconds: float | None,
        fresh: bool = False,
        on_write: Callable[[], None] | None = None,
    ) -> Answer:
        """Send once and wait for the answer's head.

        Args:
            path: What follows the path of `url`, in ASCII, with the query.
            seconds: How long to wait for the head; None where the caller bounds it.
            fresh: Send on a new connection, or on one that was just used.
            on_write: Called before the first byte is written.

        Raises:
            NotSent: Nothing was written.
            Silent: There was no head in time.
            Broken: Anything later.
            ValueError: The request cannot be written as HTTP; nothing was written.
        """
        connection = await self._connection(fresh=fresh)
        try:
            async with asyncio.timeout(seconds):
                head = [(b"host", self._authority), *([] if self._kept else [_CLOSE]), *headers]
                target = (self._path + path or "/").encode("ascii")
                if on_write:
                    on_write()
                connection.write(method.encode("ascii"), target, head, body)
                await connection.head()
                return Answer(self, connection)
        except TimeoutError:
            self._end(connection)
            raise Silent(f"no answer within {seconds:g} s") from None
        except BaseException:
            self._end(connection)
            raise

    def close(self) -> None:
        """Close what is idle, and from now on each connection that is given back."""
        self._kept = 0
        while self._idle:
            self._idle.pop().close()

    def give_back(self, connection: Connection) -> None:
        """Take a connection back; one whose answer was not read to its end is closed."""
        if not connection.is_open or len(self._idle) >= self._kept:
            return self._end(connection)
        if self._free:
            self._free.release()
        connection.used_at = time.monotonic()
        self._idle.append(connection)
        while self._idle[0].used_at < connection.used_at - self._kept_seconds:
            self._idle.popleft().close()
        return None

    def _end(self, connection: Connection) -> None:
        connection.close()
        if self._free:
            self._free.release()

    async def _connection(self, *, fresh: bool) -> Connection:
        if self._free:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._free.acquire()
            except TimeoutError:
                raise NotSent(f"no free connection to {self.host} within {self._wait_seconds:g} s") from None
        try:
            return self._taken(fresh=fresh) or await self._opened()
        except BaseException:
            if self._free:
                self._free.release()
            raise

    def _taken(self, *, fresh: bool) -> Connection | None:
        oldest = time.monotonic() - (_JUST_USED_SECONDS if fresh else self._kept_seconds)
        while self._idle:
            connection = self._idle.pop()
            if connection.used_at >= oldest and connection.is_open:
                return connection
            connection.close()
        return None

    async def _opened(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                if self._proxy:
                    return await self._proxy.open(self.host, self.port, self._tls, self._name)
                loop = asyncio.get_running_loop()
                joined = await aiohappyeyeballs.start_connection(
                    await self._resolved(), happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, loop=loop
                )
                _, connection = await loop.create_connection(
                    Connection, sock=joined, ssl=self._tls, server_hostname=self._name
                )
                return connection
        except TimeoutError:
            raise NotSent(f"no connection to {self.host} within {self._connect_seconds:g} s") from None
        except OSError as error:  # ssl.SSLError, socket.gaierror, too
            self._resolved_at = 0.0
            words = error.strerror or f"{error}" or type(error).__name__
            kind = Untrusted if isinstance(error, ssl.SSLCertVerificationError) else NotSent
            raise kind(f"no connection to {self.host}: {words}") from None

    async def _resolved(self) -> list[aiohappyeyeballs.AddrInfoType]:
        if not self._resolved_at or time.monotonic() - self._resolved_at > _RESOLVED_SECONDS:
            loop = asyncio.get_running_loop()
            self._addresses = list(await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
            self._resolved_at = time.monotonic()
        return self._addresses
