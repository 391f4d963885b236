"""The server's bounds, on real sockets: a peer that keeps it waiting is cut off, one too many is refused."""

import asyncio
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.service.http import BoundedProtocol, Bounds, HttpServer
from runtime.service.sockets import EVERY_ADDRESS, listen
from runtime.trace import log_fields

pytestmark = pytest.mark.anyio
BODY_BYTES = 50_000_000


class Impatient(BoundedProtocol):
    bounds = Bounds(head_seconds=0.5, body_seconds=0.5, answer_seconds=0.5, connections=5, drain_seconds=1)


class Patient(BoundedProtocol):
    bounds = Bounds(head_seconds=600, body_seconds=600, answer_seconds=600, connections=5, drain_seconds=1)


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def app(scope, receive, send):
    """Reads the body, then answers with its length and trace; `/large` is answered at length."""
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    body = bytes(BODY_BYTES) if scope["path"] == "/large" else f"{length} {log_fields()['trace']}".encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(protocol, host="127.0.0.1"):
    (listening,) = listen(host, 0)
    stop, ready = asyncio.Event(), asyncio.Event()
    server = HttpServer(app, [listening], stop, protocol, on_ready=ready.set)
    port, running = listening.getsockname()[1], asyncio.create_task(server.run_until_stopped())
    await ready.wait()
    try:
        yield server, port
    finally:
        stop.set()
        await running


async def until(condition):
    while not condition():  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)


def connections(server):
    return len(server.server_state.connections)


HALF_OPEN = {
    "nothing": [b""],
    "half a head": [b"GET / HTTP/1.1\r\nHost: x\r\n"],
    "half a body": [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"],
    "no chunk": [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"],
    "a whole request, then half a head": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n"],
    "an answer that nobody reads": [b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"],
}


@pytest.mark.parametrize("case", HALF_OPEN)
async def test_a_half_open_request_is_cut_off(case):
    async with serving(Impatient) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        for piece in HALF_OPEN[case]:
            writer.write(piece)
            await writer.drain()
            if len(HALF_OPEN[case]) > 1 and piece is HALF_OPEN[case][0]:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await until(lambda: connections(server) or server.server_state.total_requests)
        await until(lambda: not connections(server))  # ends with the bound; without one never
        writer.close()


async def test_dripping_does_not_help():
    """Each byte comes in time; the head never does."""
    async with serving(Impatient) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ended = asyncio.create_task(reader.read())
        dripped = 0
        while not ended.done():
            writer.write(b"G" if not dripped else b"x")
            dripped += 1
            await asyncio.wait([ended], timeout=0.05)
        assert dripped > 1
        writer.close()


async def test_a_request_that_comes_in_pieces_is_answered():
    async with serving(Patient) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # on a connection that is kept
            for piece in (b"POST / HT", b"TP/1.1\r\nHost: x\r\nContent-Le", b"ngth: 4\r\n\r\n1", b"234"):
                writer.write(piece)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert (await reader.readuntil(b" ")) == b"4 "
            await reader.readexactly(32)
        writer.close()


async def test_one_connection_too_many_is_closed_at_once_and_the_others_live():
    async with serving(Patient) as (server, port):
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        await until(lambda: connections(server) == 5)
        reader, refused = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        refused.close()
        reader, writer = kept[0]
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        for _, writer in kept:
            writer.close()


async def test_the_callers_trace_reaches_the_application():
    async with serving(Patient) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        trace = "0af7651916cd43dd8448eb211c80319c"
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nTraceparent: 00-{trace}-b7ad6b7169203331-01\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(34) == f"0 {trace}".encode()
        writer.close()


async def test_every_address_is_that_of_both_families():
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6; run on one that has to un-skip")
    async with serving(Patient, EVERY_ADDRESS) as (_, port):
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_an_end_does_not_wait_for_a_half_open_request():
    async with serving(Patient) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HT")
        await until(lambda: connections(server))
    writer.close()


def test_no_server_names_the_ipv4_wildcard():
    """It would leave a pod on an IPv6-only cluster without probes."""
    wildcard = ".".join("0000")
    files = [file for room in ("runtime", "components/manifests") for file in Path(room).rglob("*.py")]
    assert [str(file) for file in files if f'"{wildcard}"' in file.read_text()] == []
