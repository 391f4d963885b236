"""Roles, states, fees and time-outs, over real HTTP."""

import httpx
import pytest


@pytest.fixture
def payer(sandbox):
    """A client with a funded payer's key."""
    key = sandbox.issue_key("payer")
    sandbox.deposit("payer", "10.00")
    with httpx.Client(base_url=sandbox.url, headers={"authorization": f"Bearer {key}"}, trust_env=False) as client:
        yield client


@pytest.fixture
def payee(sandbox):
    key = sandbox.issue_key("payee")
    with httpx.Client(base_url=sandbox.url, headers={"authorization": f"Bearer {key}"}, trust_env=False) as client:
        yield client


def create(payer, amount=1, **fields):
    body = {"amount_usd": amount, "description": "work", "counterparty_agent_id": "payee"} | fields
    answer = payer.post("/escrow/create", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["escrow_id"]


def balance(sandbox, account):
    return {a["account"]: a["balance_usdc"] for a in sandbox.statement()["accounts"]}.get(account, "0.00")


def test_release_pays_the_payee_less_one_percent_and_happens_once(sandbox, payer, payee):
    escrow_id = create(payer)
    assert payee.post(f"/escrow/complete/{escrow_id}").json()["status"] == "completed"
    released = payer.post(f"/escrow/release/{escrow_id}")
    assert released.status_code == 200
    assert (released.json()["amount_released"], released.json()["commission"]) == (0.99, 0.01)
    again = payer.post(f"/escrow/release/{escrow_id}")
    assert (again.status_code, again.json()["error"]) == (409, "invalid_status")
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert balance(sandbox, "fees") == "0.01"
    assert sandbox.statement()["balanced"]


def test_a_stopped_release_has_paid_and_answers_500_for_ever(sandbox, payer, payee):
    escrow_id = create(payer)
    sandbox.fault("release", moment="between", nth=1)
    for _ in range(3):
        answer = payer.post(f"/escrow/release/{escrow_id}")
        assert (answer.status_code, answer.json()["error"]) == (500, "release_failed")
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "funded"
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert sandbox.resolve(escrow_id, "release") == "released"
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert sandbox.statement()["balanced"]
