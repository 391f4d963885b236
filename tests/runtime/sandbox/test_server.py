"""The server's own sockets."""

import socket
import threading

import httpx

from runtime.sandbox.server import Options, SandboxServer


def test_answers_do_not_wait_for_acknowledgements(tmp_path):
    """Head and body are two writes: with Nagle's algorithm each answer on a kept connection takes 40 ms."""
    ready = threading.Event()
    server = SandboxServer(Options(tmp_path / "ledger.db"), lambda _server: ready.set())
    thread = threading.Thread(target=server.run_until_stopped)
    thread.start()
    try:
        assert ready.wait(30)
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            client.get("/health")
            (connection,) = server.server_state.connections
            held = connection.transport.get_extra_info("socket")
            assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    finally:
        server.should_exit = True
        thread.join()
