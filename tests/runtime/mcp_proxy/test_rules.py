"""What an agent may call and spend: judged before a byte is sent, kept over restarts and two calls at one moment."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.errors import BadInput
from runtime.mcp_proxy.rules import load
from tests.runtime.mcp_proxy.sidecar import MODERN, eventually, said
from tests.runtime.mcp_proxy.upstream import honest

SERVERS = ("escrow", "faucet")
WORK = {"counterparty_agent_id": "ag_payee", "description": "work"}


@pytest.fixture
def ruled(playing, beside, tmp_path):
    """`ruled(rules)`: a sidecar with these rules and books of its own; returns it, its agent and its upstream."""

    def start(rules, play=honest, **environment):
        file, state = tmp_path / "rules.json", tmp_path / "state"
        state.mkdir(exist_ok=True)
        file.write_text(json.dumps(rules))
        upstream = playing(play)
        environment = {"PF_MCP_RULES_FILE": str(file), "PF_MCP_STATE_DIRECTORY": str(state)} | environment
        return *beside(upstream, **environment), upstream

    return start


def escrow(**rules):
    return {"servers": {"escrow": rules}}


def budget(limit, **more):
    return {"budgets": [{"name": "pot", "limit": limit, **more}]}


def create(agent, amount, description="work", **more):
    return agent.call("create_escrow", **WORK | {"description": description}, amount_usd=amount, **more)


def refused(answered):
    error = answered["error"]
    assert (error["data"]["source"], error["data"]["executed"]) == ("sidecar", "no")
    return error["data"]["reason"]


def approvals(sidecar, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "runtime.mcp_proxy.approvals", *arguments],
        env=sidecar.environment, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


# --- tools


def test_a_tool_that_is_not_allowed_is_neither_listed_nor_called(ruled):
    _, agent, upstream = ruled(escrow(allow=["get_escrow", "create_escrow"], deny=["create_escrow"]))
    assert agent.tools() == ["get_escrow"]
    assert refused(create(agent, 1)) == "denied"
    assert refused(agent.call("bet")) == "denied"
    assert "result" in agent.call("get_escrow", escrow_id="esc_1")
    assert [request.tool for request in upstream.received if request.tool] == ["get_escrow"]


# --- one call


def test_a_limit_per_call(ruled):
    _, agent, upstream = ruled(escrow(spend_limit="5.00"))
    for allowed in (5, 5.0, 0.1):
        assert "result" in create(agent, allowed)
    answered = create(agent, 5.000001)
    assert refused(answered) == "spend_limit"
    assert "Do not split" in answered["error"]["message"]
    assert upstream.calls("create_escrow") == 3


@pytest.mark.parametrize("rules", [escrow(spend_limit="5.00"), budget("5.00")])
def test_an_amount_that_cannot_be_read_is_refused(ruled, rules):
    _, agent, upstream = ruled(rules)
    for amount in ("1.00", -1, 0, True, None, [1], 1e300, 0.1234567, {"amount": 1}):
        assert refused(create(agent, amount)) == "amount_unreadable", amount
    assert refused(agent.call("create_escrow", **WORK)) == "amount_unreadable"
    assert refused(create(agent, 1, amount_usdc=900)) == "amount_unreadable"
    assert upstream.calls("create_escrow") == 0


def test_a_tool_that_may_spend_in_a_way_nobody_knows_is_refused_where_spending_is_counted(ruled):
    _, agent, upstream = ruled(budget("5.00"))
    assert refused(agent.call("bet", amount=1)) == "amount_unreadable"
    assert "result" in agent.call("release_escrow", escrow_id="esc_1")
    assert upstream.calls("bet") == 0


def test_only_those_on_the_list_are_paid(ruled):
    _, agent, upstream = ruled(escrow(payees=["ag_payee"]))
    for payee in ("ag_other", "", None, ["ag_payee"], "AG_PAYEE"):
        wrong = {"amount_usd": 1, "description": "work", "counterparty_agent_id": payee}
        assert refused(agent.call("create_escrow", **wrong)) == "payee_not_allowed", payee
    assert refused(create(agent, 1, payee_wallet="ag_other")) == "payee_not_allowed"
    assert "result" in create(agent, 1)
    assert upstream.calls("create_escrow") == 1


# --- budgets


@pytest.mark.parametrize("window", ["pod", "day"])
def test_a_budget_adds_up_and_survives_a_kill(ruled, window):
    sidecar, agent, upstream = ruled(budget("1.00", window=window))
    assert "result" in create(agent, 0.6, "one")
    assert refused(create(agent, 0.41, "two")) == "budget_exceeded"
    sidecar.kill()
    sidecar.start()
    assert refused(create(agent, 0.41, "three")) == "budget_exceeded"
    assert "result" in create(agent, 0.4, "four")
    assert upstream.calls("create_escrow") == 2
    assert sidecar.metric('mcp_proxy_budget_spent_usdc{budget="pot"}') == 1.0


def test_calls_at_one_moment_never_pass_a_budget_that_holds_one(ruled, http):
    go_on = threading.Event()

    def play(peer, request):
        if request.tool:
            assert go_on.wait(30)
        return honest(peer, request)

    _, agent, upstream = ruled(budget("1.00"), play)

    def post(number):
        params = {"name": "create_escrow", "arguments": WORK | {"amount_usd": 0.6, "description": f"work {number}"}}
        return said(agent.post({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}))

    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(post, number) for number in range(16)]
        upstream.wait_for(1)
        go_on.set()
        answers = [call.result() for call in calls]
    assert sum("result" in answer for answer in answers) == 1
    assert {answer["error"]["data"]["reason"] for answer in answers if "error" in answer} == {"budget_exceeded"}
    assert upstream.calls("create_escrow") == 1


def test_what_may_have_been_carried_out_stays_charged_and_what_was_refused_does_not(ruled):
    sidecar, agent, upstream = ruled(budget("1.00"))
    upstream.play = lambda peer, request: peer.reset()
    assert create(agent, 0.6, "lost")["error"]["data"]["executed"] == "unknown"
    said_no = {"content": [{"type": "text", "text": '{"error": "insufficient_balance"}'}], "isError": True}
    upstream.play = lambda peer, request: peer.result(request, said_no)
    assert create(agent, 0.3, "refused")["result"]["isError"] is True
    upstream.play = lambda peer, request: peer.answer(307, b"", location="/else")
    assert create(agent, 0.3, "redirected")["error"]["data"]["executed"] == "no"
    in_doubt = {"content": [{"type": "text", "text": '{"error": "internal_error"}'}], "isError": True}
    upstream.play = lambda peer, request: peer.result(request, in_doubt)
    assert create(agent, 0.3, "in doubt")["result"]["isError"] is True
    assert sidecar.metric('mcp_proxy_budget_spent_usdc{budget="pot"}') == 0.9


def test_the_same_call_in_doubt_is_not_sent_again_not_even_after_a_kill(ruled):
    sidecar, agent, upstream = ruled({})
    upstream.play = lambda peer, request: peer.reset()
    assert create(agent, 0.6)["error"]["data"]["executed"] == "unknown"
    upstream.play = honest
    assert refused(create(agent, 0.6)) == "already_sent"
    sidecar.kill()
    sidecar.start()
    assert refused(create(agent, 0.6)) == "already_sent"
    assert upstream.calls("create_escrow") == 1
    assert "result" in create(agent, 0.6, "a second one, meant")
    assert "result" in create(agent, 0.6, "a second one, meant")  # the fate of the first is known


def test_a_consent_sends_the_same_call_twice_and_counts_once(ruled):
    def play(peer, request):
        if request.tool and "inputResponses" not in request.message["params"]:
            return peer.result(request, {"resultType": "input_required", "requestState": "s"})
        return honest(peer, request)

    sidecar, agent, upstream = ruled(budget("1.00"), play)
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "create_escrow"}
    params = {"name": "create_escrow", "arguments": WORK | {"amount_usd": 0.6}}
    assert agent.ask("tools/call", params, **headers)["result"]["resultType"] == "input_required"
    given = params | {"inputResponses": {"ok": {"action": "accept"}}, "requestState": "s"}
    assert "content" in agent.ask("tools/call", given, **headers)["result"]
    assert sidecar.metric('mcp_proxy_budget_spent_usdc{budget="pot"}') == 0.6
    assert upstream.calls("create_escrow") == 2


# --- approval


def test_a_person_can_let_one_call_past_a_budget(ruled):
    sidecar, agent, upstream = ruled(budget("1.00", on_exceed="require_approval"))
    error = create(agent, 2)["error"]
    approval = error["data"]["approval"]
    assert refused({"error": error}) == "approval_required"
    assert approval in error["message"]
    assert create(agent, 2)["error"]["data"]["approval"] == approval  # asking again asks nobody twice
    code, shown, _ = approvals(sidecar, "list")
    assert (code, "pending" in shown, "2.00 USDC" in shown, "ag_payee" in shown) == (0, True, True, True)
    assert approvals(sidecar, "approve", approval)[0] == 0
    assert refused(create(agent, 2, "another call")) == "approval_required"
    assert "result" in create(agent, 2)
    assert refused(create(agent, 2)) == "approval_required"  # it was for one call
    assert upstream.calls("create_escrow") == 1


def test_a_person_can_say_no(ruled):
    sidecar, agent, _ = ruled(budget("1.00", on_exceed="require_approval"))
    approval = create(agent, 2)["error"]["data"]["approval"]
    assert approvals(sidecar, "deny", approval)[0] == 0
    assert "said no" in create(agent, 2)["error"]["message"]
    code, _, error = approvals(sidecar, "approve", approval)
    assert (code, "is denied already" in error) == (2, True)


def test_the_books_of_nobody_hold_no_approvals(ruled, tmp_path):
    sidecar, _, _ = ruled({})
    sidecar.environment["PF_MCP_STATE_DIRECTORY"] = str(tmp_path)
    assert approvals(sidecar, "list")[0] == 2
    sidecar.environment["PF_MCP_STATE_DIRECTORY"] = ""
    assert approvals(sidecar, "approve", "ap-1")[0] == 2


# --- the file


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ("[]", "not an object"),
        ("{", "no JSON"),
        ('{"budget": []}', "has budget; known are budgets, servers"),
        ('{"servers": {"casino": {}}}', "has casino; known are"),
        ('{"servers": {"escrow": {"spend_limit": -1}}}', "servers.escrow.spend_limit"),
        ('{"servers": {"escrow": {"spend_limit": "1", "spend_limit": "9"}}}', "twice"),
        ('{"servers": {"escrow": {"allow": "create_escrow"}}}', "servers.escrow.allow is not a list"),
        ('{"servers": {"escrow": {"spend_limit": null}}}', "servers.escrow.spend_limit"),
        ('{"budgets": [{"name": "a"}]}', "budgets[0].limit"),
        ('{"budgets": [{"name": "a", "limit": "1", "window": "week"}]}', "budgets[0].window"),
        ('{"budgets": [{"name": "a", "limit": "1", "on_exceed": "warn"}]}', "budgets[0].on_exceed"),
        ('{"budgets": [{"name": "a", "limit": "1", "tools": ["escrow/create"]}]}', "not known to spend"),
        ('{"budgets": [{"name": "a", "limit": 1}, {"name": "a", "limit": 2}]}', "same name"),
    ],
)
def test_wrong_rules_name_where(tmp_path, rules, where):
    file = tmp_path / "rules.json"
    file.write_text(rules)
    with pytest.raises(BadInput) as wrong:
        load(file, SERVERS)
    assert where in str(wrong.value)


def test_amounts_in_rules_are_exact(tmp_path):
    file = tmp_path / "rules.json"
    file.write_text('{"servers": {"escrow": {"spend_limit": 0.10}}, "budgets": [{"name": "a", "limit": 20}]}')
    rules = load(file, SERVERS)
    assert (str(rules.of("escrow").spend_limit), str(rules.budgets[0].limit)) == ("0.10", "20.00")


def test_new_rules_hold_without_a_restart_and_wrong_ones_never(ruled, tmp_path):
    sidecar, agent, upstream = ruled(escrow(spend_limit="1.00"))
    assert refused(create(agent, 2)) == "spend_limit"
    (tmp_path / "rules.json").write_text("{")
    eventually(lambda: sidecar.metric("mcp_proxy_rules_wrong") == 1)
    assert refused(create(agent, 2)) == "spend_limit"
    assert "old ones still hold" in sidecar.says("rules are wrong")["message"]
    (tmp_path / "rules.json").write_text(json.dumps(escrow(spend_limit="3.00")))
    eventually(lambda: sidecar.metric("mcp_proxy_rules_wrong") == 0)
    assert "result" in create(agent, 2)
    assert refused(create(agent, 4)) == "spend_limit"
    assert upstream.calls("create_escrow") == 1


@pytest.mark.parametrize("wrong", ["no file", "no directory", "budgets without books"])
def test_what_cannot_be_enforced_ends_the_sidecar_before_it_listens(tmp_path, wrong):
    file = tmp_path / "rules.json"
    if wrong != "no file":
        file.write_text(json.dumps(budget("1.00")))
    state = {"no directory": str(tmp_path / "none"), "budgets without books": "", "no file": str(tmp_path)}[wrong]
    done = subprocess.run(
        [sys.executable, "-m", "runtime.mcp_proxy"],
        env={"PF_API_KEY": "sk_key", "PF_ALLOW_HTTP": "true", "MCP_ESCROW_URL": "http://127.0.0.1:9/mcp",
             "PF_MCP_RULES_FILE": str(file), "PF_MCP_STATE_DIRECTORY": state},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr


def test_without_books_the_same_call_in_doubt_is_still_not_sent_again(playing, beside):
    upstream = playing(lambda peer, request: peer.reset())
    _, agent = beside(upstream)
    assert create(agent, 0.6)["error"]["data"]["executed"] == "unknown"
    error = create(agent, 0.6)["error"]
    assert (error["data"]["reason"], "approval" in error["data"]) == ("already_sent", False)
