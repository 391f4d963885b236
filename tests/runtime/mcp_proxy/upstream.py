"""A real MCP server on loopback that answers byte for byte what a test tells it to, however wrong."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Received:
    """One request as it arrived; header names in lower case."""

    method: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body) if self.body else {}

    @property
    def tool(self) -> str:
        return self.message.get("params", {}).get("name", "")


Play = Callable[["Peer", Received], bool]
"""Answers one request; False when the connection ends here."""


@dataclass
class Peer:
    """One connection from the sidecar."""

    socket: socket.socket

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> bool:
        lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True

    def result(self, request: Received, result: dict[str, Any], **headers: str) -> bool:
        document = {"jsonrpc": "2.0", "id": request.message.get("id"), "result": result}
        return self.answer(200, json.dumps(document).encode(), **headers)

    def stream(self, *events: bytes) -> None:
        """The head of a stream, and its first events."""
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in events:
            self.chunk(event)

    def chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end(self) -> bool:
        self.send(b"0\r\n\r\n")
        return True

    def reset(self) -> bool:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def gone(self) -> bool:
        """Wait until the sidecar closes; nothing more may come."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


@dataclass
class Upstream:
    """The server: `play` answers, `received` is all that arrived, in order."""

    port: int
    play: Play
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/mcp"

    def calls(self, tool: str) -> int:
        """How often a tool's call has arrived."""
        return sum(request.tool == tool for request in self.received)

    def wait_for(self, number: int) -> Received:
        """The request of this number, from 1, once it is there."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= number, timeout=30)
        return self.received[number - 1]

    def _note(self, request: Received) -> None:
        with self.changed:
            self.received.append(request)
            self.changed.notify_all()


@contextmanager
def running_upstream(play: Play, tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    listening = socket.create_server(("127.0.0.1", 0))
    upstream = Upstream(listening.getsockname()[1], play, tls)
    peers: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            peers.append(peer)
            upstream.connections += 1
            threading.Thread(target=_serve, args=(upstream, peer, upstream.connections), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for peer in peers:
            peer.close()
        thread.join()


def _serve(upstream: Upstream, peer: socket.socket, number: int) -> None:
    stream = None
    try:
        if upstream.tls:
            peer = upstream.tls.wrap_socket(peer, server_side=True)
        stream = peer.makefile("rb")
        while request := _receive(stream, number):
            upstream._note(request)
            if not upstream.play(Peer(peer), request):
                break
    except (OSError, ValueError):
        pass  # the sidecar or the test has ended
    finally:
        if stream:
            stream.close()
        peer.close()


def _receive(stream: Any, number: int) -> Received | None:
    first = stream.readline().decode("latin-1")
    if not first:
        return None
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(first.split(" ")[0], headers, body, number)


TOOLS = [
    {"name": "create_escrow", "inputSchema": {
        "type": "object", "properties": {"casino_api_key": {"type": "string"}, "amount_usd": {"type": "number"}},
        "required": ["casino_api_key", "amount_usd"]}},
    {"name": "get_escrow", "inputSchema": {"type": "object", "properties": {"escrow_id": {"type": "string"}}}},
    {"name": "bet", "inputSchema": {"type": "object", "properties": {"casino_api_key": {"type": "string"}}}},
]  # fmt: skip


def honest(peer: Peer, request: Received) -> bool:
    """A server that works: three tools, and a result for each call."""
    method = request.message.get("method")
    if method == "tools/list":
        return peer.result(request, {"tools": TOOLS})
    if "id" not in request.message:
        return peer.answer(202)
    return peer.result(request, {"content": [{"type": "text", "text": "done"}]} if method == "tools/call" else {})
