"""The server's own sockets."""

import asyncio
import socket
import threading
from contextlib import suppress

import httpx

from runtime.sandbox.server import Options, SandboxServer
from runtime.sandbox.wire import FaultableProtocol
from runtime.service.http import Bounds


def test_answers_do_not_wait_for_acknowledgements(tmp_path):
    """Head and body are two writes: with Nagle's algorithm each answer on a kept connection takes 40 ms."""
    ready = threading.Event()
    server = SandboxServer(Options(tmp_path / "ledger.db"), asyncio.Event(), lambda _server: ready.set())
    thread = threading.Thread(target=lambda: asyncio.run(server.run_until_stopped()))
    thread.start()
    try:
        assert ready.wait(30)
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            client.get("/health")
            (connection,) = server.http.server_state.connections
            held = connection.transport.get_extra_info("socket")
            assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    finally:
        server.stop_soon()
        thread.join()


class Impatient(FaultableProtocol):
    bounds = Bounds(head_seconds=1, body_seconds=1, connections=100)


def test_half_open_requests_are_bounded_in_number_and_time_and_keep_nobody_out(tmp_path):
    ready = threading.Event()
    options = Options(tmp_path / "ledger.db", rate_limits=False, protocol=Impatient)
    server = SandboxServer(options, asyncio.Event(), lambda _server: ready.set())
    thread = threading.Thread(target=lambda: asyncio.run(server.run_until_stopped()))
    thread.start()
    try:
        assert ready.wait(30)
        address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        held = [socket.create_connection(address) for _ in range(150)]
        for connection in held:
            connection.send(b"POST /escrow/create HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        for connection in held:  # each is closed: at once, or with the bound
            with suppress(ConnectionError):
                assert connection.recv(1) == b""
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            assert client.get("/health").status_code == 200
    finally:
        server.stop_soon()
        thread.join()


def test_an_act_whose_body_never_came_whole_is_not_done(sandbox, as_agent):
    payer = as_agent("payer", "5.00")
    body = {"payee_id": "w", "amount": 1, "terms_hash": "t"}
    escrow_id = payer.post("/api/escrow", json=body).json()["escrow_id"]
    head = f"POST /api/escrow/{escrow_id}/release HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
    head += f"Authorization: {payer.headers['authorization']}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head.encode() + b"{")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        answer = connection.recv(1000)
    assert b" 200 " not in answer
    assert not [e for e in sandbox.statement()["entries"] if e["role"] == "paid"]
