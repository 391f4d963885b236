"""The HTTP client: what was sent is known, connections are bounded, and only the right server is spoken to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import pytest

from runtime.http1.client import HttpClient, NotSent, Silent, Untrusted
from tests.toolchain.certificates import Authority

OK = b"HTTP/1.1 200 Fine\r\nX-Kind: one\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Keeps what it received, connection by connection, and answers each request with `answer`."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.answer: bytes = OK
        self.holds = asyncio.Event()
        self.holds.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await self.holds.wait()
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, str]]:
    """A server and its `host:port`."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server, f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        server.holds.set()
        listening.close()


async def asked(client: HttpClient, path: str = "/", method: str = "GET", seconds: float = 30) -> bytes:
    with closing(await client.send(method, path, [], seconds=seconds)) as answer:
        return await answer.whole()


def test_a_connection_is_used_again_and_given_up_when_it_idled_too_long():
    async def run() -> tuple[int, int]:
        async with serving() as (server, address):
            client = HttpClient(f"http://{address}", None)
            assert [await asked(client) for _ in range(3)] == [b"ok"] * 3
            kept, hasty = server.connections, HttpClient(f"http://{address}", None, kept_seconds=0)
            await asked(hasty)
            await asked(hasty)
            return kept, server.connections - kept

    assert asyncio.run(run()) == (1, 2)


def test_an_answer_that_is_closed_twice_gives_its_connection_back_once():
    async def run() -> None:
        async with serving() as (server, address):
            client = HttpClient(f"http://{address}", None)
            answer = await client.send("GET", "/", [], seconds=30)
            await answer.whole()
            answer.close()
            answer.close()
            assert await asyncio.gather(asked(client), asked(client)) == [b"ok"] * 2
            assert server.connections == 2

    asyncio.run(run())


def test_without_kept_connections_each_request_says_that_it_is_the_last():
    async def run() -> list[bytes]:
        async with serving() as (server, address):
            client = HttpClient(f"http://{address}", None, kept=0)
            await asked(client)
            await asked(client)
            assert server.connections == 2
            return server.heads

    assert all(b"\r\nconnection: close\r\n" in head for head in asyncio.run(run()))


@pytest.mark.parametrize(("method", "said"), [("GET", False), ("DELETE", False), ("POST", True), ("PATCH", True)])
def test_an_act_without_a_body_says_so(method, said):
    async def run() -> bytes:
        async with serving() as (server, address):
            await asked(HttpClient(f"http://{address}", None), method=method)
            return server.heads[0]

    assert (b"content-length: 0\r\n" in asyncio.run(run())) is said


def test_no_more_connections_than_allowed_and_who_waits_too_long_has_sent_nothing():
    async def run() -> None:
        async with serving() as (server, address):
            server.holds.clear()
            client = HttpClient(f"http://{address}", None, most=2, wait_seconds=0.05)
            async with asyncio.TaskGroup() as under_way:
                first = [under_way.create_task(asked(client)) for _ in range(2)]
                while len(server.heads) < 2:  # noqa: ASYNC110 - the server is a test's
                    await asyncio.sleep(0)
                with pytest.raises(NotSent, match="no free connection"):
                    await asked(client)
                assert len(server.heads) == 2
                server.holds.set()
            assert [task.result() for task in first] == [b"ok"] * 2
            assert await asked(client) == b"ok"
            assert server.connections == 2

    asyncio.run(run())


@pytest.mark.parametrize("ends", ["cancelled", "silent", "broken"])
def test_a_request_that_comes_to_nothing_frees_its_place(ends):
    async def run() -> None:
        async with serving() as (server, address):
            client = HttpClient(f"http://{address}", None, most=1, wait_seconds=30)
            server.holds.clear()
            if ends == "broken":
                server.answer = b"nonsense\r\n\r\n"
                server.holds.set()
            asking = asyncio.create_task(asked(client, seconds=0.05 if ends == "silent" else 30))
            while not server.heads:  # noqa: ASYNC110
                await asyncio.sleep(0)
            if ends == "cancelled":
                asking.cancel()
            await asyncio.wait([asking])
            assert asking.cancelled() or asking.exception() is not None
            server.answer = OK
            server.holds.set()
            assert await asked(client) == b"ok"

    asyncio.run(run())


def test_an_answer_that_stops_coming_is_told_from_one_that_breaks_off():
    async def run() -> None:
        async with serving() as (server, address):
            server.answer = OK[:-1]
            client = HttpClient(f"http://{address}", None)
            with closing(await client.send("GET", "/", [], seconds=30)) as answer:
                pieces = answer.pieces(0.05)
                assert (answer.reason, answer.headers["x-kind"], await anext(pieces)) == ("Fine", "one", b"o")
                with pytest.raises(Silent, match=r"nothing more of the answer within 0\.05 s"):
                    await anext(pieces)

    asyncio.run(run())


NEVER_WRITTEN = {
    "a blank in the path": ("/a b", []),
    "a second request in the path": ("/ HTTP/1.1\r\n\r\nDELETE /", []),
    "a letter beyond ASCII": ("/ä", []),
    "a line break in a header": ("/", [(b"x", b"a\r\nb: c")]),
}


@pytest.mark.parametrize("case", NEVER_WRITTEN)
def test_what_would_be_another_request_is_not_written(case):
    async def run() -> list[bytes]:
        async with serving() as (server, address):
            client = HttpClient(f"http://{address}", None, most=1)
            path, headers = NEVER_WRITTEN[case]
            with pytest.raises(ValueError, match=r"line break|ascii|no path"):
                await client.send("GET", path, headers, seconds=30)
            await asked(client, "/whole")
            return server.heads

    assert [head.split(b"\r\n")[0] for head in asyncio.run(run())] == [b"GET /whole HTTP/1.1"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "trusted")


@pytest.fixture(scope="module")
def server_tls(authority):
    certificate = authority.issue("server", "server", hosts=["api.internal"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key_file)
    return context


def test_the_server_is_the_one_that_is_named_or_nothing_is_sent(authority, server_tls):
    trusting = ssl.create_default_context(cafile=authority.file)
    public = ssl.create_default_context()

    async def run() -> list[bytes]:
        async with serving(server_tls) as (server, address):
            for tls, name in ((trusting, None), (trusting, "other.internal"), (public, "api.internal")):
                with pytest.raises(Untrusted):
                    await asked(HttpClient(f"https://{address}", tls, name=name))
            assert server.heads == []
            assert await asked(HttpClient(f"https://{address}", trusting, name="api.internal")) == b"ok"
            return server.heads

    assert len(asyncio.run(run())) == 1


class _Loop(asyncio.SelectorEventLoop):
    """Knows where `api.internal` is: at two addresses, and nobody listens at the first; counts who asks."""

    port = 0
    asked = 0

    async def getaddrinfo(self, host, port, **kinds):
        self.asked += 1
        found = []
        for one in (("127.0.0.1", 1), ("127.0.0.1", self.port)):
            found += await super().getaddrinfo(*one, **kinds)
        return found


def on_two_addresses(test: Callable) -> int:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(test(runner.get_loop()))
        return runner.get_loop().asked


def test_the_next_address_is_tried_and_both_are_remembered_for_a_while():
    async def run(loop) -> None:
        async with serving() as (_, address):
            loop.port, loop.asked = int(address.rpartition(":")[2]), 0
            client = HttpClient("http://api.internal", None, kept=0)
            assert [await asked(client) for _ in range(3)] == [b"ok"] * 3

    assert on_two_addresses(run) == 1


def test_after_a_failure_the_name_is_asked_for_again():
    async def run(loop) -> None:
        loop.port, loop.asked = 1, 0
        client = HttpClient("http://api.internal", None)
        for _ in range(2):
            with pytest.raises(NotSent, match=r"no connection to api\.internal"):
                await asked(client)

    assert on_two_addresses(run) == 2
