"""The HTTP/1.1 server that agents and probes talk to: h11 on asyncio, with a bound on everything that a peer may use.

uvicorn, which the other programs serve with, takes 6 MB and twice the CPU a request; the sidecar has 32Mi and 25m.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

Headers = list[tuple[bytes, bytes]]

BODY_BYTES: Final = 4 * 1024 * 1024
_ALL_BODIES_BYTES: Final = 4 * BODY_BYTES
"""Of all requests together: a pod has 64Mi."""
_HEAD_BYTES: Final = 16 * 1024
_AHEAD_BYTES: Final = 64 * 1024
"""What a peer may send of its next request while one is being answered."""
_LINGER_SECONDS: Final = 2.0
"""How long a refused peer is listened to, so that it reads the refusal instead of a reset."""


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
    """

    def __init__(self, head: h11.Request, body: bytes) -> None:
        self.method = head.method.decode("ascii")
        self.target = head.target.decode("latin-1")
        self.headers: Headers = list(head.headers)
        self.body = body
        self._values: dict[bytes, list[str]] = {}
        for name, value in self.headers:
            self._values.setdefault(name, []).append(value.decode("latin-1").strip())

    def all(self, name: bytes) -> list[str]:
        """Every value of a header."""
        return self._values.get(name, [])

    def header(self, name: bytes) -> str:
        """The header's value, empty without one; the first where there are several."""
        values = self._values.get(name)
        return values[0] if values else ""


class Answer:
    """How a request is answered: whole by `send`, or in pieces by `start`, `write` and `end`.

    A peer that is gone makes none of them fail: whoever answers may go on, and look at `gone`.
    """

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection
        self.status = 0
        self.sent_bytes = 0
        self._waiting: list[h11.Event] = []

    @property
    def gone(self) -> bool:
        """Whether the peer has closed its side."""
        return self._connection.eof

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call once when the peer closes its side; at once if it has."""
        if self.gone:
            call()
        else:
            self._connection.on_eof = call

    async def send(self, status: int, body: bytes = b"", kind: str = "application/json", more: Headers = []) -> None:  # noqa: B006 - not changed
        """The whole answer."""
        head: Headers = [(b"content-length", str(len(body)).encode())]
        if body:
            head.insert(0, (b"content-type", kind.encode("latin-1")))
        await self.start(status, head + more, body, last=True)

    async def start(self, status: int, headers: Headers, piece: bytes = b"", *, last: bool = False) -> None:
        """The head of an answer whose length is not known, and the first piece of its body."""
        self.status = status
        self._waiting = [h11.Response(status_code=status, headers=headers, reason=_REASONS.get(status, b""))]
        await self.write(piece, last=last)

    async def write(self, piece: bytes, *, last: bool = False) -> None:
        """A piece of the body, on its way when this returns; waits while the peer does not read."""
        self.sent_bytes += len(piece)
        events, self._waiting = self._waiting, []
        if piece and self._connection.wants_body:
            events.append(h11.Data(data=piece))
        self._connection.send(*events, *([h11.EndOfMessage()] if last else []))
        await self._connection.writable()

    async def end(self) -> None:
        """The end of the body."""
        await self.write(b"", last=True)


_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}

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
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._busy = False
        self._refused = False
        self._ahead = 0
        self._counted = 0
        self._idle = True
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
        self._forget_body()
        self._allow(None)
        self._drained.set()
        self._peer_left()

    def eof_received(self) -> bool:
        """The peer sends no more. It may still read: an answer under way is finished."""
        self._peer_left()
        return self._busy

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if data:  # nothing would be the end to h11
            self._h11.receive_data(data)
        if self._busy:
            self._ahead += len(data)
            if self._ahead > _AHEAD_BYTES:
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

    # --- requests

    def _read_on(self) -> None:
        try:
            while not self._busy:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                        self._transport.write(self._h11.send(go_on) or b"")
                    return None
                if isinstance(event, h11.Request):
                    self._head = event
                    if wrong := _framing_mistake(event):
                        return self._refuse(*wrong)
                    self._allow(self._server.bounds.body_seconds)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    self._server.body_bytes += len(event.data)
                    if len(self._body) > BODY_BYTES:
                        return self._refuse(413, f"a body has at most {BODY_BYTES} bytes")
                    if self._server.body_bytes > _ALL_BODIES_BYTES:
                        return self._refuse(503, "too many bodies at one time")
                elif isinstance(event, h11.EndOfMessage):
                    self._begin()
                else:  # paused or closed: nothing more is read of this peer
                    return None
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))

    def _begin(self) -> None:
        assert self._head is not None  # noqa: S101 - h11 gives the head first
        self._busy = True
        self._allow(None)
        request = Request(self._head, bytes(self._body))
        self._body = bytearray()  # counted until it is answered
        self._counted = len(request.body)
        task = self._loop.create_task(self._answer(request))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _answer(self, request: Request) -> None:
        try:
            await self._server.handler(request, Answer(self))
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception as error:
            self._loop.call_exception_handler({"message": "a request was not answered", "exception": error})
            self._transport.abort()
        finally:
            self._server.body_bytes -= self._counted
            self._next()

    def _next(self) -> None:
        """After an answer: the next request of this peer, or the end."""
        self.on_eof = None
        self._busy = False
        states = (self._h11.our_state, self._h11.their_state)
        if states != (h11.DONE, h11.DONE) or self.eof or self._server.ending:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._ahead, self._idle = 0, True
        self._allow(self._server.bounds.idle_seconds)
        self._transport.resume_reading()
        if self._h11.trailing_data[0]:
            self.data_received(b"")

    def _refuse(self, status: int, why: str) -> None:
        """Answer what is no request that can be served, and close."""
        self._refused = True
        self._forget_body()
        body = f"{why}\n".encode()
        head = h11.Response(
            status_code=status,
            headers=[
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
            reason=_REASONS.get(status, b""),
        )
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.send(head, h11.Data(data=body), h11.EndOfMessage())
        self._allow(_LINGER_SECONDS)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- answers

    @property
    def wants_body(self) -> bool:
        """Not for HEAD, whose answer is a head."""
        return self._head is None or self._head.method != b"HEAD"

    def send(self, *events: h11.Event) -> None:
        """What h11 makes of these events, in one write; nothing to a peer that is gone."""
        pieces = [self._h11.send(event) or b"" for event in events]
        if not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

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

    def _forget_body(self) -> None:
        self._server.body_bytes -= len(self._body)
        self._body = bytearray()

    def _allow(self, seconds: float | None) -> None:
        """Cut the peer off after so long, counted from now; None stops the clock."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._transport.abort)


def _framing_mistake(head: h11.Request) -> tuple[int, str] | None:
    """What makes it unclear where a request ends; h11 has refused the rest."""
    if sum(len(name) + len(value) for name, value in head.headers) > _HEAD_BYTES:
        return 431, f"a head has at most {_HEAD_BYTES} bytes"  # h11 measures only what is not whole yet
    names = [name for name, _ in head.headers]
    if b"content-length" in names and b"transfer-encoding" in names:
        return 400, "Content-Length together with Transfer-Encoding"
    lengths = [value for name, value in head.headers if name == b"content-length"]
    if lengths and int(lengths[0]) > BODY_BYTES:
        return 413, f"a body has at most {BODY_BYTES} bytes"
    return None
