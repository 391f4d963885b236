"""Its start, a rotation, its probes and its end."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.runtime.mcp_proxy.sidecar import KEY, MODERN, eventually, said
from tests.runtime.mcp_proxy.upstream import honest
from tests.toolchain.certificates import Authority

CREATE = {"amount_usd": 0.5, "counterparty_agent_id": "ag_payee", "description": "work"}
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "create_escrow", "arguments": CREATE}}


def key_of(request):
    return request.message["params"]["arguments"].get("casino_api_key")


@pytest.fixture
def waiting(playing):
    """An upstream that holds calls back until it is told to go on."""
    go_on = threading.Event()

    def play(peer, request):
        if request.tool:
            assert go_on.wait(30)
        return honest(peer, request)

    upstream = playing(play)
    upstream.go_on = go_on
    yield upstream
    go_on.set()


def test_a_rotated_key_is_used_without_a_restart_and_a_bad_one_never(playing, beside, tmp_path):
    file = tmp_path / "api-key"
    file.write_text("sk_first-key\n")
    upstream = playing(honest)
    sidecar, agent = beside(upstream, PF_API_KEY_FILE=str(file))
    agent.call("create_escrow", **CREATE)
    file.write_text("sk_second-key-is-longer")
    agent.call("create_escrow", **CREATE)
    file.write_text("no key\nat all")
    error = agent.call("create_escrow", **CREATE)["error"]
    assert (error["data"]["reason"], error["data"]["executed"]) == ("no_key", "no")
    assert sidecar.page("/readyz").status_code == 503
    assert agent.call("get_escrow", escrow_id="esc_1")["result"]  # needs no key
    file.write_text("sk_third-key")
    agent.call("create_escrow", **CREATE)
    keys = [key_of(request) for request in upstream.received if request.tool == "create_escrow"]
    assert keys == ["sk_first-key", "sk_second-key-is-longer", "sk_third-key"]
    assert sidecar.page("/readyz").text == "ok\n"


def test_the_key_is_added_only_to_tools_that_ask_for_it(agent, upstream):
    agent.tools()
    for tool in ("create_escrow", "get_escrow", "bet", "never_seen"):
        agent.call(tool, casino_api_key="sk_agents-own", description="keys")
        agent.call(tool, Casino_Api_Key="sk_agents-own", description="keys in another case")
    assert "sk_agents-own" not in str([request.body for request in upstream.received])
    sent = {request.tool: key_of(request) for request in upstream.received if request.tool}
    assert sent == {"create_escrow": KEY, "get_escrow": None, "bet": KEY, "never_seen": None}


def test_the_key_is_no_argument_to_the_agent(agent):
    listed = {tool["name"]: tool["inputSchema"] for tool in agent.ask("tools/list")["result"]["tools"]}
    assert "casino_api_key" not in json.dumps(listed)
    assert listed["create_escrow"]["required"] == ["amount_usd"]


def test_the_probes_are_on_a_port_of_their_own(sidecar, agent, http):
    assert [sidecar.page(path).status_code for path in ("/livez", "/readyz", "/metrics", "/escrow")] == [
        200,
        200,
        200,
        404,
    ]
    agent.call("get_escrow", escrow_id="esc_1")
    label = 'server="escrow",method="tools/call",era="legacy"'
    assert sidecar.metric(f"mcp_proxy_exchanges_total{{{label}}}") > 0
    assert http.get(f"{sidecar.url}/metrics").status_code == 404


def test_calls_under_way_finish_when_it_is_asked_to_stop(waiting, beside):
    sidecar, agent = beside(waiting)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(agent.post, MESSAGE)
        waiting.wait_for(1)
        sidecar.process.send_signal(signal.SIGTERM)
        eventually(lambda: not listens(sidecar))
        waiting.go_on.set()
        assert "result" in said(call.result())
    assert sidecar.wait() == 0


def listens(sidecar):
    try:
        socket.create_connection(("127.0.0.1", sidecar.port), timeout=5).close()
    except OSError:
        return False
    return True


def test_what_does_not_finish_within_the_grace_is_told_as_unknown(waiting, beside):
    sidecar, agent = beside(waiting, PF_MCP_GRACE_SECONDS="0")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(agent.post, MESSAGE)
        waiting.wait_for(1)
        assert sidecar.stop() == 0
        error = said(call.result())["error"]
    assert (error["data"]["executed"], error["data"]["reason"]) == ("unknown", "sidecar_stopped")
    assert waiting.calls("create_escrow") == 1


def test_a_stream_that_is_listened_to_does_not_hold_up_the_end(playing, beside, http):
    def play(peer, request):
        if request.method == "GET":
            peer.stream(b": hello\n\n")
            return not peer.gone()
        return honest(peer, request)

    sidecar, agent = beside(playing(play))
    headers = {"accept": "text/event-stream", "mcp-session-id": "s"}
    with http.stream("GET", agent.url, headers=headers) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b": hello\n\n"
        assert sidecar.stop() == 0
        assert list(pieces) == []


def test_a_session_is_listened_to_and_ended_and_a_page_is_no_stream(playing, beside, http):
    def play(peer, request):
        if request.method == "DELETE":
            return peer.answer(204)
        if request.headers.get("mcp-session-id") == "page":
            return peer.answer(200, b'{"service": "agent-escrow-mcp"}')
        changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        peer.stream(b"id: 8\ndata: " + json.dumps(changed).encode() + b"\n\n")
        return peer.end()

    upstream = playing(play)
    _, agent = beside(upstream)
    headers = {"accept": "text/event-stream", "mcp-session-id": "s", "last-event-id": "7"}
    assert "list_changed" in http.get(agent.url, headers=headers).text
    assert upstream.received[-1].headers["last-event-id"] == "7"
    assert http.get(agent.url, headers=headers | {"mcp-session-id": "page"}).status_code == 405
    assert http.delete(agent.url, headers={"mcp-session-id": "s"}).status_code == 204
    assert [request.method for request in upstream.received] == ["GET", "GET", "DELETE"]


def test_a_changed_list_is_fetched_again(playing, beside):
    def play(peer, request):
        if not request.tool:
            return honest(peer, request)
        changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        done = {"jsonrpc": "2.0", "id": request.message["id"], "result": {"content": []}}
        peer.stream(*(b"data: " + json.dumps(each).encode() + b"\n\n" for each in (changed, done)))
        return peer.end()

    upstream = playing(play)
    _, agent = beside(upstream)
    agent.tools()
    agent.tools()
    agent.call("get_escrow", escrow_id="esc_1")
    agent.tools()
    assert [request.message["method"] for request in upstream.received] == ["tools/list", "tools/call", "tools/list"]


def test_a_list_says_how_long_it_is_fresh_and_each_agent_gets_its_own_id(playing, beside):
    fresh = {"tools": [], "ttlMs": 60_000, "cacheScope": "private"}
    upstream = playing(lambda peer, request: peer.result(request, fresh))
    _, agent = beside(upstream)
    first, second = agent.ask("tools/list")["result"], agent.ask("tools/list")["result"]
    assert first["cacheScope"] == second["cacheScope"] == "private"
    assert 0 < second["ttlMs"] <= first["ttlMs"] <= 60_000
    message = {"jsonrpc": "2.0", "id": "a text", "method": "tools/list"}
    assert said(agent.post(message))["id"] == "a text"
    assert len(upstream.received) == 1


def test_who_asks_for_a_list_at_one_moment_is_served_by_one_request(playing, beside):
    go_on = threading.Event()

    def play(peer, request):
        assert go_on.wait(30)
        return honest(peer, request)

    upstream = playing(play)
    sidecar, agent = beside(upstream)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(agent.post, message) for _ in range(8)]
        eventually(lambda: sidecar.metric("mcp_proxy_under_way") == 8)
        go_on.set()
        assert all(said(call.result())["result"]["tools"] for call in calls)
    assert len(upstream.received) == 1


def test_a_hiccup_of_discover_does_not_make_a_client_speak_the_older_era(agent, upstream):
    asked = []

    def play(peer, request):
        asked.append(request)
        if len(asked) == 1:
            return peer.answer(503)
        return peer.result(request, {"supportedVersions": ["2026-07-28"], "capabilities": {}})

    upstream.play = play
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "server/discover"}
    assert agent.ask("server/discover", **headers)["result"]["supportedVersions"] == ["2026-07-28"]
    assert len(asked) == 2


def test_a_notification_is_passed_on_and_answered_as_it_was(agent, upstream):
    answer = agent.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (answer.status_code, answer.content) == (202, b"")
    assert agent.post({"jsonrpc": "2.0", "id": 5, "result": {}}).status_code == 200
    assert [request.message.get("method") for request in upstream.received] == ["notifications/initialized", None]


def test_only_a_trusted_certificate_gets_the_key(playing, beside, tmp_path):
    authority = Authority(tmp_path, "trusted")
    certificate = authority.issue("server", "server", hosts=["127.0.0.1"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate.file, certificate.key_file)
    upstream = playing(honest, tls)
    _, stranger = beside(upstream, PF_ALLOW_HTTP="false")
    error = stranger.call("create_escrow", **CREATE)["error"]
    assert (error["data"]["executed"], error["data"]["reason"]) == ("no", "upstream_unreachable")
    assert upstream.received == []
    _, agent = beside(upstream, PF_ALLOW_HTTP="false", SSL_CERT_FILE=str(authority.file))
    assert "result" in agent.call("create_escrow", **CREATE)
    assert "result" in agent.call("get_escrow", escrow_id="esc_1")
    assert [request.tool for request in upstream.received] == ["create_escrow", "get_escrow"]


def test_nothing_is_left_of_what_has_ended(playing, beside, http):
    """Descriptors, after calls that went well, that broke off, and whose agents left."""

    def play(peer, request):
        if request.tool == "bet":
            return peer.reset()
        if request.tool == "never_seen":
            return not peer.gone()
        return honest(peer, request)

    sidecar, agent = beside(playing(play))
    process = psutil.Process(sidecar.process.pid)
    agent.call("get_escrow", escrow_id="esc_1")
    before = process.num_fds()
    for number in range(20):
        agent.call("get_escrow", escrow_id="esc_1")
        agent.call("bet", description=f"{number}")
        agent.call("get_escrow", escrow_id="esc_1")  # or the breaker opens
        params = {"name": "never_seen", "arguments": {}}
        left = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "never_seen"}
        with pytest.raises(httpx.TimeoutException):
            httpx.post(agent.url, json=left, headers=agent.headers | headers, timeout=0.2, trust_env=False)
    eventually(lambda: process.num_fds() <= before and sidecar.metric("mcp_proxy_under_way") == 0)


@pytest.mark.parametrize(
    ("changed", "said_of_it"),
    [
        ({"MCP_ESCROW_URL": ""}, "there is no server to ask"),
        ({"PF_ALLOW_HTTP": ""}, "would send the key in the clear"),
        ({"PF_API_KEY": ""}, "no API key"),
        ({"MCP_PORT": "0"}, "MCP_PORT is '0'"),
    ],
)
def test_a_wrong_setting_ends_it_before_it_listens(changed, said_of_it):
    environment = {"PF_API_KEY": KEY, "PF_ALLOW_HTTP": "true", "MCP_ESCROW_URL": "http://127.0.0.1:9/mcp"} | changed
    done = subprocess.run(
        [sys.executable, "-m", "runtime.mcp_proxy"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, said_of_it in done.stdout) == (2, True), done.stdout
