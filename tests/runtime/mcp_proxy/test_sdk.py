"""10: the official SDK, unmodified, through the sidecar: against its own server, and against the sandbox."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import MCPError
from mcp.client.client import Client

from runtime.contract import Route
from tests.runtime.mcp_proxy.sidecar import running_sidecar

HERE = Path(__file__).parent
ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
OLDER_SDK = "MCP_SDK_1_PYTHON"
NPM = "npm i @modelcontextprotocol/sdk @modelcontextprotocol/client"
FRAMEWORK = "PYDANTIC_AI_PYTHON"
TYPESCRIPT = "MCP_TYPESCRIPT_FOLDER"
TYPESCRIPT_SDKS = (
    ("@modelcontextprotocol/sdk",),
    ("@modelcontextprotocol/client",),
    ("@modelcontextprotocol/client", "auto"),
)


@pytest.fixture(scope="module")
def reference():
    """The SDK's server with a sidecar before it; the URL that agents use."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "reference_server.py")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    port = server.stdout.readline().strip()
    try:
        with running_sidecar({"wallet": f"http://127.0.0.1:{port}/mcp"}) as sidecar:
            yield f"{sidecar.url}/wallet"
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("mode", ERAS)
def test_10_lists_calls_progress_and_resources(reference, mode):
    async def use():
        async with Client(reference, mode=mode) as client:
            assert client.session.protocol_version == ERAS[mode]
            assert [tool.name for tool in (await client.list_tools()).tools] == ["add", "count", "wait_for_ever"]
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"
            seen = []

            async def progress(done, total, text):
                seen.append((done, total))

            counted = await client.call_tool("count", {"to": 5}, progress_callback=progress)
            assert counted.content[0].text == "counted to 5"
            assert seen == [(number, 5) for number in range(5)]
            assert (await client.read_resource("note://one")).contents[0].text == "a note"
            failed = await client.call_tool("add", {"a": "x", "b": 2})
            assert failed.is_error

    asyncio.run(asyncio.wait_for(use(), 60))


async def written(marker, word):
    """Wait until the server has left that word."""
    while not (marker.exists() and marker.read_text() == word):  # noqa: ASYNC110 - another process's file
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("mode", ERAS)
def test_10_a_call_that_is_cancelled_is_cancelled_at_the_server(reference, mode, tmp_path):
    marker = tmp_path / "marker"

    async def use():
        async with Client(reference, mode=mode) as client:
            call = asyncio.ensure_future(client.call_tool("wait_for_ever", {"marker": str(marker)}))
            counted = await client.call_tool("count", {"to": 1})  # meanwhile others are served
            assert counted.content[0].text == "counted to 1"
            await written(marker, "begun")
            call.cancel()
            await written(marker, "cancelled")

    asyncio.run(asyncio.wait_for(use(), 60))


@pytest.mark.parametrize("mode", ERAS)
def test_10_an_escrow_is_created_and_released_in_the_sandbox_without_a_key(sandbox, mode):
    key = sandbox.issue_key("ag_payer")
    sandbox.deposit("ag_payer", "5.00")
    sandbox.issue_key("ag_payee")

    async def use(sidecar):
        async with Client(f"{sidecar.url}/faucet", mode=mode) as client:
            granted = await client.call_tool("claim_faucet", {"agent_casino_id": "ag_payee"})
            assert json.loads(granted.content[0].text)["credited"] == 1
        async with Client(f"{sidecar.url}/escrow", mode=mode) as client:
            listed = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
            assert "casino_api_key" not in json.dumps(listed)
            terms = {"amount_usd": 0.5, "counterparty_agent_id": "ag_payee", "description": "work [t]"}
            created = json.loads((await client.call_tool("create_escrow", terms)).content[0].text)
            released = await client.call_tool("release_escrow", {"escrow_id": created["escrow_id"]})
            assert json.loads(released.content[0].text)["status"] == "released"
            again = await client.call_tool("release_escrow", {"escrow_id": created["escrow_id"]})
            assert again.is_error
            sandbox.fault("create", "reset", moment="after", dialect="mcp")
            with pytest.raises(MCPError) as lost:
                await client.call_tool("create_escrow", terms | {"description": "work [u]"})
            assert lost.value.error.data["executed"] == "unknown"

    urls = {"faucet": sandbox.url + Route.SANDBOX_MCP_FAUCET, "escrow": sandbox.url + Route.SANDBOX_MCP_ESCROW}
    with running_sidecar(urls, PF_API_KEY=key) as sidecar:
        asyncio.run(asyncio.wait_for(use(sidecar), 60))
    assert [call.subject for call in sandbox.received if call.act == "create"] == ["t", "u"]
    assert sandbox.statement()["balanced"]


@pytest.mark.skipif(OLDER_SDK not in os.environ, reason=f"set {OLDER_SDK} to a Python that has mcp<2 installed")
def test_10_the_sdk_of_before(reference):
    command = [os.environ[OLDER_SDK], str(HERE / "older_sdk_client.py"), reference]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expected = ["2025-11-25", "add count wait_for_ever", "3", "counted to 5", "a note"]
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.skipif(TYPESCRIPT not in os.environ, reason=f"set {TYPESCRIPT} to a folder where `{NPM}` was run")
@pytest.mark.parametrize("words", TYPESCRIPT_SDKS, ids=" ".join)
def test_10_the_sdks_in_typescript(reference, words):
    command = ["node", str(HERE / "typescript_client.mjs"), reference, *words]
    done = subprocess.run(command, cwd=os.environ[TYPESCRIPT], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["add count wait_for_ever", "3", "counted to 5", "a note"], done.stderr


@pytest.mark.skipif(FRAMEWORK not in os.environ, reason=f"set {FRAMEWORK} to a Python that has pydantic-ai-slim[mcp]")
def test_10_an_agent_of_a_framework_lists_and_calls_tools(reference):
    command = [os.environ[FRAMEWORK], str(HERE / "framework_agent.py"), reference]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout or "null") == {"add": 0, "count": "counted to 0"}, done.stderr
