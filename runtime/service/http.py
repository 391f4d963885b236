"""The one HTTP server: uvicorn, with what a server in a cluster needs and uvicorn leaves out.

It listens on IPv4 and IPv6, bounds the number of connections and the time for the head, the body and the reading of an
answer (uvicorn waits for ever), takes the caller's trace, and ends when its program does.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.trace import HEADER, tracing

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


PEER_CERTIFICATE: Final = "peer_certificate"
"""In a request's `scope["state"]`, over TLS: what `ssl` tells of the client's checked certificate; None without one."""

HANDSHAKE_SECONDS: Final = 5.0
"""How long a peer may take to agree on TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one peer may take up, in seconds, and all together."""

    head_seconds: float = 10.0
    """From the first byte of a request, or from the connection on, until its head is complete."""
    body_seconds: float = 30.0
    """From then on until its body is."""
    answer_seconds: float = 30.0
    """How long a peer may read nothing of an answer that fills the socket."""
    connections: int = 512
    """One more is closed at once."""
    drain_seconds: int = 5
    """How long open requests may take to finish once the server ends."""


class _Awaiting(Enum):
    """What a peer owes."""

    NOTHING = 0
    HEAD = 1
    BODY = 2
    READING = 3


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 connection with bounds: a peer that keeps it waiting is cut off, however slowly it drips."""

    bounds: ClassVar[Bounds] = Bounds()

    _awaiting = _Awaiting.NOTHING
    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, or close at once where there are too many."""
        # asyncio does this only for sockets that it made itself; without it every answer waits 40 ms for an ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls := transport.get_extra_info("ssl_object"):
            self.app_state = {**self.app_state, PEER_CERTIFICATE: tls.getpeercert()}
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            transport.abort()
        self._await(_Awaiting.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the bound."""
        self._await(_Awaiting.NOTHING)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the time for the same thing goes on running."""
        super().data_received(data)
        if self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body):
            self._await(_Awaiting.HEAD)
        else:
            self._await(_Awaiting.BODY if self.cycle.more_body else _Awaiting.NOTHING)

    def pause_writing(self) -> None:
        """The peer reads nothing."""
        super().pause_writing()
        self._await(_Awaiting.READING)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._awaiting is _Awaiting.READING:
            self._await(_Awaiting.NOTHING)

    def _await(self, what: _Awaiting) -> None:
        if what is self._awaiting:
            return
        if self._cut is not None:
            self._cut.cancel()
        self._awaiting, self._cut = what, None
        seconds = {
            _Awaiting.HEAD: self.bounds.head_seconds,
            _Awaiting.BODY: self.bounds.body_seconds,
            _Awaiting.READING: self.bounds.answer_seconds,
        }
        if what in seconds:
            self._cut = self.loop.call_later(seconds[what], self.transport.abort)


class HttpServer(uvicorn.Server):
    """Serves one application on sockets that are listening already.

    Args:
        app: The ASGI application.
        sockets: See `listen`; closed at the end.
        stop: Set when it shall end.
        protocol: The connection's class, with its bounds.
        tls: Serve HTTPS; a client's certificate, where the context asks for one, stands in the scope's state.
        lifespan: Whether the application wants to hear of start and end.
        on_ready: Called once it serves.
    """

    def __init__(
        self,
        app: App,
        sockets: list[socket.socket],
        stop: asyncio.Event,
        protocol: type[BoundedProtocol] = BoundedProtocol,
        *,
        tls: ssl.SSLContext | None = None,
        lifespan: bool = False,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self._sockets = sockets
        self._stop = stop
        self._tls = tls
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                traced(app),
                http=protocol,
                ws="none",
                lifespan="on" if lifespan else "off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,  # the peer's address may be a rule's key: nobody may claim another's
                timeout_graceful_shutdown=protocol.bounds.drain_seconds,
            )
        )

    async def run_until_stopped(self) -> None:
        """Serve until `stop` is set, then finish what has begun."""
        await self.serve(self._sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; uvicorn has no bound on a handshake but asyncio's minute."""
        if self._tls is None:
            await super().startup(sockets)
            return
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol, sock=each, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_SECONDS, backlog=2048
            )
            for each in sockets or ()
        ]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def let_go(self) -> None:
        """Have every connection end once it has been answered, so that its peer must say anew who it is."""
        for connection in [*self.server_state.connections]:
            connection.shutdown()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to the program."""
        yield

    async def main_loop(self) -> None:
        """Wait without uvicorn's ten looks a second, which only keep its `Date` header."""
        if self._on_ready:
            self._on_ready()
        await self._stop.wait()


def traced(app: App) -> App:
    """The application, with the caller's trace in its log lines and in the calls that it makes itself."""

    async def within(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        header = next((value for name, value in scope["headers"] if name == HEADER.encode()), b"")
        with tracing(header.decode("latin-1")):
            return await app(scope, receive, send)

    return within
