"""The HTTP/1.1 server that agents and probes talk to: llhttp on asyncio, with a bound on all that a peer may use.

uvicorn, which the other programs serve with, takes 6 MB and twice the CPU a request; the sidecar has 32Mi and 25m.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import httptools

from runtime.http1 import written
from runtime.http1.written import Headers

BODY_BYTES: Final = 4 * 1024 * 1024
_ALL_BODIES_BYTES: Final = 4 * BODY_BYTES
"""Of all requests together: a pod has 64Mi."""
_HEAD_BYTES: Final = 16 * 1024
_PIECE_BYTES: Final = 8 * 1024
"""What is parsed at a time: the parser cannot be stopped within it, and a peer may send many requests at once."""
_AHEAD_BYTES: Final = 64 * 1024
"""What a peer may send of its next request while one is being answered."""
_LINGER_SECONDS: Final = 2.0
"""How long a refused peer is listened to, so that it reads the refusal instead of a reset."""
_WITHOUT_BODY: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one peer may take up, in seconds, and all together."""

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    """Between two requests."""
    answer_seconds: float = 30.0
    """How long a peer may read nothing of an answer that fills the socket."""
    connections: int = 256
    """One more is closed at once."""


class Request:
    """One request, whole.

    Args:
        target: As it was sent, e.g. `/escrow`.
        headers: Names in lower case; a name can come twice.
        keeps: Whether the peer wants to ask again on this connection.
        is_11: Whether the peer speaks HTTP/1.1, which knows chunks.
    """

    def __init__(self, method: str, target: str, headers: Headers, body: bytes, *, keeps: bool, is_11: bool) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.keeps = keeps
        self.is_11 = is_11

    def all(self, name: bytes) -> list[str]:
        """Every value of a header."""
        return [value.decode("latin-1") for named, value in self.headers if named == name]

    def header(self, name: bytes) -> str:
        """The header's value, empty without one; the first where there are several."""
        for named, value in self.headers:
            if named == name:
                return value.decode("latin-1")
        return ""


class Answer:
    """How a request is answered: whole by `send`, or in pieces by `start`, `write` and `end`.

    A peer that is gone makes none of them fail: whoever answers may go on, and look at `gone`.
    """

    def __init__(self, connection: "_Connection", request: Request) -> None:
        self._connection = connection
        self._request = request
        self._head = b""
        self._chunked = False
        self._ended = False
        self._keeps = request.keeps
        self.status = 0
        self.sent_bytes = 0

    @property
    def gone(self) -> bool:
        """Whether the peer has closed its side."""
        return self._connection.eof

    @property
    def leaves_connection_usable(self) -> bool:
        """Whether the peer knows where this answer ends, and wants to ask again."""
        return self._ended and self._keeps

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call once when the peer closes its side; at once if it has."""
        if self.gone:
            call()
        else:
            self._connection.on_eof = call

    async def send(self, status: int, body: bytes = b"", kind: str = "application/json", more: Headers = []) -> None:  # noqa: B006 - not changed
        """The whole answer."""
        head: Headers = [(b"content-length", b"%d" % len(body))] if status not in _WITHOUT_BODY else []
        if body:
            head.append((b"content-type", kind.encode("latin-1")))
        self._begin(status, head + more)
        await self.write(body, last=True)

    async def start(self, status: int, headers: Headers, piece: bytes = b"", *, last: bool = False) -> None:
        """The head of an answer whose length is not known, and the first piece of its body."""
        self._chunked = self._request.is_11
        self._keeps = self._keeps and self._chunked
        self._begin(status, [*headers, (b"transfer-encoding", b"chunked")] if self._chunked else headers)
        await self.write(piece, last=last)

    def _begin(self, status: int, headers: Headers) -> None:
        self.status = status
        if not self._keeps:
            headers = [*headers, (b"connection", b"close")]
        self._head = written.answer_head(status, headers)

    async def write(self, piece: bytes, *, last: bool = False) -> None:
        """A piece of the body, on its way when this returns; waits while the peer does not read."""
        self.sent_bytes += len(piece)
        self._ended = last
        if self._request.method == "HEAD" or self.status in _WITHOUT_BODY:
            data = b""
        elif self._chunked:
            data = written.chunk(piece) + (written.LAST_CHUNK if last else b"")
        else:
            data = piece
        head, self._head = self._head, b""
        self._connection.write(head + data)
        await self._connection.writable()

    async def end(self) -> None:
        """The end of the body."""
        await self.write(b"", last=True)


Handler = Callable[[Request, Answer], Awaitable[None]]


class HttpServer:
    """Serves one handler on sockets that are listening already.

    Args:
        handler: Answers one request. What it raises is a fault of ours: the connection is closed, the loop's
            exception handler told.
        bounds: What a peer may take up.
    """

    def __init__(self, handler: Handler, bounds: Bounds = Bounds()) -> None:
        self.handler = handler
        self.bounds = bounds
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.body_bytes = 0
        self.ending = False
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: list[socket.socket]) -> None:
        """Serve from now on."""
        loop = asyncio.get_running_loop()
        for each in sockets:
            self._servers.append(await loop.create_server(lambda: _Connection(self), sock=each))

    def refuse_new(self) -> None:
        """Take no more connections, and no further request on those that are open."""
        self.ending = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close_if_idle()

    async def finish(self, seconds: float) -> None:
        """Wait until what is being answered is answered, for so long; then close every connection."""
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=seconds)
        for task in self.tasks:
            task.cancel()
        for connection in list(self.connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One peer."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._target = bytearray()
        self._headers: Headers = []
        self._head_bytes = 0
        self._unfinished_bytes = 0
        self._begun = False
        self._in_body = False
        self._waits_for_leave = False
        self._body = bytearray()
        self._whole: deque[Request] = deque()
        self._wrong: tuple[int, str] | None = None
        self._ahead = bytearray()
        self._busy = False
        self._refused = False
        self._idle = True
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self.eof = False
        self.on_eof: Callable[[], object] | None = None

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # ty: ignore[invalid-assignment] - a stream's
        self._loop = asyncio.get_running_loop()
        # asyncio does this only for sockets that it made itself; without it every answer waits 40 ms for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.connections.add(self)
        if len(self._server.connections) > self._server.bounds.connections or self._server.ending:
            transport.abort()  # ty: ignore[missing-attribute]
            return
        self._allow(self._server.bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._forget_bodies()
        if self._timer is not None:
            self._timer.cancel()
        self._drained.set()
        self._peer_left()

    def eof_received(self) -> bool:
        """The peer sends no more. It may still read: an answer under way is finished."""
        self._peer_left()
        return self._busy

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._ahead += data
        if self._busy:
            if len(self._ahead) > _AHEAD_BYTES:
                self._transport.pause_reading()
            return
        if self._idle:
            self._idle = False
            self._allow(self._server.bounds.head_seconds)
        self._read_on()

    def pause_writing(self) -> None:
        self._drained.clear()
        self._allow(self._server.bounds.answer_seconds)

    def resume_writing(self) -> None:
        self._drained.set()
        self._allow(None)

    # --- what the parser calls

    def on_message_begin(self) -> None:
        self._target, self._headers, self._head_bytes = bytearray(), [], 0
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else they are trailers, which mean nothing here
            self._head_bytes += len(name) + len(value) + 4
            self._headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        self._in_body, self._unfinished_bytes = True, 0
        headers = dict(self._headers)
        self._waits_for_leave = headers.get(b"expect", b"").lower() == b"100-continue"
        length = headers.get(b"content-length")
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            self._is_wrong(505, "HTTP/1.1 is spoken here")
        elif b"host" not in headers:
            self._is_wrong(400, "no Host")
        elif headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            self._is_wrong(501, "no Transfer-Encoding but chunked is understood")
        elif self._head_bytes + len(self._target) > _HEAD_BYTES:
            self._is_wrong(431, f"a head has at most {_HEAD_BYTES} bytes")
        elif length and int(length) > BODY_BYTES:
            self._is_wrong(413, f"a body has at most {BODY_BYTES} bytes")

    def on_body(self, body: bytes) -> None:
        self._waits_for_leave = False
        self._body += body
        self._server.body_bytes += len(body)
        if len(self._body) > BODY_BYTES:
            self._is_wrong(413, f"a body has at most {BODY_BYTES} bytes")
        elif self._server.body_bytes > _ALL_BODIES_BYTES:
            self._is_wrong(503, "too many bodies at one time")

    def on_message_complete(self) -> None:
        self._begun = self._in_body = self._waits_for_leave = False
        body, self._body = bytes(self._body), bytearray()  # counted until it is answered
        if self._wrong:
            self._server.body_bytes -= len(body)
            return
        parser = self._parser
        method, target = parser.get_method().decode("ascii"), self._target.decode("latin-1")
        keeps, is_11 = parser.should_keep_alive() and not parser.should_upgrade(), parser.get_http_version() == "1.1"
        self._whole.append(Request(method, target, self._headers, body, keeps=keeps, is_11=is_11))

    def _is_wrong(self, status: int, why: str) -> None:
        self._wrong = self._wrong or (status, why)

    # --- requests

    def _read_on(self) -> None:
        """Parse what has come, up to the end of a request: what is behind it waits for its answer."""
        was_in_body = self._in_body
        while self._ahead and not self._whole and not self._wrong:
            piece = bytes(self._ahead[:_PIECE_BYTES])
            del self._ahead[:_PIECE_BYTES]
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                self._ahead.clear()  # of another protocol; nothing is read of it
            except httptools.HttpParserError as error:
                self._is_wrong(400, str(error))
            if self._begun and not self._in_body:
                self._unfinished_bytes += len(piece)  # the parser keeps a header until it is whole
                if self._unfinished_bytes > _HEAD_BYTES:
                    self._is_wrong(431, f"a head has at most {_HEAD_BYTES} bytes")
        if self._whole or self._wrong:
            self._go_on()
            return
        if self._in_body and not was_in_body:
            self._allow(self._server.bounds.body_seconds)
        if self._waits_for_leave:
            self._waits_for_leave = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _go_on(self) -> None:
        """Answer the next request, or what is none."""
        if self._whole:
            self._begin(self._whole.popleft())
        elif self._wrong:
            self._refuse(*self._wrong)

    def _begin(self, request: Request) -> None:
        self._busy = True
        self._allow(None)
        task = self._loop.create_task(self._answer(request))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _answer(self, request: Request) -> None:
        answer = Answer(self, request)
        try:
            await self._server.handler(request, answer)
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception as error:
            self._loop.call_exception_handler({"message": "a request was not answered", "exception": error})
            self._transport.abort()
        finally:
            self._server.body_bytes -= len(request.body)
            self._next(again=answer.leaves_connection_usable)

    def _next(self, *, again: bool) -> None:
        """After an answer: the next request of this peer, or the end."""
        self.on_eof = None
        self._busy = False
        if not again or self.eof or self._server.ending:
            self._transport.close()
            return
        if self._whole or self._wrong:
            self._go_on()
            return
        self._transport.resume_reading()
        self._idle, bounds = not (self._ahead or self._begun), self._server.bounds
        if self._idle:
            self._allow(bounds.idle_seconds)
        else:
            self._allow(bounds.body_seconds if self._in_body else bounds.head_seconds)
            self._read_on()

    def _refuse(self, status: int, why: str) -> None:
        """Answer what is no request that can be served, and close."""
        self._refused = True
        self._forget_bodies()
        body = f"{why}\n".encode()
        head: Headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        self.write(written.answer_head(status, head) + body)
        self._allow(_LINGER_SECONDS)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- answers

    def write(self, data: bytes) -> None:
        """In one write; nothing to a peer that is gone."""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait while the socket is full."""
        if not self._drained.is_set():
            await self._drained.wait()

    # --- ends

    def close_if_idle(self) -> None:
        """End a connection on which nothing is being answered."""
        if not self._busy:
            self._transport.close()

    def abort(self) -> None:
        """End it now."""
        self._transport.abort()

    def _peer_left(self) -> None:
        self.eof = True
        if self.on_eof is not None:
            call, self.on_eof = self.on_eof, None
            call()

    def _forget_bodies(self) -> None:
        """Of requests that nobody will answer; one under way is counted until it is answered."""
        self._server.body_bytes -= len(self._body) + sum(len(request.body) for request in self._whole)
        self._body = bytearray()
        self._whole.clear()

    def _allow(self, seconds: float | None) -> None:
        """Cut the peer off after so long, counted from now; None stops the clock.

        The timer is moved only where it would come too late: setting one a request costs more than parsing it.
        """
        self._deadline = None if seconds is None else self._loop.time() + seconds
        if self._deadline is not None and (self._timer is None or self._timer.when() > self._deadline):
            self._wake_at(self._deadline)

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() >= self._deadline:
            self._transport.abort()
        else:
            self._wake_at(self._deadline)
