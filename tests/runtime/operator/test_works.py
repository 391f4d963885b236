"""A work is paid once, however often its Job is created, and whichever Jobs and operators begin it at one moment."""

import json

import pytest
from lightkube.resources.batch_v1 import Job
from lightkube.types import PatchType

from runtime.contract import (
    BY_HAND_ANNOTATION,
    RUN_AGAIN_ANNOTATION,
    SCHEDULED_ANNOTATION,
    WITHHELD_ANNOTATION,
    WORK_ID_ANNOTATION,
    Env,
)
from runtime.kubernetes.new_escrow import work_account
from runtime.payments import escrow_token
from tests.runtime.operator.world import PAYEE, PAYER, Escrow, World, eventually
from tests.runtime.test_escrowctl import escrowctl

REQUEST = json.dumps({"payee": PAYEE, "amountUsdc": "0.50"})
WORK = "report/2026-11"


def asks(world: World, name: str = "report", work_id: str = WORK, **annotations: str):
    """A Job of that work, as a manifest creates it anew each time."""
    return world.job(name, request=REQUEST, suspend=True, annotations={WORK_ID_ANNOTATION: work_id, **annotations})


def account(world: World, work_id: str = WORK) -> dict:
    return world.client.get(Escrow, work_account(work_id)).to_dict()


def paid(world: World, name: str = "report") -> None:
    """The Job of that name runs and is paid."""
    world.await_resumed(name)
    world.finish(name)
    world.eventually(lambda: not world.get_job(name).metadata.finalizers, f"{name} is settled")


def created_anew(world: World, name: str = "report", **more: str):
    """Deleted, and applied again at once by something that keeps its manifest."""
    world.client.delete(Job, name)
    world.await_gone(name)
    return asks(world, name, **more)


def withheld(world: World, name: str = "report") -> str:
    """Why the Job is withheld, once it is."""

    def why() -> str | None:
        return (world.get_job(name).metadata.annotations or {}).get(WITHHELD_ANNOTATION)

    words = world.eventually(why, f"{name} is withheld")
    assert world.get_job(name).spec.suspend
    return words


def test_a_job_that_is_created_anew_after_it_was_paid_is_withheld(world):
    operator = world.operator()
    asks(world)
    paid(world)
    first = account(world)
    anew = created_anew(world)
    words = withheld(world)
    assert first["metadata"]["name"] in words
    assert "ended Paid" in words
    assert "run-again report" in words
    assert len(world.await_event("report", "WorkPaid")) == 1
    repeated = lambda: [c["reason"] for c in account(world)["status"].get("conditions", [])][-1:]  # noqa: E731
    world.eventually(lambda: repeated() == ["WorkPaid"], "it is on record")
    assert anew.metadata.uid not in json.dumps(account(world)["spec"])
    assert set(world.payments().values()) == {"released"}
    operator.stop()
    world.operator()
    world.client.delete(Job, "report")
    world.await_gone("report")
    assert len(world.escrows()) == 1, "nothing is left of it"


def test_a_job_of_a_work_under_way_waits_and_leaves_it_alone(world):
    world.operator()
    asks(world)
    world.await_resumed("report")
    asks(world, "copy")
    assert "is under way" in withheld(world, "copy")
    paid(world)
    assert set(world.payments().values()) == {"released"}


@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_of_many_jobs_and_operators_at_one_moment_one_is_paid(world):
    for _ in range(3):
        world.operator(wait=False)
    names = [f"job-{number}" for number in range(12)]
    for name in names:
        asks(world, name)
    world.eventually(lambda: [name for name in names if not world.get_job(name).spec.suspend], "one runs", 120)
    for name in names:
        if world.get_job(name).spec.suspend:
            withheld(world, name)
    running = [name for name in names if not world.get_job(name).spec.suspend]
    assert len(running) == 1
    paid(world, *running)
    assert list(world.payments().values()) == ["released"]
    assert len(world.escrows()) == 1


def test_in_annotation_mode_a_second_job_of_a_paid_work_is_not_settled(world):
    world.operator()
    identity = {WORK_ID_ANNOTATION: WORK}
    first, second = world.fund(token="by-hand-first"), world.fund(token="by-hand-second")
    world.job("report", first, suspend=True, annotations=identity)
    paid(world)
    world.job("again", second, suspend=True, annotations=identity)
    withheld(world, "again")
    assert world.payments() == {first: "released", second: "funded"}


def test_another_namespace_is_another_work(world):
    other = world.sibling("too")
    world.survivor([world, other])
    for each in (world, other):
        asks(each)
        paid(each)
    assert list(world.payments().values()) == ["released", "released"]


def test_each_scheduled_time_and_each_job_made_by_hand_is_its_own_work(world):
    world.operator()
    runs = {
        "ten": {SCHEDULED_ANNOTATION: "2026-11-27T10:00:00Z"},
        "eleven": {SCHEDULED_ANNOTATION: "2026-11-27T11:00:00Z"},
        "by-hand-1": {BY_HAND_ANNOTATION: "manual"},
        "by-hand-2": {BY_HAND_ANNOTATION: "manual"},
    }
    for name, annotations in runs.items():
        asks(world, name, **annotations)
        paid(world, name)
    for name in ("ten", "by-hand-1"):
        created_anew(world, name, **runs[name])
        withheld(world, name)
    ids = {escrow["spec"]["work"]["id"] for escrow in world.escrows()}
    assert ids == {
        f"{WORK}@2026-11-27T10:00:00Z",
        f"{WORK}@2026-11-27T11:00:00Z",
        f"{WORK}@by-hand/by-hand-1",
        f"{WORK}@by-hand/by-hand-2",
    }
    assert list(world.payments().values()) == ["released"] * 4


def test_a_work_for_which_nothing_was_locked_begins_when_its_job_is_created_anew(world):
    operator = world.operator(PF_NAMESPACE_BUDGET_USDC="0.10")
    asks(world)
    world.eventually(lambda: (world.escrow("report") or {}).get("status", {}).get("conditions"), "it waits for budget")
    world.client.delete(Job, "report")
    world.await_gone("report")
    operator.stop()
    world.operator()
    asks(world)
    paid(world)
    runs = {escrow["spec"]["work"].get("run"): escrow["status"]["outcome"] for escrow in world.escrows()}
    assert runs == {None: "Cancelled", 2: "Paid"}
    created_anew(world)
    assert "ended Paid" in withheld(world)


@pytest.mark.parametrize(("rerun", "outcome"), [("false", "withheld"), ("true", "runs")])
def test_a_work_that_failed_waits_for_a_person_unless_the_setting_says_otherwise(world, rerun, outcome):
    world.operator(**{Env.RERUN_FAILED_WORK: rerun})
    asks(world)
    world.await_resumed("report")
    world.finish("report", succeeded=False)
    world.eventually(lambda: not world.get_job("report").metadata.finalizers, "it is disputed")
    created_anew(world)
    if outcome == "withheld":
        assert "ended Disputed" in withheld(world)
        assert list(world.payments().values()) == ["disputed"]
        return
    paid(world)
    created_anew(world)
    withheld(world)
    assert sorted(world.payments().values()) == ["disputed", "released"]


def test_a_person_runs_it_again_on_purpose_and_that_is_on_record(world):
    world.operator()
    where = ("-n", world.namespace)
    asks(world)
    again = ("run-again", "report", *where, "--reason")
    world.await_resumed("report")
    assert "is not withheld" in escrowctl(world, *again, "why not", expect=2)
    paid(world)
    assert "has ended" in escrowctl(world, *again, "why not", expect=2)
    asks(world, "later")
    created_anew(world)
    withheld(world)
    withheld(world, "later")
    explained = escrowctl(world, "explain", "report", *where)
    assert "is withheld" in explained
    assert "run-again report" in explained
    assert f"Work {WORK}, run 1" in escrowctl(world, "explain", "later", *where)
    assert "say why" in escrowctl(world, *again, " ", expect=2)
    assert "no Job nobody" in escrowctl(world, "run-again", "nobody", *where, "--reason", "x", expect=2)
    assert "run 2 of the work" in escrowctl(world, *again, "the report was lost")
    paid(world)
    assert WITHHELD_ANNOTATION not in world.get_job("report").metadata.annotations
    assert world.get_job("report").metadata.annotations[RUN_AGAIN_ANNOTATION] == "run 2, by admin: the report was lost"
    (act,) = account(world)["status"]["acts"]
    assert (act["who"], act["reason"]) == ("admin", "the report was lost")
    ended = ("was given", "ended Paid")
    world.eventually(lambda: any(words in withheld(world, "later") for words in ended), "it says how the work ended")
    assert world.get_job("later").spec.suspend, "the run was for one Job"
    assert list(world.payments().values()) == ["released"] * 2
    created_anew(world)
    assert "ended Paid" in withheld(world)
    assert len(world.payments()) == 2


def test_a_run_that_nobody_gave_is_not_had_by_an_annotation(world):
    world.operator()
    asks(world)
    paid(world)
    created_anew(world, **{RUN_AGAIN_ANNOTATION: "run 2, by me: because"})
    withheld(world)


@pytest.mark.parametrize("world", ["kubernetes"], indirect=True)
@pytest.mark.parametrize("act", ["locked", "release"])
def test_an_account_that_the_cluster_has_lost_is_found_at_the_service(world, act):
    """As after a restored snapshot of etcd: the service has the work's escrow, the cluster knows nothing of it."""
    escrow_id = world.fund("0.50", token=escrow_token(f"{world.namespace}/{WORK}"))
    if act == "release":
        world.sandbox.escrows.release(escrow_id, PAYER)
    world.operator()
    asks(world)
    if act == "release":
        status = world.await_phase("report", "Settled")["status"]
        assert (status["outcome"], status["drift"]) == ("Paid", True)
        assert world.get_job("report").spec.suspend, "it is not run again"
    else:
        paid(world)
    assert world.payments() == {escrow_id: "released"}


@pytest.mark.parametrize("work_id", ["", " blank", "x" * 129, "two\nlines", "\u200b"])
def test_a_work_id_that_cannot_be_used_is_for_a_person(world, work_id):
    asks(world, work_id=work_id)
    world.operator()
    status = world.await_phase("report", "NeedsReview")["status"]
    assert WORK_ID_ANNOTATION in status["evidence"]
    assert world.payments() == {}


def test_a_work_id_that_is_changed_on_a_running_job_changes_nothing(world):
    operator = world.operator()
    asks(world)
    world.await_resumed("report")
    operator.kill()
    patch = {"metadata": {"annotations": {WORK_ID_ANNOTATION: "another"}}}
    world.client.patch(Job, "report", patch, patch_type=PatchType.MERGE)
    world.operator()
    paid(world)
    assert account(world)["status"]["outcome"] == "Paid"
    assert list(world.payments().values()) == ["released"]


def test_a_work_id_that_comes_later_finds_the_account_that_the_job_has(world):
    """As by manifests of a later version, applied over a Job that runs."""
    operator = world.operator()
    world.job("report", request=REQUEST, suspend=True)
    world.await_resumed("report")
    operator.kill()
    world.client.patch(
        Job, "report", {"metadata": {"annotations": {WORK_ID_ANNOTATION: WORK}}}, patch_type=PatchType.MERGE
    )
    world.operator()
    paid(world)
    assert list(world.payments().values()) == ["released"]
    assert len(world.escrows()) == 1


def test_a_withheld_job_is_let_go_when_it_is_deleted_while_nobody_serves(world):
    operator = world.operator()
    asks(world)
    paid(world)
    asks(world, "copy")
    withheld(world, "copy")
    operator.kill()
    world.client.delete(Job, "copy")
    world.operator()
    world.await_gone("copy")
    assert len(world.escrows()) == 1


def test_names_of_accounts_are_names(world):
    for work_id in ("a", "Ünïcode/Größe 1", "-" * 128, "x" * 253, "Report@2026-11-27T10:00:00Z"):
        name = work_account(work_id)
        spec = {"work": {"kind": "Job", "name": "n", "uid": "u", "id": work_id}, "dialect": "server", "token": "t"}
        assert world.client.create(Escrow({"metadata": {"name": name}, "spec": spec})).metadata.name == name
    eventually(lambda: len(world.escrows()) == 5, "each has a name of its own")
