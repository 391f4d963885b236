"""The record of what arrived: the tests' proof that a payer sends once rests on it."""

import pytest

from runtime.sandbox.testing import Received

CREATES = {
    "/escrow/create": {"amount_usd": 0.5, "description": "a job [token-0001]", "counterparty_agent_id": "payee"},
    "/api/escrow": {"amount": 0.5, "terms_hash": "token-0001", "payee_id": "payee"},
    "/api/escrow/create": {
        "amount_usdc": 0.5,
        "description": "a job [token-0001]",
        "payee_wallet": "payee",
        "payer_wallet": "payer",
    },
}


@pytest.mark.parametrize("path", CREATES)
def test_a_create_is_known_by_its_token_and_an_act_by_its_escrow(sandbox, as_agent, path):
    sandbox.issue_key("payee")
    payer = as_agent("payer", "10.00")
    escrow_id = payer.post(path, json=CREATES[path]).json()["escrow_id"]
    act = {"/escrow/create": f"/escrow/release/{escrow_id}", "/api/escrow": f"/api/escrow/{escrow_id}/release"}
    for _ in range(2):
        payer.post(act.get(path, "/api/escrow/release"), json={"escrow_id": escrow_id})
    releases = [Received("release", escrow_id, carried_out) for carried_out in (True, False)]
    assert sandbox.received == [Received("create", "token-0001", True), *releases]


@pytest.mark.parametrize(("moment", "carried_out"), [("before", False), ("after", True)])
def test_a_call_whose_answer_is_broken_is_recorded_too(sandbox, as_agent, moment, carried_out):
    sandbox.issue_key("payee")
    payer = as_agent("payer", "10.00")
    sandbox.fault("create", "status", moment=moment, nth=1)
    assert payer.post("/escrow/create", json=CREATES["/escrow/create"]).status_code == 500
    assert sandbox.received == [Received("create", "token-0001", carried_out)]


def test_what_moves_no_money_and_what_the_test_itself_does_is_not_recorded(sandbox, as_agent):
    sandbox.issue_key("payee")
    payer = as_agent("payer", "10.00")
    escrow_id = payer.post("/api/escrow", json=CREATES["/api/escrow"]).json()["escrow_id"]
    payer.get(f"/escrow/{escrow_id}")
    payer.get("/api/escrows")
    sandbox.escrows.release(escrow_id, "payer")
    assert [call.act for call in sandbox.received] == ["create"]


def test_a_create_that_makes_no_sense_is_recorded_without_a_token(sandbox, as_agent):
    as_agent("payer").post("/escrow/create", content=b"{")
    assert sandbox.received == [Received("create", "")]
