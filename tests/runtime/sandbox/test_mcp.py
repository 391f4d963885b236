"""The two MCP servers, beyond what the contract's lines say: the published tools, the protocol, the refusals."""

import json

import pytest

from runtime.contract import Route
from runtime.sandbox.mcp_tools import ESCROW_TOOLS, FAUCET_TOOLS, KEY_ARGUMENT

BOTH = {"accept": "application/json, text/event-stream"}
FAUCET, ESCROW = Route.SANDBOX_MCP_FAUCET.value, Route.SANDBOX_MCP_ESCROW.value


def ask(anyone, method, params=None, path=ESCROW, headers=BOTH):
    return anyone.post(
        path, json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}, headers=headers
    )


def call(anyone, tool, path=ESCROW, **arguments):
    return event(ask(anyone, "tools/call", {"name": tool, "arguments": arguments}, path))["result"]


def event(answer):
    assert answer.headers["content-type"].startswith("text/event-stream")
    return json.loads(answer.text.removeprefix("event: message\ndata: "))


def content(result):
    return json.loads(result["content"][0]["text"])


@pytest.fixture
def payer(sandbox):
    key = sandbox.issue_key("ag_payer")
    sandbox.deposit("ag_payer", "5.00")
    sandbox.issue_key("ag_payee")
    return {KEY_ARGUMENT: key}


def create(anyone, payer, **changed):
    arguments = {"amount_usd": 0.5, "counterparty_agent_id": "ag_payee", "description": "work"} | payer | changed
    return call(anyone, "create_escrow", **arguments)


@pytest.mark.parametrize("path", [FAUCET, ESCROW, "/mcp"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*"])
def test_both_media_types_must_be_accepted(anyone, path, accept):
    assert ask(anyone, "tools/list", path=path, headers={"accept": accept}).status_code == 406


@pytest.mark.parametrize(("path", "tools"), [(FAUCET, FAUCET_TOOLS), (ESCROW, ESCROW_TOOLS), ("/mcp", FAUCET_TOOLS)])
def test_each_server_lists_its_own_tools(anyone, path, tools):
    listed = event(ask(anyone, "tools/list", path=path))["result"]["tools"]
    assert [tool["name"] for tool in listed] == [tool.name for tool in tools]
    assert anyone.get(path).json()["tools"] == [tool.name for tool in tools]


def test_the_published_names(anyone):
    assert [tool.name for tool in FAUCET_TOOLS] == ["claim_faucet"]
    published = ["create_escrow", "get_escrow", "mark_complete", "release_escrow", "dispute_escrow", "escrow_stats"]
    assert [tool.name for tool in ESCROW_TOOLS] == published
    assert [tool.name for tool in ESCROW_TOOLS if not tool.needs_key] == ["get_escrow", "escrow_stats"]


def test_an_escrow_from_its_creation_to_its_release(anyone, sandbox, payer):
    created = content(create(anyone, payer))
    escrow_id = created["escrow_id"]
    assert (created["status"], created["amount_usd"], created["commission_usd"]) == ("funded", 0.5, 0.005)
    payee = {KEY_ARGUMENT: sandbox.issue_key("ag_payee")}
    assert content(call(anyone, "mark_complete", escrow_id=escrow_id, **payee))["status"] == "completed"
    released = content(call(anyone, "release_escrow", escrow_id=escrow_id, **payer))
    assert (released["status"], released["net_to_counterparty"]) == ("released", 0.495)
    read = content(call(anyone, "get_escrow", escrow_id=escrow_id))
    assert (read["id"], read["status"], type(read["created_at"])) == (escrow_id, "released", int)
    assert content(call(anyone, "escrow_stats"))["total_released"] == 1
    assert [(each.act, each.carried_out) for each in sandbox.received] == [("create", True), ("release", True)]


def test_a_dispute_needs_a_reason_of_ten_characters(anyone, payer):
    escrow_id = content(create(anyone, payer))["escrow_id"]
    refused = call(anyone, "dispute_escrow", escrow_id=escrow_id, reason="too short", **payer)
    assert refused["isError"]
    assert "at least 10" in refused["content"][0]["text"]
    disputed = call(anyone, "dispute_escrow", escrow_id=escrow_id, reason="nothing was delivered", **payer)
    assert content(disputed)["status"] == "disputed"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({KEY_ARGUMENT: "sk_never_issued"}, "unauthorized"),
        ({"counterparty_agent_id": "ag_nobody"}, "counterparty_not_found"),
        ({"amount_usd": 100}, "insufficient_balance"),
        ({"counterparty_agent_id": "ag_payer"}, "self_escrow"),
        ({"amount_usd": "0.5"}, "Expected number"),
        ({"amount_usd": True}, "Expected number"),
        ({"amount_usd": 0.09}, "greater than or equal"),
        ({"description": "ab"}, "at least 3"),
    ],
)
def test_a_refusal_is_a_result_with_is_error_and_moves_nothing(anyone, sandbox, payer, changed, said):
    refused = create(anyone, payer, **changed)
    assert refused["isError"] is True
    assert said in refused["content"][0]["text"]
    assert sandbox.statement()["escrows"] == []


def test_the_faucet_grants_its_dollar_once(anyone, sandbox):
    assert content(call(anyone, "claim_faucet", FAUCET, agent_casino_id="ag_nobody"))["error"] == "agent_not_found"
    sandbox.issue_key("ag_new")
    assert content(call(anyone, "claim_faucet", FAUCET, agent_casino_id="ag_new"))["credited"] == 1
    again = call(anyone, "claim_faucet", FAUCET, agent_casino_id="ag_new")
    assert (again["isError"], content(again)["error"]) == (True, "already_claimed")


def test_the_guides_wallet_needs_no_registration(anyone):
    granted = call(anyone, "claim_faucet", "/mcp", wallet_address="0xA", agent_name="my-fly-agent")
    assert content(granted)["agent_id"] == "0xA"


def test_initialize_takes_a_version_that_it_knows_and_offers_its_newest(anyone):
    def negotiated(version):
        return event(ask(anyone, "initialize", {"protocolVersion": version}))["result"]["protocolVersion"]

    assert negotiated("2025-06-18") == "2025-06-18"
    assert negotiated("2026-07-28") == "2025-11-25"


def test_a_newer_era_is_refused_before_anything_is_done(anyone):
    answer = ask(anyone, "server/discover", headers=BOTH | {"mcp-protocol-version": "2026-07-28"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32000)


def test_a_notification_is_accepted_without_an_answer(anyone):
    answer = anyone.post(ESCROW, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=BOTH)
    assert (answer.status_code, answer.content) == (202, b"")


def test_an_unknown_method_is_a_json_rpc_error_and_an_unknown_tool_is_not(anyone):
    assert event(ask(anyone, "resources/list"))["error"]["code"] == -32601
    assert call(anyone, "steal_escrow")["isError"] is True


@pytest.mark.parametrize("body", [b"[]", b"{", b'"ping"', b'{"jsonrpc": "2.0", "id": 1}'])
def test_what_is_no_message_is_refused(anyone, body):
    answer = anyone.post(ESCROW, content=body, headers=BOTH | {"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["id"] is None


def test_a_body_of_another_type_is_refused(anyone):
    answer = anyone.post(ESCROW, content=b"{}", headers=BOTH | {"content-type": "text/plain"})
    assert answer.status_code == 415


def test_a_fault_finds_a_tool_by_its_operation_and_a_method_by_its_name(anyone, sandbox, payer):
    sandbox.fault("create", dialect="mcp", status=503, nth=1)
    sandbox.fault("tools/list", status=500, nth=1)
    arguments = {"amount_usd": 0.5, "counterparty_agent_id": "ag_payee", "description": "work [a]"} | payer
    assert ask(anyone, "tools/call", {"name": "create_escrow", "arguments": arguments}).status_code == 503
    assert ask(anyone, "tools/list").status_code == 500
    assert ask(anyone, "tools/list").status_code == 200
    assert [(each.act, each.subject, each.carried_out) for each in sandbox.received] == [("create", "a", False)]
