"""Through the environment's proxy: a real one on loopback, TLS inside of the tunnel."""

import base64
import ssl
import subprocess
import sys

import pytest

from runtime.contract import ExitCode
from tests.runtime.mcp_proxy.forward_proxy import running_proxy
from tests.runtime.mcp_proxy.sidecar import KEY, ROOT
from tests.runtime.mcp_proxy.upstream import honest
from tests.toolchain.certificates import Authority

CREATE = {"amount_usd": 0.5, "counterparty_agent_id": "ag_payee", "description": "work"}
PASSWORD = "proxy-password-82"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "trusted")


@pytest.fixture
def tls(authority):
    certificate = authority.issue("server", "server", hosts=["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key_file)
    return context


@pytest.fixture
def upstream(playing, tls):
    return playing(honest, tls)


@pytest.fixture
def behind(beside, upstream, authority):
    """A sidecar with these variables; returns its agent."""

    def start(**environment):
        return beside(upstream, PF_ALLOW_HTTP="false", SSL_CERT_FILE=str(authority.file), **environment)[1]

    return start


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_call_goes_through_the_proxy_which_sees_neither_key_nor_call(scheme, upstream, behind, tls):
    with running_proxy(tls if scheme == "https" else None) as proxy:
        agent = behind(HTTPS_PROXY=f"{scheme}://me:{PASSWORD}@{proxy.address}")
        assert "result" in agent.call("create_escrow", **CREATE)
        assert "result" in agent.call("get_escrow", escrow_id="esc_1")
    assert [request.tool for request in upstream.received] == ["create_escrow", "get_escrow"]
    target = upstream.url.removeprefix("https://").partition("/")[0]
    given = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    for head in proxy.heads:
        assert head.startswith(f"CONNECT {target} HTTP/1.1\r\n")
        assert f"Basic {given}" in head
        assert KEY not in head
    assert not any("proxy-authorization" in str(request).lower() for request in upstream.received)


def test_a_proxy_that_refuses_leaves_no_doubt(upstream, behind):
    with running_proxy() as proxy:
        proxy.refusal = "407 Proxy Authentication Required"
        error = behind(HTTPS_PROXY=f"http://{proxy.address}").call("create_escrow", **CREATE)["error"]
    assert (error["data"]["executed"], error["data"]["reason"]) == ("no", "upstream_unreachable")
    assert "the proxy answered 407" in error["message"]
    assert upstream.received == []


def test_what_no_proxy_names_is_asked_directly(upstream, behind):
    with running_proxy() as proxy:
        agent = behind(ALL_PROXY=f"http://{proxy.address}", NO_PROXY="127.0.0.1")
        assert "result" in agent.call("get_escrow", escrow_id="esc_1")
        assert proxy.heads == []


@pytest.mark.parametrize(
    ("proxy", "says"),
    [(f"socks5://me:{PASSWORD}@proxy.example", "SOCKS"), ("http://proxy.example:port", "HTTPS_PROXY")],
)
def test_one_that_cannot_be_used_ends_it_with_a_sentence(proxy, says):
    environment = {"PYTHONPATH": str(ROOT), "PF_API_KEY": KEY, "HTTPS_PROXY": proxy}
    environment |= {"MCP_ESCROW_URL": "https://escrow.example/mcp"}
    command = [sys.executable, "-m", "runtime.mcp_proxy"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == ExitCode.BAD_INPUT
    assert says in ended.stdout
    assert PASSWORD not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
