"""A Job runs only for money that was seen: the escrow that it names is looked at before the Job is resumed."""

import json

import pytest

from runtime.contract import WORK_ID_ANNOTATION, Env
from runtime.sandbox.escrows import Terms
from tests.runtime.operator.world import PAYEE, PAYER, STRICT, Escrow

BOTH = pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)


def refused(world, name: str = "works") -> str:
    """Why the Job's escrow cannot be used; the Job does not run, and nothing is sent."""
    evidence = world.await_phase(name, "NeedsReview")["status"]["evidence"]
    assert world.get_job(name).spec.suspend
    assert [call.act for call in world.sandbox.received if call.act != "create"] == []
    world.await_event(name, "EscrowNeedsReview")
    return evidence


def by_hand(world, terms: str) -> str:
    """An escrow whose terms somebody wrote with no program of ours."""
    return world.sandbox.escrows.create(PAYER, Terms(PAYEE, 1_000_000, terms), payee_must_exist=True)["id"]


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
    world.operator(**{Env.RESYNC_SECONDS: "1"})
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


def test_an_escrow_that_does_not_say_for_which_job_it_is(world):
    """Whoever may create a Job could else name somebody else's: have it paid by `true`, or disputed by a failure."""
    world.operator(**STRICT)
    escrow_id = world.fund(job="the-owners")
    world.job("works", escrow_id, suspend=True)
    assert "do not name this work" in refused(world)
    world.job("the-owners", escrow_id, suspend=True)
    world.await_resumed("the-owners")
    world.finish("the-owners")
    assert world.await_phase("the-owners", "Settled")["status"]["outcome"] == "Paid"


@BOTH
def test_a_person_may_write_into_the_terms_which_work_an_escrow_is_for(world):
    world.operator(**STRICT)
    for name, work in (("by-name", "by-name"), ("by-work", "monthly")):
        terms = f"{world.namespace}/{work}"
        escrow_id = by_hand(world, terms if world.dialect == "kubernetes" else f"summaries [{terms}]")
        world.job(name, escrow_id, suspend=True, annotations={WORK_ID_ANNOTATION: work})
        world.await_resumed(name)


def test_the_same_name_in_another_namespace_is_another_job(world):
    world.operator(**STRICT)
    escrow_id = by_hand(world, "elsewhere/works")
    world.job("works", escrow_id, suspend=True)
    assert "its terms say 'elsewhere/works'" in refused(world)


def test_the_platform_may_allow_an_escrow_that_does_not_name_its_job(world):
    ids = [world.fund(token=f"by-hand-{number:04d}") for number in range(4)]
    tied = [f"{ids[1]}={world.namespace}/tied", f"{ids[2]}={world.namespace}/other"]
    world.operator(**{Env.ALLOWED_ESCROWS: json.dumps([ids[0], *tied, "esc_no*"])})
    for name, escrow_id in zip(("allowed", "tied", "tied-to-another", "unknown"), ids, strict=True):
        world.job(name, escrow_id, suspend=True)
    world.await_resumed("allowed")
    world.await_resumed("tied")
    for name in ("tied-to-another", "unknown"):
        assert "do not name this work" in refused(world, name)


@pytest.mark.parametrize("world", ["fly"], indirect=True)
def test_where_the_terms_cannot_be_read_the_platform_has_to_allow_it(world):
    world.operator(**STRICT, AGENT_ID=PAYER)
    world.job("works", world.fund(job="works"), suspend=True)
    assert "its terms cannot be read here" in refused(world)


def test_an_escrow_that_pays_the_payer(world):
    world.operator(AGENT_ID=PAYER)
    world.sandbox.issue_key("rich")
    world.sandbox.deposit("rich", "5.00")
    theirs = world.sandbox.escrows.create("rich", Terms(PAYER, 1_000_000, "theirs"), payee_must_exist=True)
    world.job("works", theirs["id"], suspend=True)
    assert f"it pays {PAYER}" in refused(world)


def test_a_spent_escrow_is_not_paid_a_second_time_after_its_account_was_deleted(world):
    world.operator()
    escrow_id = world.fund(job="works")
    world.job("works", escrow_id, suspend=True)
    world.await_resumed("works")
    world.finish("works")
    world.await_phase("works", "Settled")
    name = world.escrow("works")["metadata"]["name"]
    world.eventually(lambda: "finalizers" not in world.escrow("works")["metadata"], "nothing holds it")
    world.client.delete(Escrow, name)
    world.job("again", escrow_id, suspend=True)
    status = world.await_phase("again", "NeedsReview")["status"]
    assert "was released before this work was bound to it" in status["evidence"]
    assert "outcome" not in status
    assert world.get_job("again").spec.suspend
