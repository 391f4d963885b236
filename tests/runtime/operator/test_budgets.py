"""A cap is a cap: reserved in the API server before anything is sent, whoever asks at one moment."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from lightkube.resources.batch_v1 import Job
from lightkube.types import PatchType

from runtime.contract import AGENT_LABEL, BUDGET_LABEL, BUDGET_NAME, Env
from runtime.kubernetes.new_escrow import escrow_name, new_escrow
from runtime.kubernetes.shape import stamp
from runtime.payments import escrow_token
from tests.runtime.operator.world import PAYEE, Budget, Escrow, World, await_list, eventually
from tests.runtime.test_escrowctl import escrowctl

TODAY = datetime.now(UTC).date().isoformat()


def asks(world: World, name: str, amount: str = "0.10", payee: str = PAYEE, agent: str = "") -> None:
    """A Job that has its agent's label from its creation on, as every rendered one."""
    request = json.dumps({"payee": payee, "amountUsdc": amount})
    world.job(name, request=request, suspend=True, labels={AGENT_LABEL: agent} if agent else {})


def waiting(world: World, job: str) -> str:
    """Why a Job waits, once it does."""

    def condition() -> dict | None:
        found = (world.escrow(job) or {}).get("status", {}).get("conditions")
        return found[0] if found and found[0]["status"] == "False" else None

    found = world.eventually(condition, f"{job} waits")
    return f"{found['reason']}: {found['message']}"


def poke(world: World, job: str) -> None:
    """Have the operator look at a Job before its minute is over."""
    now = {"metadata": {"labels": {"poked": datetime.now(UTC).strftime("%H%M%S%f")}}}
    world.client.patch(Job, job, now, patch_type=PatchType.MERGE)


def settled(world: World, job: str, *, succeeded: bool = True) -> None:
    world.await_resumed(job)
    world.finish(job, succeeded=succeeded)
    world.eventually(lambda: not world.get_job(job).metadata.finalizers, f"{job} is settled")


def decided(escrow: dict) -> bool:
    """Whether it is funded, or waits for a minute."""
    status = escrow.get("status", {})
    return status.get("phase") == "Funded" or bool(status.get("conditions"))


NO_PASS = {Env.RESYNC_SECONDS: "600"}
"""So that no Job that waits is tried by itself, in the moment in which nothing is locked."""


def locked(world: World, amount: str) -> bool:
    return world.budget().get("lockedUsdc") == amount


def test_of_many_jobs_and_operators_at_one_moment_exactly_as_many_run_as_the_cap_admits(world):
    limits = {Env.NAMESPACE_BUDGET_USDC: "1.00", Env.RESYNC_SECONDS: "600"}
    names = [f"job-{number}" for number in range(40)]
    for name in names:
        asks(world, name)
    for _ in range(3):
        world.operator(wait=False, **limits)
    world.eventually(lambda: all(map(decided, world.escrows())) and len(world.escrows()) == 40, "each is decided", 120)
    eventually(lambda: sum(not world.get_job(name).spec.suspend for name in names) == 10, "ten run", 120)
    assert [call.carried_out for call in world.sandbox.received].count(True) == len(world.payments()) == 10
    budget = world.budget()
    assert (budget["lockedUsdc"], budget["leftUsdc"], budget["spentUsdc"]) == ("1.00", "0.00", "1.00")
    for name in [name for name in names if not world.get_job(name).spec.suspend][:3]:
        settled(world, name)
    for name in names:
        poke(world, name)
    eventually(lambda: len(world.payments()) == 13, "three more, in place of those that are settled", 120)
    statuses = [*world.payments().values()]
    assert (statuses.count("funded"), statuses.count("released")) == (10, 3)


@pytest.mark.parametrize(
    ("limit", "within", "beyond"),
    [
        (Env.AGENT_BUDGET_USDC, ("a", "p1"), ("a", "p2")),
        (Env.AGENT_DAILY_BUDGET_USDC, ("a", "p1"), ("a", "p2")),
        (Env.PAYEE_BUDGET_USDC, ("a", "p1"), ("b", "p1")),
        (Env.PAYEE_DAILY_BUDGET_USDC, ("a", "p1"), ("b", "p1")),
    ],
)
def test_an_agent_and_a_payee_have_limits_of_their_own(world, limit, within, beyond):
    for payee in ("p1", "p2"):
        world.sandbox.issue_key(payee)
    world.operator(**{limit: "0.60"})
    asks(world, "first", "0.50", within[1], within[0])
    world.await_resumed("first")
    asks(world, "beyond", "0.50", beyond[1], beyond[0])
    assert "0.60" in waiting(world, "beyond")
    asks(world, "others", "0.50", "p2", "c")
    world.await_resumed("others")
    assert len(world.payments()) == 2


def test_what_a_job_brings_counts_and_waits_too(world):
    """Also where it is another day than by UTC."""
    now = datetime.now(UTC)
    zone = "Pacific/Kiritimati" if now.hour >= 10 else "Pacific/Pago_Pago"  # fourteen hours ahead, eleven behind
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.BUDGET_TIME_ZONE: zone, **NO_PASS})
    asks(world, "asks", "0.60")
    world.await_resumed("asks")
    world.job("brings", world.fund("0.50"), suspend=True)
    assert waiting(world, "brings").startswith("OverBudget: 0.60 USDC are locked; 0.50 more")
    assert world.get_job("brings").spec.suspend
    settled(world, "asks")
    world.eventually(lambda: locked(world, "0.00"), "it is returned")
    poke(world, "brings")
    settled(world, "brings")
    world.eventually(lambda: locked(world, "0.00"), "it is returned")
    assert world.budget()["spentUsdc"] == "1.10"
    assert world.budget()["day"] == now.astimezone(ZoneInfo(zone)).date().isoformat() != now.date().isoformat()


@pytest.mark.parametrize(("world", "runs"), [("kubernetes", True), ("fly", False)], indirect=["world"])
def test_where_a_job_brings_an_amount_that_nobody_tells_it_waits(world, runs):
    """Unknown is not zero. In `kubernetes` the lists tell it; `fly` tells nothing."""
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.AGENT_ID: "payer-agent"})
    world.job("brings", world.fund("0.50"), suspend=True)
    if runs:
        world.await_resumed("brings")
        assert locked(world, "0.50")
    else:
        assert "AmountUnknown" in waiting(world, "brings")
        world.client.delete(Job, "brings")
        world.await_gone("brings")


@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_where_the_service_does_not_know_what_a_job_brings_it_is_for_a_person(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00"})
    world.job("brings", "esc_0000000000000000", suspend=True)
    status = world.await_phase("brings", "NeedsReview")["status"]
    assert "the payment service does not have it" in status["evidence"]
    assert world.get_job("brings").spec.suspend
    assert locked(world, "0.00")


def test_a_job_that_waits_for_budget_with_an_escrow_of_its_own_is_disputed_when_it_is_deleted(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "0.10"})
    escrow_id = world.fund("0.50")
    world.job("brings", escrow_id, suspend=True)
    waiting(world, "brings")
    world.client.delete(Job, "brings")
    world.await_gone("brings")
    assert world.payments() == {escrow_id: "disputed"}


def test_a_deleted_job_that_brought_what_nobody_knows_stops_nobody_else(world):
    """Its account is for a person, but no operator ever locked anything for it."""
    world.job("brings", "esc_0000000000000000", suspend=True)
    world.client.delete(Job, "brings")
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.RESYNC_SECONDS: "1"})
    world.await_phase("brings", "NeedsReview")
    world.await_gone("brings")
    asks(world, "next", "1.00")
    world.await_resumed("next")


def test_a_create_that_is_refused_returns_what_was_reserved(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "500.00"})
    asks(world, "rich", "250.00")
    assert waiting(world, "rich").startswith("InsufficientBalance")
    nothing = {"lockedUsdc": "0.00", "spentUsdc": "0.00", "pending": []}  # in one look: each pass asks again
    world.eventually(lambda: nothing.items() <= world.budget().items(), "it is returned, and nothing was locked")


def test_what_is_in_review_counts_until_a_person_has_closed_it(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.CASINO_URL: "", **NO_PASS})  # nobody can look for it
    world.sandbox.fault("create", "reset", moment="after", nth=1)
    asks(world, "lost", "0.60")
    world.await_phase("lost", "NeedsReview")
    asks(world, "next", "0.60")
    assert "0.60 USDC are locked" in waiting(world, "next")
    escrowctl(
        world, "resolve", "lost", "-n", world.namespace, "--as", "Refunded", "--reason", "the service returned it"
    )
    world.eventually(lambda: locked(world, "0.00"), "it is returned")
    assert BUDGET_LABEL not in (world.escrow("lost")["metadata"].get("labels") or {})
    poke(world, "next")
    world.await_resumed("next")


def test_what_was_locked_before_there_was_a_budget_counts(world):
    operator = world.operator()
    asks(world, "before", "0.60")
    world.await_resumed("before")
    asks(world, "settled", "0.30")
    settled(world, "settled")
    operator.stop()
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.NAMESPACE_DAILY_BUDGET_USDC: "2.00", **NO_PASS})
    asks(world, "after", "0.60")
    assert "0.60 USDC are locked" in waiting(world, "after")
    budget = world.budget()
    assert (budget["lockedUsdc"], budget["spentUsdc"]) == ("0.60", "0.90")
    settled(world, "before")
    world.eventually(lambda: locked(world, "0.00"), "it is returned")


def test_an_amount_that_an_account_of_before_does_not_tell_is_not_zero(world):
    """An earlier version bound an escrow unseen, where the dialect could not read it."""
    uid = world.job("brings", world.fund("0.50")).metadata.uid
    known = {"token": escrow_token(uid), "escrow_id": "esc_untold", "payee": None, "amount": None}
    world.client.create(Escrow(new_escrow(world.namespace, "brings", uid, dialect=world.dialect, **known)))
    name = escrow_name(uid)
    world.client.patch(Escrow.Status, name, {"status": {"phase": "Funded"}}, patch_type=PatchType.MERGE)
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "5.00"})
    asks(world, "asks")
    words = waiting(world, "asks")
    assert "what is locked in the namespace is not known" in words
    assert name in words


def test_a_budget_that_is_deleted_is_counted_anew(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00"})
    asks(world, "one", "0.60")
    world.await_resumed("one")
    world.client.delete(Budget, BUDGET_NAME)
    asks(world, "two", "0.60")
    assert "0.60 USDC are locked" in waiting(world, "two")
    settled(world, "one")
    poke(world, "two")
    world.await_resumed("two")


def leave(world: World, escrow: str, **reservation: str) -> None:
    """A reservation as an operator leaves it that died long ago."""
    since = stamp(datetime.now(UTC) - timedelta(minutes=5))
    entry = {
        "escrow": escrow,
        "since": since,
        "reservation": {"id": "left", "amountUsdc": "0.60", "day": TODAY, "agent": "", "payee": PAYEE} | reservation,
    }
    line = {"lockedUsdc": "0.60", "spentUsdc": "0.60"}
    status = {"day": TODAY, **line, "agents": [{"name": "", **line}], "payees": [{"name": PAYEE, **line}]}
    body = {"status": status | {"pending": [entry], "returned": []}}
    world.client.patch(Budget.Status, BUDGET_NAME, body, patch_type=PatchType.MERGE)


def test_a_reservation_that_nobody_ever_used_is_returned_by_the_next_pass(world):
    operator = world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00"})
    asks(world, "poor", "250.00")
    waiting(world, "poor")
    operator.kill()
    poor = world.escrow("poor")["metadata"]["name"]
    other = {"type": "Repeated", "status": "True", "reason": "Withheld", "lastTransitionTime": stamp(datetime.now(UTC))}
    conditions = [*world.escrow("poor")["status"]["conditions"], other | {"message": "another Job asks, too"}]
    world.client.patch(Escrow.Status, poor, {"status": {"conditions": conditions}}, patch_type=PatchType.MERGE)
    for escrow in ("job-of-nobody", poor):
        leave(world, escrow)
        operator = world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.RESYNC_SECONDS: "1"})
        world.eventually(lambda: locked(world, "0.00") and not world.budget()["pending"], f"that of {escrow}")
        operator.kill()
    kept = world.escrow("poor")["status"]["conditions"]
    assert {condition["type"] for condition in kept} == {"Funded", "Repeated"}


def test_what_a_dead_operator_had_not_returned_yet_is_returned_though_its_job_is_gone(world):
    limits = {Env.NAMESPACE_BUDGET_USDC: "1.00"}
    operator = world.operator(**limits)
    asks(world, "done", "0.60")
    settled(world, "done")
    world.eventually(lambda: locked(world, "0.00"), "it is returned")
    operator.kill()
    name = world.escrow("done")["metadata"]["name"]
    world.client.delete(Job, "done")
    world.await_gone("done")
    label = {"metadata": {"labels": {BUDGET_LABEL: "counts"}}}
    world.client.patch(Escrow, name, label, patch_type=PatchType.MERGE)
    line = {"lockedUsdc": "0.60", "spentUsdc": "0.60"}
    status = {**line, "agents": [{"name": "", **line}], "payees": [{"name": PAYEE, **line}], "returned": []}
    world.client.patch(Budget.Status, BUDGET_NAME, {"status": status}, patch_type=PatchType.MERGE)
    operator = world.operator(**limits, **{Env.RESYNC_SECONDS: "1"})
    world.eventually(lambda: locked(world, "0.00"), "it is returned")
    world.eventually(lambda: BUDGET_LABEL not in (world.escrow("done")["metadata"].get("labels") or {}), "and says so")
    await_list(operator)
    await_list(operator)
    assert locked(world, "0.00")


def test_an_account_in_review_that_is_deleted_counts_until_a_person_has_let_it_go(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.RESYNC_SECONDS: "1", Env.CASINO_URL: ""})
    world.sandbox.fault("create", "reset", moment="after", nth=1)
    asks(world, "lost", "0.60")
    name = world.await_phase("lost", "NeedsReview")["metadata"]["name"]
    world.eventually(lambda: locked(world, "0.60"), "it counts")
    world.client.delete(Escrow, name)
    world.client.delete(Job, "lost")
    world.await_gone("lost")
    assert locked(world, "0.60"), "it is held"
    escrowctl(world, "let-go", "--all", "-n", world.namespace, "--reason", "nobody knows what became of it")
    world.eventually(lambda: locked(world, "0.00"), "it is gone")
    assert world.budget()["spentUsdc"] == "0.60"


def test_what_payroll_locks_counts_until_it_is_settled(world):
    """Its accounts have no Job; the operator has them count, and returns what they held."""
    limits = {Env.NAMESPACE_BUDGET_USDC: "1.00", Env.RESYNC_SECONDS: "1"}
    work = {"kind": "Task", "name": "summary", "taskId": "t-1"}
    agreed = {"dialect": "server", "token": "pf-task-1", "escrowId": world.fund("0.60"), "payee": PAYEE}
    world.client.create(Escrow({"metadata": {"name": "task-1"}, "spec": {"work": work, **agreed}}))
    now = stamp(datetime.now(UTC))
    held = {"status": {"phase": "Funded", "lockedUsdc": "0.60", "lockedAt": now}}
    world.client.patch(Escrow.Status, "task-1", held, patch_type=PatchType.MERGE)
    world.operator(**limits)
    world.eventually(lambda: locked(world, "0.60"), "it counts")
    asks(world, "job", "0.60")
    assert "0.60 USDC are locked" in waiting(world, "job")
    ended = {"status": {"phase": "Settled", "outcome": "Paid", "closedAt": now}}
    world.client.patch(Escrow.Status, "task-1", ended, patch_type=PatchType.MERGE)
    world.eventually(lambda: locked(world, "0.00"), "it is returned")


def test_it_is_seen_before_it_is_exhausted(world):
    operator = world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00", Env.NAMESPACE_DAILY_BUDGET_USDC: "10.00"})
    asks(world, "one", "0.50")
    world.await_resumed("one")
    asks(world, "two", "0.40")
    world.await_resumed("two")
    messages = world.await_event(BUDGET_NAME, "BudgetNearlyExhausted")
    assert len(messages) == 1
    assert "0.90 of 1.00 USDC are locked" in messages[0]
    page = operator.metrics()
    where = f'{{budget="locked",namespace="{world.namespace}"}}'
    assert f"escrow_budget_used_usdc{where} 0.9" in page
    assert f"escrow_budget_limit_usdc{where} 1.0" in page


def test_a_new_day_begins_with_nothing_spent(world):
    operator = world.operator(**{Env.NAMESPACE_DAILY_BUDGET_USDC: "1.00"})
    asks(world, "one", "0.60")
    settled(world, "one")
    asks(world, "two", "0.60")
    assert "1.00 a day" in waiting(world, "two")
    operator.kill()
    world.client.patch(Budget.Status, BUDGET_NAME, {"status": {"day": "2026-01-01"}}, patch_type=PatchType.MERGE)
    world.operator(**{Env.NAMESPACE_DAILY_BUDGET_USDC: "1.00"})
    world.await_resumed("two")
    assert (world.budget()["day"], world.budget()["spentUsdc"]) == (datetime.now(UTC).date().isoformat(), "0.60")
