"""One connection to a server: a request is written whole, its answer is read as it comes."""

# ruff: noqa: D102 - asyncio and the parser tell what their callbacks are for

import asyncio
import socket
import time
from collections import deque
from typing import Final

import httptools

from runtime.http1.written import Headers, request_head

_HEAD_BYTES: Final = 32 * 1024
_LONG_HEAD: Final = f"the answer's head has more than {_HEAD_BYTES} bytes"
_AHEAD_BYTES: Final = 256 * 1024
"""What is read of an answer before somebody takes it."""


class Broken(Exception):
    """The request was written, at least in part, and no whole answer came: it may have been carried out."""


class Connection(asyncio.Protocol):
    """Exchanges, one after another.

    Attributes:
        status, reason: Of the answer, once `head` has returned.
        headers: Its own, with names in lower case; the last of a name counts.
        used_at: When the last exchange ended, by the monotonic clock.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[None] | None = None
        self._lost = ""
        self.used_at = time.monotonic()
        self.status = 0
        self.reason = ""
        self.headers: dict[bytes, bytes] = {}
        self._complete = True  # nothing has been asked
        self._keeps = True
        self._has_head = False
        self._head_bytes = self._unfinished_bytes = 0
        self._pieces: deque[bytes] = deque()
        self._kept_bytes = 0

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # ty: ignore[invalid-assignment] - a stream's
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self._end("it said what nobody had asked for")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end("the answer is no HTTP: it changes to another protocol")
        except httptools.HttpParserError as error:
            self._end(f"the answer is no HTTP: {error}")
        self._unfinished_bytes += 0 if self._has_head else len(data)  # the parser keeps a header until it is whole
        if self._unfinished_bytes > _HEAD_BYTES:
            self._end(_LONG_HEAD)
        if self._kept_bytes > _AHEAD_BYTES:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if not self._complete and self._has_head and self.headers.keys().isdisjoint(_LENGTHS):
            self._complete = True  # such an answer ends with the connection
        self._end("the answer broke off" if not self._complete and self._has_head else "the connection was closed")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection broke: {getattr(exc, 'strerror', None) or type(exc).__name__}" if exc else "closed")

    # --- what the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            self._end("it said more than its answer")

    def on_status(self, reason: bytes) -> None:
        self.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else they are trailers, which mean nothing here
            self._head_bytes += len(name) + len(value) + 4
            self.headers[name.lower()] = value.strip()

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
        elif self._head_bytes > _HEAD_BYTES:
            self._end(_LONG_HEAD)
        elif self.headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            self._end("the answer has a Transfer-Encoding that is not understood")
        else:
            self._has_head = not self._lost

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._pieces.append(body)
            self._kept_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True
            self._keeps = self._parser.should_keep_alive()

    # --- what the client calls

    @property
    def is_open(self) -> bool:
        """Whether another request can be written, as far as is known."""
        return not self._lost and self._keeps and self._complete and not self._transport.is_closing()

    def write(self, method: bytes, target: bytes, headers: Headers, body: bytes = b"") -> None:
        """Write a request. Raises ValueError, where it cannot be written as HTTP."""
        if self._kept_bytes > _AHEAD_BYTES:  # of the answer before, which nobody read to its end
            self._transport.resume_reading()
        self._complete = self._has_head = self._keeps = False
        self.status, self.reason, self.headers = 0, "", {}
        self._head_bytes = self._unfinished_bytes = self._kept_bytes = 0
        self._pieces.clear()
        if body or method in _HAS_A_BODY:
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        self._transport.write(request_head(method, target, headers) + body)

    async def head(self) -> None:
        """Wait for the head of the answer. Raises Broken."""
        while not self._has_head:
            await self._more()

    @property
    def has_piece(self) -> bool:
        """Whether `piece` need not wait."""
        return bool(self._pieces) or self._complete

    async def piece(self) -> bytes:
        """The next piece of the answer's body, empty at its end. Raises Broken."""
        while not self._pieces:
            if self._complete:
                return b""
            await self._more()
        if self._kept_bytes > _AHEAD_BYTES:
            self._transport.resume_reading()
        piece = self._pieces.popleft()
        self._kept_bytes -= len(piece)
        return piece

    def close(self) -> None:
        """End it now."""
        self._transport.abort()

    async def _more(self) -> None:
        if self._lost:
            raise Broken(self._lost)
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def _end(self, why: str) -> None:
        """No more of an answer will come."""
        self._lost = self._lost or why
        self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


_HAS_A_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})
"""Some proxies refuse one of these that does not say how long its body is, also where it has none."""

_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})
