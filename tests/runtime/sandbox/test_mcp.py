"""The one MCP tool, beyond what the contract's lines say."""

import json

BOTH = {"accept": "application/json, text/event-stream"}


def call(anyone, headers=BOTH, method="tools/call", **arguments):
    params = {"name": "claim_faucet", "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    return anyone.post("/mcp", json=body, headers=headers)


def event(answer):
    return json.loads(answer.text.removeprefix("event: message\ndata: "))


def test_both_media_types_must_be_accepted(anyone):
    for accept in ("application/json", "text/event-stream", "*/*"):
        assert call(anyone, {"accept": accept}, wallet_address="0xA").status_code == 406


def test_a_refusal_is_a_result_with_is_error(anyone):
    refused = event(call(anyone, agent_casino_id="ag_nobody"))
    assert (refused["id"], refused["result"]["isError"]) == (7, True)
    assert json.loads(refused["result"]["content"][0]["text"])["error"] == "agent_not_found"


def test_another_method_is_a_json_rpc_error(anyone):
    assert event(call(anyone, method="tools/list"))["error"]["code"] == -32601
