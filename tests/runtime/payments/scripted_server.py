"""A real HTTP server on loopback that answers byte for byte what a test tells it to, however wrong."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Reply:
    """What to send. `cut` sends only so many bytes, then resets; `hang` sends nothing and keeps the connection open."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json"
    cut: int | None = None
    hang: bool = False
    drip: bool = False

    def encode(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Length": str(len(body))} | self.headers
        if self.content_type is not None:
            headers["Content-Type"] = self.content_type
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


Script = Callable[[Received], Reply]


class ScriptedServer:
    """Answers the n-th request with the n-th reply, the last one for ever; or with whatever a function returns."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.script: Script = lambda request: Reply(500, {"error": "no script"})
        self.url = ""

    def replies(self, *replies: Reply) -> None:
        self.script = lambda request: replies[min(len(self.received), len(replies)) - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await _receive(reader):
                self.received.append(request)
                if not await self._answer(self.script(request), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client or the test has ended
        finally:
            writer.close()

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send it; False when the connection ends here."""
        data = reply.encode()
        if reply.cut is not None:
            writer.write(data[: reply.cut])
            await writer.drain()
            # Linger 0: close with a reset, not in good order.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if reply.drip:
            for byte in data:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.05)  # a piece in every read time-out, for longer than the whole may take
            return True
        if not reply.hang:
            writer.write(data)
            await writer.drain()
            return True
        await reader.read()  # until the client gives up
        return False


async def _receive(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body)


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    script = ScriptedServer()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
