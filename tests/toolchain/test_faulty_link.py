"""Each fault really happens, and the line is whole again afterwards, even when the test inside fails."""

import contextlib
import socket
import threading

import pytest

from tests.toolchain.faulty_link import FaultyLink


class EchoServer:
    """Answers each line with itself in capitals, and remembers what it was asked."""

    def __init__(self):
        self.heard: list[bytes] = []
        self.arrived = threading.Semaphore(0)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._socket.accept()[0],), daemon=True).start()

    def _answer(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rwb", buffering=0) as lines:
            for line in lines:
                self.heard.append(line)
                self.arrived.release()
                lines.write(line.upper())

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread, which would hold the port
        self._socket.close()


@pytest.fixture
def server():
    echo = EchoServer()
    yield echo
    echo.close()


@pytest.fixture
def link(server):
    with FaultyLink("127.0.0.1", server.port) as faulty:
        yield faulty


@pytest.fixture
def client(link):
    with contextlib.closing(Client(link)) as connected:
        yield connected


class Client:
    def __init__(self, link):
        self._socket = socket.create_connection(("127.0.0.1", link.port), timeout=10)

    def send(self, text: bytes):
        self._socket.sendall(text + b"\n")

    def answer(self) -> bytes:
        return self._socket.recv(1000)

    def ask(self, text: bytes) -> bytes:
        self.send(text)
        return self.answer()

    def hears_nothing(self) -> bool:
        """Nothing is there to read at this moment."""
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(1) and False
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(10)

    def close(self):
        self._socket.close()


def test_a_healthy_link_passes_bytes_both_ways_and_counts_them(link, client):
    assert client.ask(b"hello") == b"HELLO\n"
    assert (link.traffic.connections, link.traffic.to_server_bytes, link.traffic.to_client_bytes) == (1, 6, 6)


def test_a_cut_resets_open_connections_refuses_new_ones_and_heals(server, link, client):
    client.ask(b"before")
    with link.cut():
        with pytest.raises(ConnectionResetError):
            client.answer()
        with pytest.raises(ConnectionRefusedError):
            Client(link)
    with contextlib.closing(Client(link)) as again:
        assert again.ask(b"after") == b"AFTER\n"
    assert server.heard == [b"before\n", b"after\n"]


def test_the_port_stays_the_links_own_while_it_is_cut(link):
    with link.cut(), socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", link.port))


def test_a_stall_holds_bytes_back_and_loses_none(server, link, client):
    with link.stalled():
        client.send(b"one")
        client.send(b"two")
        assert not server.arrived.acquire(timeout=0.2)
        assert client.hears_nothing()
    assert server.arrived.acquire(timeout=10)
    assert server.arrived.acquire(timeout=10)
    assert server.heard == [b"one\n", b"two\n"]


def test_lost_answers_leave_the_request_done_and_the_client_without_news(server, link, client):
    with link.answers_lost() as lost:
        client.send(b"pay")
        assert lost.wait(timeout=10)
        assert client.hears_nothing()
    with pytest.raises(ConnectionResetError):
        client.answer()
    with contextlib.closing(Client(link)) as again:
        assert again.ask(b"was it paid?") == b"WAS IT PAID?\n"
    assert server.heard == [b"pay\n", b"was it paid?\n"]
    assert link.traffic.swallowed_bytes == len(b"PAY\n")


def test_a_delay_holds_each_chunk_for_its_time(link, client):
    with link.delayed(30):
        client.send(b"slow")
        client._socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.answer()
    with contextlib.closing(Client(link)) as again:
        assert again.ask(b"quick") == b"QUICK\n"


@pytest.mark.parametrize("fault", ["cut", "stalled", "answers_lost"])
def test_a_fault_ends_even_when_the_test_inside_fails(link, fault):
    with pytest.raises(ZeroDivisionError), getattr(link, fault)():
        raise ZeroDivisionError
    with contextlib.closing(Client(link)) as again:
        assert again.ask(b"alive") == b"ALIVE\n"


def test_a_server_that_is_away_looks_to_the_client_like_a_reset(server, link):
    server.close()
    # The reset may come so soon that it is the connecting that meets it.
    with pytest.raises(ConnectionResetError), contextlib.closing(Client(link)) as client:
        client.answer()


def test_leaving_the_link_ends_its_thread_and_frees_its_port(server):
    with FaultyLink("127.0.0.1", server.port) as link, contextlib.closing(Client(link)) as client:
        client.ask(b"x")
        assert any(t.name == f"link-to-{server.port}" for t in threading.enumerate())
    with pytest.raises(ConnectionRefusedError):
        Client(link)
    assert not any(t.name == f"link-to-{server.port}" for t in threading.enumerate())
