"""Jobs end, and the operator pays or disputes: on a real API server with a real Job controller."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from lightkube.resources.core_v1 import Namespace
from lightkube.types import PatchType

from runtime.contract import ESCROW_ID_ANNOTATION, SETTLED_ANNOTATION, SETTLEMENT_FINALIZER, Env
from runtime.kubernetes.new_escrow import escrow_name, new_escrow
from runtime.payments import escrow_token
from tests.runtime.operator.world import PAYEE, Escrow, await_list, eventually

BY_DIALECT = pytest.mark.parametrize("world", ["server", "kubernetes", "fly"], indirect=True)


@BY_DIALECT
def test_a_completed_job_is_paid_once_and_accounted_for(world):
    world.operator()
    escrow_id = world.fund("1.00")
    world.job("summarise", escrow_id)
    world.await_phase("summarise", "Funded")
    world.finish("summarise")
    status = world.await_phase("summarise", "Settled")["status"]
    assert (status["outcome"], status["jobEnding"]["type"]) == ("Paid", "Complete")
    assert world.payments() == {escrow_id: "released"}
    if world.dialect == "server":
        assert (status["paidUsdc"], status["feeUsdc"], status["payee"]) == ("0.99", "0.01", PAYEE)
    world.client.delete(type(world.get_job("summarise")), "summarise")
    world.await_gone("summarise")
    assert world.escrow("summarise")["status"]["outcome"] == "Paid", "the account outlives the Job"
    assert not world.escrow("summarise")["metadata"].get("finalizers"), "nothing holds a closed account"


def test_a_failed_job_is_disputed_with_the_container_its_exit_code_and_last_words(world):
    world.operator()
    escrow_id = world.fund()
    world.job("translate", escrow_id)
    world.finish("translate", succeeded=False, message="cannot read\x1b[31m model\n" + "x" * 2000, code=7)
    status = world.await_phase("translate", "Settled")["status"]
    assert status["outcome"] == "Disputed"
    assert "container main exited with 7: cannot read" in status["reason"]
    assert "\x1b" not in status["reason"]
    assert "\n" not in status["reason"]
    assert len(status["reason"]) <= 400
    assert world.payments() == {escrow_id: "disputed"}


def test_a_job_without_labels_or_finalizer_is_guarded_by_the_operator(world):
    world.operator()
    world.job("plain", world.fund(), finalizer=False)
    world.await_phase("plain", "Funded")
    world.eventually(
        lambda: SETTLEMENT_FINALIZER in (world.get_job("plain").metadata.finalizers or ()), "it is guarded"
    )


def test_ttl_zero_cannot_win_the_race(world):
    world.operator()
    escrow_id = world.fund()
    world.job("quick", escrow_id, ttlSecondsAfterFinished=0)
    world.finish("quick")
    assert world.await_phase("quick", "Settled")["status"]["outcome"] == "Paid"
    world.await_gone("quick")


def test_what_ended_while_the_operator_was_away_is_caught_up(world):
    done, failed = world.fund(token="by-hand-done"), world.fund(token="by-hand-fail")
    world.job("done", done, ttlSecondsAfterFinished=0)
    world.job("failed", failed)
    world.finish("done")
    world.finish("failed", succeeded=False)
    world.eventually(lambda: (world.get_job("done").status.conditions or [None])[-1], "it has ended")
    world.operator()
    assert world.await_phase("done", "Settled")["status"]["outcome"] == "Paid"
    assert world.await_phase("failed", "Settled")["status"]["outcome"] == "Disputed"
    assert world.payments() == {done: "released", failed: "disputed"}


def test_a_running_job_that_is_deleted_is_disputed_and_let_go(world):
    world.operator()
    escrow_id = world.fund()
    job = world.job("halfway", escrow_id)
    world.await_phase("halfway", "Funded")
    world.client.delete(type(job), "halfway")
    status = world.await_phase("halfway", "Settled")["status"]
    assert (status["outcome"], status["jobEnding"]["type"]) == ("Disputed", "Deleted")
    world.await_gone("halfway")
    assert world.payments() == {escrow_id: "disputed"}


def test_a_job_recreated_under_the_same_name_is_another_piece_of_work(world):
    world.operator()
    first, second = world.fund(token="by-hand-one"), world.fund(token="by-hand-two")
    for escrow_id in (first, second):
        job = world.job("daily", escrow_id)
        world.finish("daily")
        world.eventually(lambda job=job: _outcome(world, job.metadata.uid) == "Paid", "it is paid")
        world.client.delete(type(job), "daily")
        world.await_gone("daily")
    assert len(world.escrows()) == 2
    assert world.payments() == {first: "released", second: "released"}


def _outcome(world, uid: str) -> str | None:
    found = {e["spec"]["job"]["uid"]: e.get("status", {}).get("outcome") for e in world.escrows()}
    return found.get(uid)


def test_an_annotation_that_changes_later_moves_no_money(world):
    world.operator()
    agreed, other = world.fund(token="by-hand-agreed"), world.fund(token="by-hand-other")
    world.job("steady", agreed)
    world.await_phase("steady", "Funded")
    patch = {"metadata": {"annotations": {ESCROW_ID_ANNOTATION: other}}}
    job = world.get_job("steady")
    world.client.patch(type(job), "steady", patch)
    world.finish("steady")
    assert world.await_phase("steady", "Settled")["spec"]["escrowId"] == agreed
    assert world.payments() == {agreed: "released", other: "funded"}


def test_two_jobs_that_name_one_escrow_are_never_both_paid(world):
    world.operator()
    escrow_id = world.fund()
    world.job("first", escrow_id)
    world.await_phase("first", "Funded")
    world.job("second", escrow_id)
    status = world.await_phase("second", "NeedsReview")["status"]
    assert escrow_id in status["evidence"]
    assert "escrow of its own" in status["remedy"]
    world.finish("second")
    world.finish("first")
    assert world.await_phase("first", "Settled")["status"]["outcome"] == "Paid"
    assert world.escrow("second")["status"]["phase"] == "NeedsReview"
    world.await_event("second", "EscrowNeedsReview")


@pytest.mark.parametrize("annotation", ["", "a/../b", "esc 1", "é" * 10, "x" * 300])
def test_a_malformed_annotation_is_for_a_person(world, annotation):
    world.operator()
    world.job("crooked", annotation)
    status = world.await_phase("crooked", "NeedsReview")["status"]
    assert ESCROW_ID_ANNOTATION in status["evidence"]
    assert "Nothing was sent" in status["remedy"]
    job = world.get_job("crooked")
    world.finish("crooked")
    world.client.delete(type(job), "crooked")
    world.await_gone("crooked")


def test_an_escrow_that_another_released_or_that_ran_out_is_recorded_as_that(world):
    released, expired = world.fund(token="by-hand-rel"), world.fund(token="by-hand-exp")
    world.operator()
    world.job("paid-by-hand", released)
    world.job("too-late", expired)
    world.await_phase("paid-by-hand", "Funded")
    world.await_phase("too-late", "Funded")
    world.sandbox.escrows.release(released, "payer-agent")
    status = world.await_phase("paid-by-hand", "Settled")["status"]
    assert (status["outcome"], status["drift"]) == ("Paid", True)
    world.sandbox.advance(hours=25)
    status = world.await_phase("too-late", "Settled")["status"]
    assert (status["outcome"], status["drift"]) == ("Refunded", True)
    world.finish("too-late")
    world.finish("paid-by-hand")
    assert world.payments() == {released: "released", expired: "refunded"}


def test_another_payers_escrow_is_refused_by_the_service_and_left_to_a_person(world):
    world.sandbox.issue_key("stranger")
    world.sandbox.deposit("stranger", "5.00")
    world.key, ours = world.sandbox.issue_key("stranger"), world.key
    foreign = world.fund()
    world.key = ours
    funded = world.job("not-mine", foreign).metadata.uid
    known = {"token": escrow_token(funded), "escrow_id": foreign, "payee": None, "amount": None}
    escrow = new_escrow(world.namespace, "not-mine", funded, dialect="server", **known)
    world.client.create(Escrow(escrow))  # bound unseen, as by an earlier version
    world.client.patch(Escrow.Status, escrow_name(funded), {"status": {"phase": "Funded"}}, patch_type=PatchType.MERGE)
    world.operator()
    world.finish("not-mine")
    status = world.await_phase("not-mine", "NeedsReview")["status"]
    assert "403" in status["evidence"] or "forbidden" in json.dumps(status)
    assert world.payments() == {foreign: "funded"}


def test_no_release_without_auto_release(world):
    world.operator(PF_AUTO_RELEASE="false")
    escrow_id = world.fund()
    world.job("for-payroll", escrow_id)
    world.finish("for-payroll")
    world.eventually(
        lambda: "jobEnding" in (world.escrow("for-payroll") or {}).get("status", {}), "the end is on record"
    )
    job = world.get_job("for-payroll")
    world.client.delete(type(job), "for-payroll")
    world.await_gone("for-payroll")
    assert world.escrow("for-payroll")["status"]["phase"] == "Funded"
    assert world.payments() == {escrow_id: "funded"}


def test_deleting_the_namespace_of_running_work_ends_right(world):
    """For an operator outside it, with rights that outlast it; how one inside ends is in test_leaving."""
    world.grant_selector()
    doomed = world.sibling("doomed")
    patch = {"metadata": {"labels": {"team": world.namespace}}}
    world.client.patch(Namespace, doomed.namespace, patch)
    world.operator(WATCH_NAMESPACE=f"selector:team={world.namespace}")
    escrow_id = doomed.fund()
    doomed.job("orphan", escrow_id)
    doomed.await_phase("orphan", "Funded")
    world.client.delete(Namespace, doomed.namespace)
    eventually(lambda: not doomed.exists(), "the namespace ends: nothing of it is held any more")
    assert world.payments() == {escrow_id: "disputed"}


def test_names_at_the_limit_unicode_and_large_annotations(world):
    """63 characters are the most a Job's name may have; 256 KiB the most its annotations may weigh."""
    world.operator()
    name = "n" * 63
    escrow_id = world.fund()
    world.job(name, escrow_id, annotations={"example.com/blob": "ü" * 100_000, "example.com/emoji": "\N{MONEY BAG}"})
    world.finish(name, succeeded=False, message="\N{MONEY BAG} weg \u202e")
    status = world.await_phase(name, "Settled")["status"]
    assert status["outcome"] == "Disputed"
    assert "\u202e" not in status["reason"]


def test_several_namespaces_and_a_selector(world):
    """One operator serves the namespaces that it is told, by name; another those that carry a label."""
    other = world.sibling("more")
    world.survivor([world, other])
    for where in (world, other):
        escrow_id = where.fund(token=f"token-{where.namespace}")
        where.job("there", escrow_id)
        where.finish("there")
        assert where.await_phase("there", "Settled")["spec"]["escrowId"] == escrow_id


def test_a_selector_finds_namespaces_that_come_later(world):
    """And as long as it finds none it serves none, though it has the rights on all."""
    world.grant_selector()
    world.job("stranger", world.fund(token="by-hand-stranger"))
    world.operator(WATCH_NAMESPACE=f"selector:team={world.namespace}", PF_RESYNC_SECONDS="1")
    later = world.sibling("later")
    later.job("early-bird", later.fund())
    patch = {"metadata": {"labels": {"team": world.namespace}}}
    world.client.patch(Namespace, later.namespace, patch)
    later.finish("early-bird")
    assert later.await_phase("early-bird", "Settled")["status"]["outcome"] == "Paid"
    assert world.escrow("stranger") is None


def test_an_escrow_of_the_first_version_is_carried_on(world):
    """The stored form of version 0.1: an operator of any later version must settle it."""
    escrow_id = world.fund()
    job = world.job("inherited", escrow_id)
    stored = {
        "apiVersion": "purpleflea.com/v1alpha1",
        "kind": "Escrow",
        "metadata": {"name": f"job-{job.metadata.uid}"},
        "spec": {
            "job": {"name": "inherited", "uid": job.metadata.uid},
            "dialect": "server",
            "token": "pf-0123456789abcdef",
            "escrowId": escrow_id,
        },
    }
    world.client.create(Escrow(stored))
    status = {
        "phase": "Decided",
        "intent": "release",
        "reason": "Job inherited completed",
        "decidedAt": "2026-11-01T00:00:00.000000Z",
        "jobEnding": {"type": "Complete", "time": "2026-11-01T00:00:00Z"},
    }
    world.client.patch(Escrow.Status, stored["metadata"]["name"], {"status": status}, patch_type=PatchType.MERGE)
    world.operator()
    assert world.await_phase("inherited", "Settled")["status"]["outcome"] == "Paid"
    assert world.payments() == {escrow_id: "released"}


def test_a_job_that_runs_into_the_services_time_out_is_warned_about_once(world):
    operator = world.operator(PF_RESYNC_SECONDS="1")
    world.job("slow", world.fund())
    world.await_phase("slow", "Funded")
    near = (datetime.now(UTC) + timedelta(minutes=30)).isoformat().replace("+00:00", "Z")
    name = world.escrow("slow")["metadata"]["name"]
    world.client.patch(Escrow.Status, name, {"status": {"autoReleaseAt": near}}, patch_type=PatchType.MERGE)
    eventually(lambda: "escrow_expiring 1.0" in operator.metrics(), "the metric says so")
    await_list(operator)
    assert len(world.await_event("slow", "EscrowExpiring")) == 1


def settled(world, *names: str) -> None:
    """Jobs of that name, paid and let go of."""
    for name in names:
        world.job(name, world.fund(token=f"by-hand-{name}"))
        world.finish(name)
    for name in names:
        world.await_phase(name, "Settled")
        world.eventually(lambda name=name: not world.get_job(name).metadata.finalizers, "it is let go of")


def test_what_is_settled_is_marked_on_the_job_and_costs_a_later_operator_no_look(world):
    operator = world.operator()
    settled(world, "one", "two", "three")
    metadata = world.get_job("two").metadata
    assert metadata.annotations[SETTLED_ANNOTATION] == metadata.uid
    operator.stop()
    later = world.operator()
    await_list(later)
    assert 'workqueue_work_duration_seconds_count{name="jobs"} 0.0' in later.metrics()


def test_a_copy_of_a_settled_job_is_not_taken_for_settled(world):
    world.operator()
    settled(world, "original")
    annotations = world.get_job("original").metadata.annotations
    assert {SETTLED_ANNOTATION, ESCROW_ID_ANNOTATION} <= annotations.keys()
    world.job("copy", annotations=annotations)
    assert "already pays for the Job" in world.await_phase("copy", "NeedsReview")["status"]["evidence"]


def bound_twice(world) -> tuple[str, str, str]:
    """Two Jobs bound to one escrow, as operators may have done before there were claims: their names, its id."""
    escrow_id = world.fund()
    for second, name in enumerate(("one", "two")):
        job = world.job(name, escrow_id)
        spec = {"job": {"name": name, "uid": job.metadata.uid}, "dialect": "server", "token": f"pf-token-{name}"}
        metadata = {"name": f"job-{job.metadata.uid}"}
        world.client.create(Escrow({"metadata": metadata, "spec": {**spec, "escrowId": escrow_id}}))
        locked_at = f"2026-11-01T00:00:0{second}Z"  # the first one bound is the one that is paid
        bound = {"status": {"phase": "Funded", "lockedUsdc": "1.00", "lockedAt": locked_at}}
        world.client.patch(Escrow.Status, metadata["name"], bound, patch_type=PatchType.MERGE)
    return "one", "two", escrow_id


def test_of_two_bound_to_one_escrow_by_an_earlier_version_one_is_paid_and_the_other_is_for_a_person(world):
    one, two, escrow_id = bound_twice(world)
    for name in (one, two):
        world.finish(name)
        world.eventually(lambda name=name: world.get_job(name).status.completionTime, "it has ended")
    world.operator()
    ends = [world.await_phase(name, "Settled", "NeedsReview") for name in (one, two)]
    paid, refused = sorted(ends, key=lambda end: end["status"]["phase"], reverse=True)
    assert [end["status"]["phase"] for end in (paid, refused)] == ["Settled", "NeedsReview"], ends
    assert paid["status"]["outcome"] == "Paid"
    assert paid["spec"]["job"]["uid"] in refused["status"]["evidence"]
    assert world.payments() == {escrow_id: "released"}


def test_an_escrow_that_paid_for_one_job_is_not_taken_for_the_payment_of_another_that_still_runs(world):
    keeper, other, escrow_id = bound_twice(world)
    world.operator(**{Env.RESYNC_SECONDS: "1"})
    world.finish(keeper)
    assert world.await_phase(keeper, "Settled", "NeedsReview")["status"].get("outcome") == "Paid"
    status = world.await_phase(other, "Settled", "NeedsReview")["status"]
    assert status["phase"] == "NeedsReview", status
    assert world.get_job(keeper).metadata.uid in status["evidence"]
    assert world.payments() == {escrow_id: "released"}
