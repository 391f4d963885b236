"""What proxies get wrong, by number: each was seen in one. The upstream counts what reached it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ports import free_port
from tests.runtime.mcp_proxy.sidecar import BOTH, KEY, MODERN, raw, said
from tests.runtime.mcp_proxy.upstream import TOOLS, honest

CREATE = {"amount_usd": 0.5, "counterparty_agent_id": "ag_payee", "description": "work"}
RESULT = {"content": [{"type": "text", "text": "done"}]}


def result_event(request, result=RESULT):
    document = {"jsonrpc": "2.0", "id": request.message["id"], "result": result}
    return b"event: message\ndata: " + json.dumps(document).encode() + b"\n\n"


def reset(peer, request):
    return peer.reset()


def close(peer, request):
    return False


def half(peer, request):
    peer.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"jsonrpc"')
    return False


def half_a_stream(peer, request):
    peer.stream(b": hello\n\n", b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n')
    return False


def stream_without_a_result(peer, request):
    peer.stream(b": hello\n\n")
    return peer.end()


def status(number, body=b"{}", kind="application/json", **headers):
    def play(peer, request):
        return peer.answer(number, body, kind, **headers)

    return play


def no_answer(peer, request):
    return not peer.gone()


def not_http(peer, request):
    peer.send(b"SSH-2.0-OpenSSH\r\n\r\n")
    return False


def too_large(peer, request):
    return peer.answer(200, b"[" + b"0," * (3 * 1024 * 1024) + b"0]")


def another_id(peer, request):
    return peer.answer(200, json.dumps({"jsonrpc": "2.0", "id": 4711, "result": RESULT}).encode())


LOST = {
    "reset": reset, "closed": close, "half an answer": half, "half a stream": half_a_stream,
    "a stream without a result": stream_without_a_result, "500": status(500), "502": status(502), "503": status(503),
    "no HTTP": not_http, "too large": too_large, "another's answer": another_id, "empty": status(200, b""),
    "HTML": status(200, b"<html>", "text/html"), "202": status(202), "303": status(303, location="/else"),
}  # fmt: skip
NOT_DONE = {"307": status(307, location="/else"), "308": status(308), "429": status(429, retry_after="7")}


def only_calls(play):
    """The fault for tools/call, an honest server for everything else."""
    return lambda peer, request: (play if request.tool else honest)(peer, request)


# --- 1


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_1_a_money_call_whose_answer_is_lost_arrives_once_and_is_told_as_unknown(agent, upstream, sidecar, fault, era):
    upstream.play = only_calls(LOST[fault])
    params = {"name": "create_escrow", "arguments": CREATE | {"description": f"{fault} {era}"}}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "create_escrow"}
    error = agent.ask("tools/call", params, **(headers if era == "modern" else {}))["error"]
    assert (error["data"]["source"], error["data"]["executed"]) == ("sidecar", "unknown")
    assert "do not simply repeat" in error["message"]
    assert upstream.calls("create_escrow") == 1
    upstream.play = honest
    assert agent.call("get_escrow", escrow_id="esc_1")["result"] == RESULT


@pytest.mark.parametrize("fault", NOT_DONE)
def test_1_a_refusal_before_anything_is_done_arrives_once_and_says_so(agent, upstream, fault):
    upstream.play = only_calls(NOT_DONE[fault])
    error = agent.call("create_escrow", **CREATE, referral_code=fault)["error"]
    assert error["data"]["executed"] == "no"
    assert upstream.calls("create_escrow") == 1


@pytest.mark.parametrize("tool", ["create_escrow", "mark_complete", "release_escrow", "dispute_escrow", "never_seen"])
def test_1_no_tool_but_the_safe_ones_is_sent_twice(agent, upstream, tool):
    upstream.play = only_calls(reset)
    assert agent.call(tool, amount_usd=1, description=tool)["error"]["data"]["executed"] == "unknown"
    assert upstream.calls(tool) == 1


def test_1_an_answer_that_does_not_come_in_time(playing, beside):
    upstream = playing(only_calls(no_answer))
    _, agent = beside(upstream, PF_MCP_CALL_SECONDS="1")
    error = agent.call("create_escrow", **CREATE)["error"]
    assert (error["data"]["executed"], error["data"]["reason"]) == ("unknown", "answer_lost")
    assert upstream.calls("create_escrow") == 1


@pytest.mark.parametrize("ask", ["get_escrow", "tools/list", "initialize", "ping"])
def test_1_what_is_safe_is_sent_again(agent, upstream, ask):
    asked = []

    def broken_twice(peer, request):
        asked.append(request)
        return peer.reset() if len(asked) < 3 else honest(peer, request)

    upstream.play = broken_twice
    params = {"cursor": ask} if ask == "tools/list" else {}
    answered = agent.call(ask, escrow_id="e") if ask == "get_escrow" else agent.ask(ask, params)
    assert "result" in answered
    assert len(asked) == 3


def test_1_a_call_that_could_not_be_sent_is_tried_again_and_told_as_not_carried_out(playing, beside):
    upstream = playing(honest)
    upstream.port = free_port()  # nobody listens there
    sidecar, agent = beside(upstream)
    error = agent.call("create_escrow", **CREATE)["error"]
    assert (error["data"]["executed"], error["data"]["reason"]) == ("no", "upstream_unreachable")
    assert sidecar.exchange(tool="create_escrow")["attempts"] == 3


# --- 2


def test_2_calls_are_not_cached_and_a_failed_tool_does_not_trip_the_breaker(agent, upstream, sidecar):
    failed = {"content": [{"type": "text", "text": '{"error": "not_found"}'}], "isError": True}
    upstream.play = lambda peer, request: peer.result(request, failed)
    for _ in range(12):
        assert agent.call("get_escrow", escrow_id="esc_1")["result"]["isError"] is True
    assert upstream.calls("get_escrow") == 12
    assert sidecar.metric('mcp_proxy_breaker_open{server="escrow"}') == 0


def test_2_an_open_breaker_answers_at_once_and_no_call_is_its_probe(playing, beside):
    upstream = playing(status(500))
    sidecar, agent = beside(upstream)
    for number in range(5):
        agent.call("create_escrow", **CREATE | {"description": f"work {number}"})
    arrived = len(upstream.received)
    error = agent.call("create_escrow", **CREATE)["error"]
    assert (error["data"]["executed"], error["data"]["reason"]) == ("no", "circuit_open")
    assert len(upstream.received) == arrived
    assert sidecar.metric('mcp_proxy_breaker_open{server="escrow"}') == 1


# --- 3


@pytest.mark.parametrize("fault", [reset, status(500), status(503), half, status(429), status(200, b"{}")])
def test_3_while_the_upstream_is_away_the_stale_list_is_served(playing, beside, fault):
    upstream = playing(honest)
    _, agent = beside(upstream, PF_MCP_CACHE_SECONDS="0")
    assert agent.tools() == [tool["name"] for tool in TOOLS]
    upstream.play = fault
    assert agent.tools() == [tool["name"] for tool in TOOLS]


@pytest.mark.parametrize("fault", [reset, status(500), status(503), half, status(429), status(200, b"{}")])
def test_3_without_one_it_is_an_error_and_never_an_empty_list(playing, beside, fault):
    upstream = playing(fault)
    _, agent = beside(upstream)
    assert agent.ask("tools/list")["error"]["data"]["executed"] == "no"
    upstream.play = honest
    assert agent.tools() == [tool["name"] for tool in TOOLS]  # the error was not kept


# --- 4


def test_4_events_arrive_one_by_one_and_as_they_were(agent, upstream, http):
    go_on = threading.Event()
    first = b'id: 7\nretry: 1500\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}\n\n'

    def play(peer, request):
        peer.stream(b": a comment\r\n\r\n", first[:20])
        peer.chunk(first[20:])
        assert go_on.wait(30)
        peer.chunk(result_event(request))
        return peer.end()

    upstream.play = play
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_escrow"}}
    with http.stream("POST", agent.url, json=message, headers=agent.headers) as answer:
        pieces = answer.iter_raw()
        received = b""
        while first not in received:
            received += next(pieces)
        go_on.set()
        received += b"".join(pieces)
    assert received.startswith(b": a comment\r\n\r\n" + first)
    assert json.loads(received.rpartition(b"data: ")[2])["result"] == RESULT


def test_4_a_stream_that_is_silent_for_longer_than_a_call_may_take_goes_on(playing, beside):
    def play(peer, request):
        if not request.tool:
            return honest(peer, request)
        peer.stream(b": hello\n\n")
        time.sleep(1.5)  # the bound is one second: this silence is what is tested
        peer.chunk(result_event(request))
        return peer.end()

    _, agent = beside(playing(play), PF_MCP_CALL_SECONDS="1")
    assert agent.call("create_escrow", **CREATE)["result"] == RESULT


# --- 5


def leaving(agent, sidecar, era):
    """An agent that asks for a create and leaves without an answer."""
    import socket

    params = {"name": "create_escrow", "arguments": CREATE | {"description": era}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nAccept: {BOTH}\r\nContent-Length: {len(body)}\r\n"
    if era == "modern":
        headers += f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\nMcp-Name: create_escrow\r\n"
    peer = socket.create_connection(("127.0.0.1", sidecar.port))
    peer.sendall(f"POST /escrow HTTP/1.1\r\n{headers}\r\n".encode() + body)
    return peer


def test_5_an_older_agent_that_leaves_does_not_cancel_its_call(agent, upstream, sidecar):
    left = threading.Event()

    def play(peer, request):
        assert left.wait(30)
        return honest(peer, request)

    upstream.play = play
    peer = leaving(agent, sidecar, "legacy")
    upstream.wait_for(1)
    peer.close()
    left.set()
    line = sidecar.exchange(tool="create_escrow", era="legacy", abandoned=True)
    assert (line["is_error"], line["attempts"]) == (False, 1)


def test_5_a_newer_agent_that_leaves_cancels_it_at_the_upstream(agent, upstream, sidecar):
    cancelled = threading.Event()

    def play(peer, request):
        if peer.gone():
            cancelled.set()
        return False

    upstream.play = play
    peer = leaving(agent, sidecar, "modern")
    upstream.wait_for(1)
    peer.close()
    assert cancelled.wait(30)
    line = sidecar.exchange(tool="create_escrow", era="modern", abandoned=True)
    assert (line["executed"], line["attempts"]) == ("unknown", 1)


# --- 6


def test_6_a_session_passes_and_its_404_too(agent, upstream):
    def play(peer, request):
        if request.headers.get("mcp-session-id") == "gone":
            return peer.answer(
                404, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}'
            )
        return peer.result(request, {}, mcp_session_id="session-1")

    upstream.play = play
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    assert agent.post(message).headers["mcp-session-id"] == "session-1"
    for method in ("tools/list", "tools/call"):
        params = {"name": "create_escrow", "arguments": CREATE} if method == "tools/call" else {}
        lost = agent.post({"jsonrpc": "2.0", "id": 2, "method": method, "params": params}, **{"mcp-session-id": "gone"})
        assert (lost.status_code, lost.json()["error"]["message"]) == (404, "Session not found")


def test_6_a_restart_of_the_sidecar_leaves_agents_working(playing, beside):
    sidecar, agent = beside(playing(honest))
    assert agent.ask("initialize")["result"] == {}
    sidecar.kill()
    sidecar.start()
    assert agent.call("get_escrow", escrow_id="esc_1")["result"] == RESULT


# --- 7


def test_7_slow_calls_do_not_delay_fast_ones(agent, upstream, http):
    go_on = threading.Event()

    def play(peer, request):
        if request.tool == "bet":
            assert go_on.wait(30)
        return honest(peer, request)

    upstream.play = play
    with ThreadPoolExecutor(8) as pool:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "bet"}}
        slow = [pool.submit(agent.post, message) for _ in range(8)]
        upstream.wait_for(8)
        assert agent.call("get_escrow", escrow_id="esc_1")["result"] == RESULT
        go_on.set()
        assert all(said(each.result())["result"] == RESULT for each in slow)


def test_7_one_more_than_may_be_under_way_is_told_so(playing, beside, http):
    go_on = threading.Event()

    def play(peer, request):
        if request.tool == "bet":
            assert go_on.wait(30)
        return honest(peer, request)

    upstream = playing(play)
    _, agent = beside(upstream)
    with ThreadPoolExecutor(64) as pool:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "bet"}}
        slow = [pool.submit(agent.post, message) for _ in range(64)]
        upstream.wait_for(64)
        error = agent.call("bet")["error"]
        go_on.set()
        assert (error["data"]["reason"], error["data"]["executed"]) == ("too_many_calls", "no")
        assert all(said(each.result())["result"] == RESULT for each in slow)


# --- 8


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil", "", "localhost:1:2"])
def test_8_another_host_is_refused(sidecar, upstream, host):
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    head = f"POST /escrow HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    answered = raw(sidecar.port, head.encode() + b"Connection: close\r\n\r\n" + body)
    assert answered.startswith(b"HTTP/1.1 403 ")
    assert upstream.received == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "localhost"])
def test_8_another_origin_is_refused_and_this_machines_is_not(agent, upstream, origin):
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert agent.post(message, origin=origin).status_code == 403
    assert upstream.received == []
    assert agent.post(message, origin="http://localhost:3000").status_code == 200


def test_8_a_body_beyond_four_mebibytes_is_refused(agent, upstream):
    text = "x" * (4 * 1024 * 1024)
    assert agent.post({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"text": text}}).status_code == 413
    assert upstream.received == []


# --- 9


def test_9_one_line_an_exchange_and_no_secret_in_it(agent, upstream, sidecar):
    upstream.play = lambda peer, request: peer.answer(
        200, json.dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": {"content": [], "isError": True,
                         "echo": request.message["params"]["arguments"]}}).encode())  # fmt: skip
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    arguments = CREATE | {"description": "line 9", "casino_api_key": "sk_agents-own"}
    params = {"name": "create_escrow", "arguments": arguments}
    headers = {"traceparent": trace, "authorization": "Bearer agents-own", "cookie": "agents=own"}
    answered = agent.ask("tools/call", params, **headers)
    line = sidecar.exchange(tool="create_escrow", is_error=True)
    expected = {
        "server": "escrow", "era": "legacy", "method": "tools/call", "id": agent.id, "status": 200, "is_error": True,
        "attempts": 1, "breaker": "closed",
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected
    assert line["time"]
    assert line["ms"] >= 0
    assert line["bytes_in"] > line["bytes_out"] > 0
    assert line["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert line["traceparent"] != trace
    [request] = upstream.received
    assert request.headers["traceparent"] == line["traceparent"]
    assert request.message["params"]["arguments"]["casino_api_key"] == KEY
    assert not {"authorization", "cookie"} & set(request.headers)
    assert answered["result"]["echo"]["casino_api_key"] == "[redacted]"
    assert KEY not in json.dumps([answered, sidecar.lines]) + sidecar.page("/metrics").text


def test_9_a_cached_list_says_so(playing, beside):
    upstream = playing(honest)
    sidecar, agent = beside(upstream)
    agent.tools()
    agent.tools()
    found = [sidecar.exchange(method="tools/list") for _ in range(2)]
    assert [(line["cache"], line["attempts"]) for line in found] == [("miss", 1), ("hit", 0)]
    assert len(upstream.received) == 1
