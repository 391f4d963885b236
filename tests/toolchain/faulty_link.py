"""A TCP line that a test can cut, stall, slow down, or rob of its answers, and that always heals.

It stands between a client and its server on loopback and needs no root: the client is given `link.port` instead of the
server's port. Bytes pass unread, so TLS goes through as it is. Each fault is a context manager:

    with FaultyLink("127.0.0.1", sandbox.port) as link:
        client = Client(link.url())
        with link.answers_lost():
            ...  # requests reach the server, answers never come back

The faults are those that decide whether money moves twice: a refused connection (certainly not done), a silence, a slow
answer, and the answer that is lost after the server has acted.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

CHUNK_BYTES = 65536


@dataclass
class Traffic:
    """What has passed since the link began; read it to prove that a fault really happened."""

    connections: int = 0
    to_server_bytes: int = 0
    to_client_bytes: int = 0
    swallowed_bytes: int = 0
    """Answers that the server sent and the client never got."""


@dataclass(eq=False)
class _Connection:
    writers: list[asyncio.StreamWriter]

    def reset(self) -> None:
        """End both halves with RST, as a dying host would, never with an orderly FIN."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def _bound_socket(host: str, port: int) -> socket.socket:
    """A socket that shares its port with the link's other one, so that nobody takes the port while the link is cut."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    return sock


@dataclass
class FaultyLink:
    """A forwarder from `port` (chosen by the system, on 127.0.0.1) to `host:target_port`."""

    host: str
    target_port: int
    listen_host: str = "127.0.0.1"
    traffic: Traffic = field(default_factory=Traffic)
    port: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._connections: set[_Connection] = set()
        self._loses_answers = False
        self._lost = threading.Event()
        self._delay_seconds = 0.0
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link-to-{self.target_port}", daemon=True)
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_exc: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, scheme: str = "http") -> str:
        """Base URL of the link's near end."""
        return f"{scheme}://{self.listen_host}:{self.port}"

    # --- the faults

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Reset every connection and refuse new ones, as when the server's process is gone."""
        self._call(self._stop_listening())
        try:
            yield
        finally:
            self._call(self._listen())

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Silence: connections open, but bytes wait in the link until the fault ends and then go on in order."""

        def stall(on: bool) -> None:
            (self._flowing.clear if on else self._flowing.set)()

        with self._fault(stall):
            yield

    @contextlib.contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Hold every chunk, in each direction, for so many seconds."""
        with self._fault(lambda on: setattr(self, "_delay_seconds", seconds if on else 0.0)):
            yield

    @contextlib.contextmanager
    def answers_lost(self) -> Iterator[threading.Event]:
        """Requests arrive, answers vanish, and every connection is reset when the fault ends.

        Yields an event that is set once an answer has been lost: then the server has certainly acted.
        """
        self._lost = threading.Event()

        def lose(on: bool) -> None:
            self._loses_answers = on
            if not on:  # in one step with the fault's end, or whoever connects again in between is reset as well
                self._break_connections()

        with self._fault(lose):
            yield self._lost

    def reset(self) -> None:
        """Break the connections that are open now, once."""
        self._call(self._reset())

    # --- the machinery, all on the loop's thread

    @contextlib.contextmanager
    def _fault(self, switch: Callable[[bool], None]) -> Iterator[None]:
        async def turn(on: bool) -> None:
            switch(on)

        self._call(turn(True))
        try:
            yield
        finally:
            self._call(turn(False))

    def _call(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _start(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._port_holder = _bound_socket(self.listen_host, 0)
        self.port = self._port_holder.getsockname()[1]
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=_bound_socket(self.listen_host, self.port))

    async def _stop_listening(self) -> None:
        self._server.close()
        await self._reset()

    async def _stop(self) -> None:
        await self._stop_listening()
        self._port_holder.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset(self) -> None:
        self._break_connections()

    def _break_connections(self) -> None:
        for connection in self._connections:
            connection.reset()
        self._connections.clear()

    async def _accept(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        connection = _Connection([client])
        self.traffic.connections += 1
        self._connections.add(connection)
        try:
            server_reader, server = await asyncio.open_connection(self.host, self.target_port)
            connection.writers.append(server)
            if connection not in self._connections:  # cut while it was being opened
                return
            await asyncio.gather(
                self._pump(client_reader, server, to_server=True), self._pump(server_reader, client, to_server=False)
            )
        except (OSError, asyncio.CancelledError):
            pass  # either side went away: pass the news on to the other; or the link ends
        finally:
            connection.reset()
            self._connections.discard(connection)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._flowing.wait()
            if self._loses_answers and not to_server:
                self.traffic.swallowed_bytes += len(chunk)
                self._lost.set()
                continue
            if to_server:
                self.traffic.to_server_bytes += len(chunk)
            else:
                self.traffic.to_client_bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
