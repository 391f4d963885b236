"""A Job runs only for money that was seen: the escrow that it names is looked at before the Job is resumed."""

import json

import pytest

from runtime.contract import Env
from runtime.sandbox.escrows import Terms

BOTH = pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)


def refused(world, name: str = "works") -> str:
    """Why the Job's escrow cannot be used; the Job does not run, and nothing is sent."""
    evidence = world.await_phase(name, "NeedsReview")["status"]["evidence"]
    assert world.get_job(name).spec.suspend
    assert [call.act for call in world.sandbox.received if call.act != "create"] == []
    world.await_event(name, "EscrowNeedsReview")
    return evidence


@BOTH
def test_an_escrow_that_the_service_does_not_have(world):
    world.operator()
    world.job("works", "esc_of_nobody", suspend=True)
    assert "escrow esc_of_nobody: the payment service does not have it" in refused(world)


@BOTH
def test_an_escrow_that_was_released_before_pays_for_nothing_more(world):
    """Its account was deleted, and a new Job names the spent id: one payment would be counted twice."""
    world.operator()
    escrow_id = world.fund()
    world.sandbox.resolve(escrow_id, "release")
    world.job("works", escrow_id, suspend=True)
    assert "was released before this work was bound to it" in refused(world)


def test_an_escrow_between_other_agents(world):
    world.operator()
    for agent in ("rich", "friend"):
        world.sandbox.issue_key(agent)
    world.sandbox.deposit("rich", "5.00")
    theirs = world.sandbox.escrows.create("rich", Terms("friend", 1_000_000, "theirs"), payee_must_exist=True)
    world.job("works", theirs["id"], suspend=True)
    assert "between other agents" in refused(world)


@BOTH
def test_while_the_service_is_silent_the_job_waits_and_says_so(world):
    operator = world.operator(wait=False, **{Env.RESYNC_SECONDS: "1"})
    world.eventually(lambda: operator.probe("/readyz") == 200, "the operator is ready")
    escrow_id = world.fund()
    world.sandbox.fault("*", "status", status=503, body={"error": "maintenance"})
    world.job("works", escrow_id, suspend=True)

    def waits() -> bool:
        conditions = (world.escrow("works") or {}).get("status", {}).get("conditions", [])
        return [condition["reason"] for condition in conditions] == ["PaymentServiceUnavailable"]

    world.eventually(waits, "a condition says what it waits for")
    assert world.get_job("works").spec.suspend
    world.sandbox.clear_faults()
    world.await_resumed("works")
    world.finish("works")
    assert world.await_phase("works", "Settled")["status"]["outcome"] == "Paid"


def test_what_is_told_of_an_open_escrow_is_on_record_before_the_job_runs(world):
    world.operator()
    world.job("works", world.fund("0.75"), suspend=True)
    world.await_resumed("works")
    status = world.escrow("works")["status"]
    assert (status["phase"], status["lockedUsdc"]) == ("Funded", "0.75")
    assert status["autoReleaseAt"]
    assert json.dumps(status["claim"])
