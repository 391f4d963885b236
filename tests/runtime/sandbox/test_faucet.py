"""The faucet's rules in both dialects that have it over REST, and who may act for whom."""

import httpx
import pytest

LIMITS = [("create", 20), ("complete", 30), ("release", 30), ("dispute", 10), ("claim", 5), ("register", 10)]
PATHS = {"create": "/escrow/create", "claim": "/faucet/claim", "register": "/api/v1/auth/register"}


def refusal(answer):
    return answer.status_code, answer.json()["error"]


def claim(sandbox, agent_id, source="127.0.0.1", **fields):
    """From a loopback address of the caller's choice, because the address is part of the rule."""
    with httpx.Client(
        transport=httpx.HTTPTransport(local_address=source, verify=sandbox.tls), base_url=sandbox.url, trust_env=False
    ) as client:
        return client.post("/faucet/claim", json={"agent_casino_id": agent_id} | fields)


def test_server_grants_a_dollar_once_per_agent_and_once_per_address_and_day(sandbox):
    for agent_id in ("ann", "bob"):
        sandbox.agents.ensure(agent_id)
    granted = claim(sandbox, "ann")
    assert granted.status_code == 200
    assert granted.json() | {"credited": 1, "agent_id": "ann", "referral_tracked": False} == granted.json()
    assert refusal(claim(sandbox, "ann")) == (429, "ip_rate_limited")  # before it says "already claimed"
    assert refusal(claim(sandbox, "ag_nobody")) == (429, "ip_rate_limited")
    assert "retry-after" not in claim(sandbox, "bob").headers
    assert refusal(claim(sandbox, "ann", "127.0.0.2")) == (409, "already_claimed")
    assert claim(sandbox, "bob", "127.0.0.2").status_code == 200
    sandbox.advance(hours=25)
    assert refusal(claim(sandbox, "ann")) == (409, "already_claimed")
    assert sandbox.statement()["totals"]["granted"] == "2.00"


def test_server_refuses_who_is_unknown_or_has_deposits_or_names_nobody(sandbox):
    sandbox.deposit("rich", "1.00")
    assert refusal(claim(sandbox, "ag_nobody")) == (404, "agent_not_found")
    assert refusal(claim(sandbox, "rich")) == (403, "has_deposits")
    assert refusal(claim(sandbox, "  ")) == (400, "invalid_request")
    assert refusal(claim(sandbox, None)) == (400, "invalid_request")


def test_a_forwarded_header_buys_no_second_claim(sandbox, anyone):
    for agent_id in ("ann", "bob"):
        sandbox.agents.ensure(agent_id)
    claim(sandbox, "ann")
    answer = anyone.post("/faucet/claim", json={"agent_casino_id": "bob"}, headers={"x-forwarded-for": "9.9.9.9"})
    assert refusal(answer) == (429, "ip_rate_limited")


def test_kubernetes_registers_idempotently_and_claims_once(as_agent, sandbox):
    platform = as_agent("platform")
    assert refusal(platform.post("/api/claim", json={"agent_id": "pod"})) == (404, "agent_not_found")
    first, second = (platform.post("/api/register", json={"agent_id": "pod"}) for _ in range(2))
    assert (first.status_code, first.json()["new"]) == (200, True)
    assert (second.status_code, second.json()["new"]) == (200, False)
    assert platform.post("/api/claim", json={"agent_id": "pod"}).json()["amount"] == 1.0
    assert refusal(platform.post("/api/claim", json={"agent_id": "pod"})) == (409, "already_claimed")
    other = as_agent("other")
    for path in ("/api/register", "/api/claim"):
        assert refusal(other.post(path, json={"agent_id": "pod"})) == (403, "forbidden")
    assert sandbox.statement()["totals"]["granted"] == "1.00"


def test_a_key_acts_for_the_agents_that_it_registered(as_agent):
    payer, platform = as_agent("payer", "5.00"), as_agent("platform")
    escrow_id = payer.post("/api/escrow", json={"payee_id": "pod", "amount": 1, "terms_hash": "t"}).json()["escrow_id"]
    assert refusal(platform.post(f"/escrow/complete/{escrow_id}")) == (403, "forbidden")
    platform.post("/api/register", json={"agent_id": "pod"})  # so far only named as a payee, nobody's yet
    assert platform.post(f"/escrow/complete/{escrow_id}").json()["status"] == "completed"


@pytest.mark.parametrize(("act", "limit"), LIMITS)
def test_rate_limits_hold_per_path_and_minute_without_retry_after(sandbox, as_agent, act, limit):
    sandbox.service.rate_limits = True
    client = as_agent("payer")
    path = PATHS.get(act, f"/escrow/{act}/one")
    answers = [client.post(path) for _ in range(limit + 1)]
    assert all(answer.status_code in (201, 400, 404) for answer in answers[:limit])
    assert refusal(answers[limit]) == (429, "rate_limited")
    assert "retry-after" not in answers[limit].headers
    if act not in PATHS:
        assert client.post(f"/escrow/{act}/two").status_code == 404
    sandbox.advance(seconds=61)
    assert client.post(path).status_code in (201, 400, 404)
