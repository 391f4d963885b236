"""Raw sockets: what a well-behaved client cannot send, and what no upstream must ever get."""

import asyncio
import contextlib
import json
import re
import socket
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.http1 import written
from runtime.http1.connection import Broken, Connection
from runtime.mcp_proxy import message
from runtime.mcp_proxy.events import EventCutter
from runtime.mcp_proxy.http_server import Answer, Bounds, HttpServer, Request
from tests.runtime.mcp_proxy.sidecar import BOTH, MODERN, raw
from tests.runtime.mcp_proxy.upstream import honest

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
HEAD = f"POST /escrow HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: {BOTH}\r\n".encode()
CLOSE = b"Connection: close\r\n"


def sized(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}\r\n".encode()


def chunked(*chunks: bytes) -> bytes:
    return b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"


REST = sized(PING) + CLOSE + b"\r\n" + PING
SMUGGLING = {
    "length and chunks": HEAD + sized(PING) + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(PING),
    "two lengths": HEAD + sized(PING) + b"Content-Length: 5\r\n\r\n" + PING,
    "a length with a sign": HEAD + b"Content-Length: +40\r\n\r\n" + PING,
    "a length in a list": HEAD + b"Content-Length: 40, 41\r\n\r\n" + PING,
    "an unknown encoding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(PING),
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(PING),
    "a chunk size with a sign": HEAD + b"Transfer-Encoding: chunked\r\n\r\n+28\r\n" + PING + b"\r\n0\r\n\r\n",
    "a chunk size of many digits": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" + b"0" * 30 + b"28\r\n" + PING,
    "a chunk that is longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + PING + b"\r\n0\r\n\r\n",
    "a blank before the colon": HEAD + b"Content-Length : 40\r\n\r\n" + PING,
    "a NUL in a header": HEAD + b"X-A: a\x00b\r\n" + sized(PING) + b"\r\n" + PING,
    "a lone carriage return": HEAD + b"X-A: a\rContent-Length: 0\r\n" + sized(PING) + b"\r\n" + PING,
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a huge header": HEAD + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "no host": HEAD.replace(b"Host: localhost\r\n", b"") + sized(PING) + b"\r\n" + PING,
    "two hosts": HEAD + b"Host: localhost\r\n" + REST,
    "an address for a path": HEAD.replace(b"/escrow", b"http://evil.example/escrow") + REST,
    "a path that climbs": HEAD.replace(b"/escrow", b"/faucet/../escrow") + REST,
    "a query": HEAD.replace(b"/escrow", b"/escrow?key=1") + REST,
    "HTTP/1.0 without a host": b"POST /escrow HTTP/1.0\r\nContent-Type: application/json\r\n" + REST,
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLING)
def test_a_request_that_two_readers_could_cut_differently_is_refused(sidecar, upstream, name):
    answered = raw(sidecar.port, SMUGGLING[name])
    assert answered.split(b" ", 2)[1][:1] in (b"4", b"5")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert upstream.received == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD", "CONNECT", "TRACE"])
def test_other_methods_are_not_allowed_without_a_session(sidecar, upstream, method):
    assert b"HTTP/1.1 405 " in raw(sidecar.port, HEAD.replace(b"POST", method.encode()) + CLOSE + b"\r\n")
    assert upstream.received == []


def test_chunks_are_joined_and_sent_on_with_a_length(sidecar, upstream):
    body = HEAD + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"\r\n" + chunked(PING[:7], PING[7:])
    assert b"HTTP/1.1 200 " in raw(sidecar.port, body)
    [request] = upstream.received
    assert request.message == json.loads(PING)
    assert (request.headers["content-length"], "transfer-encoding" in request.headers) == (str(len(PING)), False)


def test_requests_that_come_at_once_are_answered_in_order(sidecar, upstream):
    def ping(number):
        return json.dumps({"jsonrpc": "2.0", "id": number, "method": "ping"}).encode()

    requests = [HEAD + sized(ping(n)) + (CLOSE if n == 4 else b"") + b"\r\n" + ping(n) for n in range(1, 5)]
    answered = raw(sidecar.port, b"".join(requests))
    assert re.findall(rb'"id": (\d)', answered) == [b"1", b"2", b"3", b"4"]


def test_an_older_client_gets_its_answer_and_the_end(sidecar, upstream):
    head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    answered = raw(sidecar.port, head + sized(PING) + b"\r\n" + PING)
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answered.lower()


def test_an_agent_that_closes_its_half_still_gets_its_answer(sidecar, upstream):
    assert b'"id": 1' in raw(sidecar.port, HEAD + sized(PING) + b"\r\n" + PING, half_close=True)


def test_a_client_that_waits_for_leave_gets_it(sidecar, upstream):
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=30) as peer:
        peer.sendall(HEAD + b"Expect: 100-continue\r\n" + sized(PING) + CLOSE + b"\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 100 ")
        peer.sendall(PING)
        answered = b""
        while piece := peer.recv(4096):
            answered += piece
    assert answered.startswith(b"HTTP/1.1 200 ")


REFUSED = {
    "another version": (505, HEAD.replace(b"HTTP/1.1", b"HTTP/2.0") + REST),
    "another encoding": (501, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(PING)),
    "a large body": (413, HEAD + b"Content-Length: 99999999\r\n\r\n"),
    "a header without end": (431, HEAD + b"X-A: " + b"a" * 30_000),
    "many headers": (431, HEAD + b"X-A: a\r\n" * 3_000 + b"\r\n"),
    "a folded header": (400, HEAD + b"Content-Length: 0\r\n X-A: folded\r\n\r\n"),
    "lines that end otherwise": (400, HEAD.replace(b"\r\n", b"\n") + b"\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_wrong_and_ends_the_connection(sidecar, upstream, name):
    status, data = REFUSED[name]
    assert f"HTTP/1.1 {status} " in raw(sidecar.port, data).decode()
    assert upstream.received == []


def test_what_comes_before_a_wrong_request_is_answered_first(sidecar, upstream):
    answered = raw(sidecar.port, HEAD + sized(PING) + b"\r\n" + PING + HEAD + b"Content-Length: x\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+) ", answered) == [b"200", b"400"]
    assert len(upstream.received) == 1


def test_trailers_are_dropped(sidecar, upstream):
    body = chunked(PING).replace(b"0\r\n\r\n", b"0\r\nMcp-Method: tools/call\r\n\r\n")
    assert b"HTTP/1.1 200 " in raw(sidecar.port, HEAD + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"\r\n" + body)
    assert "mcp-method" not in upstream.received[0].headers


RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'
KIND = b"Content-Type: application/json\r\n"
ANSWERS = {
    "a length": (b"HTTP/1.1 200 OK\r\n" + KIND + sized(RESULT) + b"\r\n" + RESULT, True),
    "chunks": (b"HTTP/1.1 200 OK\r\n" + KIND + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(RESULT), True),
    "leave to go on, twice": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n" + KIND
                             + sized(RESULT) + b"\r\n" + RESULT, True),
    "the connection's end": (b"HTTP/1.1 200 OK\r\n" + KIND + b"\r\n" + RESULT, True),
    "the end too early": (b"HTTP/1.1 200 OK\r\n" + KIND + b"Content-Length: 99\r\n\r\n" + RESULT, False),
    "chunks without an end": (b"HTTP/1.1 200 OK\r\n" + KIND + b"Transfer-Encoding: chunked\r\n\r\n"
                              + chunked(RESULT)[:-5], False),
    "a length and chunks": (b"HTTP/1.1 200 OK\r\n" + KIND + sized(RESULT) + b"Transfer-Encoding: chunked\r\n\r\n"
                            + chunked(RESULT), False),
    "another encoding": (b"HTTP/1.1 200 OK\r\n" + KIND + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
                         + chunked(RESULT), False),
    "another protocol": (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", False),
    "a huge head": (b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 40_000 + b"\r\n" + KIND + sized(RESULT) + b"\r\n" + RESULT,
                    False),
    "a head without end": (b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 400_000, False),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", False),
    "nothing": (b"", False),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_counts_only_when_it_is_whole(playing, beside, name):
    data, counts = ANSWERS[name]

    def play(peer, request):
        peer.send(data)
        return False

    upstream = playing(play)
    _, agent = beside(upstream)
    answer = agent.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "bet"}}).json()
    assert len(upstream.received) == 1
    assert answer["result"] == {} if counts else answer["error"]["data"]["executed"] == "unknown"


def test_a_connection_on_which_more_was_said_than_the_answer_is_not_used_again(playing, beside):
    def play(peer, request):
        document = {"jsonrpc": "2.0", "id": request.message["id"], "result": {}}
        body = json.dumps(document).encode()
        head = b"HTTP/1.1 200 OK\r\n" + KIND + sized(body) + b"\r\n"
        peer.send(head + body + head + RESULT)
        return True

    upstream = playing(play)
    _, agent = beside(upstream)
    for _ in range(3):
        assert agent.ask("ping")["result"] == {}
    assert [request.connection for request in upstream.received] == [1, 2, 3]


def test_a_connection_is_used_again_after_a_whole_answer(playing, beside):
    upstream = playing(honest)
    _, agent = beside(upstream)
    for _ in range(3):
        agent.ask("ping")
    assert upstream.connections == 1


def test_a_head_that_comes_in_pieces_is_as_long_as_its_bytes():
    many = b"".join(b"X-A: " + b"a" * 1000 + b"\r\n" for _ in range(20))

    async def read(*pieces: bytes) -> bytes:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        _, connection = await asyncio.get_running_loop().create_connection(Connection, *address)
        connection.write(b"POST", b"/", [(b"host", b"localhost")])
        try:
            for piece in pieces:
                connection.data_received(piece)
            await connection.head()
            return await connection.piece()
        finally:
            connection.close()
            server.close()

    rest = sized(RESULT) + b"\r\n" + RESULT
    assert asyncio.run(read(b"HTTP/1.1 200 OK\r\n" + many, rest)) == RESULT
    with pytest.raises(Broken, match="more than 32768 bytes"):
        asyncio.run(read(b"HTTP/1.1 200 OK\r\n" + many, many, rest))


def test_a_header_that_an_upstream_ends_early_cannot_add_one():
    with pytest.raises(ValueError, match="a line break in the header x"):
        written.answer_head(200, [(b"x", b"a\r\nset-cookie: b")])


def test_a_client_that_waits_behind_another_request_of_its_own_gets_leave_as_well(sidecar, upstream):
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=30) as peer:
        first = HEAD + sized(PING) + b"\r\n" + PING
        peer.sendall(first + HEAD + b"Expect: 100-continue\r\n" + sized(PING) + CLOSE + b"\r\n")
        answered = b""
        while b"HTTP/1.1 100 " not in answered:
            piece = peer.recv(4096)
            assert piece, "it was cut off"
            answered += piece
        peer.sendall(PING)
        while piece := peer.recv(4096):
            answered += piece
    assert re.findall(rb"HTTP/1.1 (\d+) ", answered) == [b"200", b"100", b"200"]


NOT_MESSAGES = {
    "a batch": b"[" + PING + b"]",
    "a key twice": b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
    "a key twice, deep": b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":{"amount_usd":1,"amount_usd":900}}}',
    "a key twice, in another case": b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"amount_usd":1,"Amount_USD":9}}',
    "a key twice, spelt differently": b'{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"x"}',
    "NaN": b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"amount_usd":NaN}}',
    "a number without end": b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"amount_usd":1e999}}',
    "digits without end": b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":' + b"9" * 5000 + b"}}",
    "too deep": b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b"[" * 100_000,
    "no UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
    "a mark before it": b"\xef\xbb\xbf" + PING,
    "two documents": PING + PING,
    "an id that is true": b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    "an id that is null": b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    "an id that is a fraction": b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
    "another version": b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    "a method that is none": b'{"jsonrpc":"2.0","id":1,"method":["ping"]}',
    "a request and an answer": b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
    "parameters in a list": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    "a call of nothing": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{}}}',
    "a call of a list": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["create_escrow"]}}',
    "arguments in a list": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bet","arguments":[]}}',
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_MESSAGES)
def test_what_is_no_message_is_refused_and_goes_nowhere(sidecar, upstream, http, name):
    headers = {"accept": BOTH, "content-type": "application/json"}
    answer = http.post(f"{sidecar.url}/escrow", content=NOT_MESSAGES[name], headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32700, -32600, -32602)
    assert upstream.received == []


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (406, {"accept": "application/json"}),
        (406, {"accept": "text/event-stream"}),
        (415, {"content-type": "text/plain"}),
        (415, {"content-encoding": "gzip"}),
        (400, {"mcp-method": "tools/list"}),
        (400, {"mcp-protocol-version": MODERN}),
        (400, {"mcp-protocol-version": MODERN, "mcp-method": "tools/call"}),
        (400, {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "get_escrow"}),
        (400, {"mcp-name": "=?base64?****?="}),
    ],
)
def test_headers_that_say_something_else_than_the_body_are_refused(agent, upstream, status, headers):
    params = {"name": "create_escrow", "arguments": {}}
    document = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    assert agent.post(document, **headers).status_code == status
    assert upstream.received == []


WRAPPED = "=?base64?Y3JlYXRlX2VzY3Jvdw==?="


def test_a_name_may_be_wrapped_and_parameters_in_headers_pass(agent, upstream):
    headers = {
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "=?base64?Y3JlYXRlX2VzY3Jvdw==?=",
    }
    params = {"name": "create_escrow", "arguments": {}}
    agent.ask("tools/call", params, **headers, **{"mcp-param-region": "lhr", "x-other": "dropped"})
    [request] = upstream.received
    assert request.headers["mcp-name"] == headers["mcp-name"]
    assert (request.headers["mcp-param-region"], "x-other" in request.headers) == ("lhr", False)


# --- who takes their time: the same server in this process, with short bounds


def cut_off(data: bytes, **bounds: float) -> bytes:
    """What a peer that says this, and then nothing, is answered before it is cut off."""

    async def serve() -> bytes:
        given_up = asyncio.Event()

        async def answer(request: Request, answer: Answer) -> None:
            await answer.send(200, b"x" * 30_000_000 if request.target == "/large" else b"ok", "text/plain")
            given_up.set()

        server = HttpServer(answer, Bounds(**bounds))
        await server.start([listening := socket.create_server(("127.0.0.1", 0))])
        reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1000)
        writer.write(data)
        if b"/large" in data:  # read nothing until the server has given up
            await asyncio.wait_for(given_up.wait(), 30)
        try:
            return await asyncio.wait_for(reader.read(), 30)
        except ConnectionError:
            return b""
        finally:
            writer.close()
            server.refuse_new()
            await server.finish(1)
            assert not server.tasks

    return asyncio.run(serve())


HALF_HEADS = [b"", b"POST /escrow HTTP/1.1\r\nHost: l", b"POST / HTTP/1.1\r\nHost: localhost\r\nX-A: "]


@pytest.mark.parametrize("data", HALF_HEADS)
def test_a_head_that_does_not_end_is_cut_off(data):
    assert cut_off(data, head_seconds=0.2) == b""


def test_a_body_that_does_not_end_is_cut_off():
    assert cut_off(HEAD + b"Content-Length: 100\r\n\r\n{", body_seconds=0.2) == b""


def test_a_connection_that_idles_is_closed():
    assert b"200 OK" in cut_off(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", idle_seconds=0.2)


def test_a_second_request_that_does_not_end_is_cut_off():
    first = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert cut_off(first + b"GET / HT", head_seconds=1).count(b"200 OK") == 1


def test_a_peer_that_reads_nothing_is_cut_off():
    cut_off(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", answer_seconds=0.2)


# --- fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def read(body: bytes) -> message.Message | None:
    try:
        return message.read(body)
    except message.NotAMessage:
        return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_are_refused(body):
    read(body)


@given(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "x"]), JSON))
def test_any_document_is_passed_on_as_it_was_read_or_refused(document):
    found = read(json.dumps({"jsonrpc": "2.0"} | document).encode())
    if found is not None:
        assert json.loads(message.write(found.document)) == {"jsonrpc": "2.0"} | document
        assert (found.id is None) or type(found.id) in (str, int)


@given(JSON)
def test_what_is_written_has_no_byte_that_two_readers_could_take_for_two_things(value):
    found = read(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "a", "params": {"x": value}}).encode())
    if found is not None:  # None: a number that overflows, a key that comes twice
        written = message.write(found.document)
        assert written.isascii()
        assert json.loads(written)["params"]["x"] == value


@given(st.binary(max_size=400), st.data())
def test_events_are_cut_the_same_however_their_bytes_arrive(stream, data):
    stream = stream.translate(bytes(b"\r\n:d a"[byte % 6] for byte in range(256)))
    whole = EventCutter(1000)
    expected = list(whole.feed(stream))
    pieces = EventCutter(1000)
    found, rest = [], stream
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += pieces.feed(rest[:size])
        rest = rest[size:]
    assert b"".join(found) == stream[: len(b"".join(found))]
    assert [event.strip() for event in found if event.strip()] == [event.strip() for event in expected if event.strip()]


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            [HEAD, b"\r\n", sized(PING), PING, CLOSE, b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"5\r\n"]
        )
        | st.binary(max_size=20)
        | st.text(string.printable, max_size=10).map(str.encode),
        max_size=8,
    )
)
def test_no_bytes_crash_the_server_or_make_it_serve_what_was_not_whole(parts):
    served = []

    async def serve() -> None:
        async def answer(request: Request, answer: Answer) -> None:
            served.append(request)
            await answer.send(200, b"{}")

        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        server = HttpServer(answer)
        await server.start([listening := socket.create_server(("127.0.0.1", 0))])
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"".join(parts))
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.refuse_new()
        await server.finish(1)
        assert complaints == []
        assert (server.body_bytes, len(server.tasks)) == (0, 0)

    asyncio.run(serve())
    for request in served:
        lengths = request.all(b"content-length")
        assert not lengths or len(request.body) == int(lengths[0])
