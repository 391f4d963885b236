"""Nothing waits unseen: a payment that waits says why, and what a person must not lose is held until it is settled."""

import json

import pytest
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace
from lightkube.types import PatchType

from runtime.contract import ESCROW_REQUEST_ANNOTATION, SCHEDULED_ANNOTATION, Env
from tests.runtime.operator.proof import numbered
from tests.runtime.operator.step_proxy import Counter
from tests.runtime.operator.world import PAYEE, Escrow, eventually
from tests.runtime.test_escrowctl import escrowctl

REQUEST = json.dumps({"payee": PAYEE, "amountUsdc": "0.50"})
REVOKED = {"status": 401, "body": {"error": "unauthorized"}}


def unserved(operator) -> float:
    """How many it counts; a cluster that many tests share has others."""
    return operator.metric("escrow_unserved")


def served_no_more(world) -> str:
    """What is said of its namespace, which has one open account."""
    return f"namespace {world.namespace} is served no more, with 1 open Escrows in it"


def condition(world, job: str, of_type: str) -> tuple[str, str] | None:
    """Status and reason of a condition of the Job's Escrow."""
    found = (world.escrow(job) or {}).get("status", {}).get("conditions", [])
    return next(((one["status"], one["reason"]) for one in found if one["type"] == of_type), None)


def test_a_revoked_key_shows_on_every_payment_that_waits_for_it(world):
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    world.job("done", request=REQUEST, suspend=True)
    world.await_resumed("done")
    world.sandbox.fault("*", "status", **REVOKED)
    world.finish("done")
    world.eventually(lambda: condition(world, "done", "Settled") == ("False", "Unauthorized"), "the payment waits")
    world.job("new", request=REQUEST, suspend=True)
    world.eventually(lambda: condition(world, "new", "Funded") == ("False", "Unauthorized"), "so does the new Job")
    eventually(lambda: 'escrow_waiting{reason="Unauthorized"} 2.0' in operator.metrics(), "both are counted")
    assert 'escrow_api_errors_total{api="payments",kind="Unauthorized"}' in operator.metrics()
    for job in ("done", "new"):
        assert len(world.await_event(job, "Unauthorized")) == 1
    world.sandbox.clear_faults()
    assert world.await_phase("done", "Settled")["status"]["outcome"] == "Paid"
    world.await_resumed("new")
    world.eventually(lambda: condition(world, "done", "Settled") == ("True", "Paid"), "it waits no more")
    eventually(lambda: "escrow_waiting{" not in operator.metrics(), "nothing waits")


def test_a_job_that_a_replace_took_our_marks_off_is_paid(world):
    """`kubectl replace` writes the whole object: without our annotations, without our finalizer."""
    world.operator()
    world.job("plain", request=REQUEST, suspend=True)
    world.await_resumed("plain")
    bare = {"metadata": {"annotations": None, "finalizers": None}}
    world.client.patch(Job, "plain", bare, patch_type=PatchType.MERGE)
    world.eventually(lambda: world.get_job("plain").metadata.finalizers, "it is held again")
    world.client.patch(Job, "plain", bare, patch_type=PatchType.MERGE)
    world.finish("plain")
    assert world.await_phase("plain", "Settled")["status"]["outcome"] == "Paid"


def test_an_account_in_review_is_held_until_a_person_has_closed_it(world):
    world.operator()
    world.job("argued", request=REQUEST, suspend=True)
    world.await_resumed("argued")
    world.sandbox.fault("release", "status", status=400, body={"error": "nonsense"})
    world.finish("argued")
    name = world.await_phase("argued", "NeedsReview")["metadata"]["name"]
    world.eventually(lambda: not world.get_job("argued").metadata.finalizers, "the Job is let go")
    world.client.delete(Escrow, name)
    assert world.client.get(Escrow, name).metadata.deletionTimestamp
    escrowctl(world, "resolve", name, "-n", world.namespace, "--as", "Paid", "--reason", "seen at the service")
    world.eventually(lambda: world.escrow("argued") is None, "it goes once that is on record")


def test_an_account_in_review_without_money_is_not_held(world):
    world.operator()
    world.job("crooked", request="{}", suspend=True)
    name = world.await_phase("crooked", "NeedsReview")["metadata"]["name"]
    world.eventually(lambda: not world.client.get(Escrow, name).metadata.finalizers, "nothing is at stake")


@pytest.mark.parametrize("waits_for", ["money", "a key"])
def test_a_schedules_run_that_gets_no_money_ends_in_time_without_having_run(world, waits_for):
    """A run that waits counts as active: with `concurrencyPolicy: Forbid` the schedule would never run again."""
    operator = world.operator(**{Env.SCHEDULED_WAIT_SECONDS: "3"})
    amount = "0.50"
    if waits_for == "money":
        amount = "250.00"
    else:
        world.sandbox.fault("create", "status", **REVOKED)
    request = json.dumps({"payee": PAYEE, "amountUsdc": amount})
    at = {SCHEDULED_ANNOTATION: "2026-11-28T00:00:00Z", ESCROW_REQUEST_ANNOTATION: request}
    world.job("nightly", annotations=at, suspend=True)
    world.job("by-hand", request=request, suspend=True)
    account = world.await_phase("nightly", "Settled")
    assert account["status"]["outcome"] == "Cancelled"
    assert "no money came within 3 s" in world.await_event("nightly", "WaitEnded")[0]
    failed = world.get_job("nightly").status
    assert [one.reason for one in failed.conditions if one.type == "Failed"] == ["DeadlineExceeded"]
    assert {failed.failed, failed.succeeded, failed.active} <= {None, 0}
    assert world.get_job("by-hand").spec.suspend, "a Job of nobody's schedule waits on"
    assert not world.payments()
    assert 'escrow_funded_total{outcome="WaitEnded"} 1.0' in operator.metrics()


def test_open_accounts_of_a_namespace_that_is_served_no_more_are_counted(world):
    """Its label went: its work is paid by nobody, and was held for ever without a word."""
    world.grant_selector()
    far = world.sibling("far")

    def label(team: str | None) -> None:
        world.client.patch(Namespace, far.namespace, {"metadata": {"labels": {"team": team}}})

    label(world.namespace)
    settings = {Env.WATCH_NAMESPACE: f"selector:team={world.namespace}", Env.RESYNC_SECONDS: "1"}
    settings[Env.NAMESPACE_BUDGET_USDC] = "1.00"  # without a limit nothing is funded outside of its own namespace
    operator = world.operator(**settings)
    far.job("open", request=REQUEST, suspend=True)
    far.await_resumed("open")
    label(None)
    eventually(lambda: unserved(operator) >= 1, "it is counted")
    eventually(lambda: served_no_more(far) in operator.log(), "it is said")
    operator.kill()
    stranger = world.operator(**settings, **{Env.API_DIALECT: "kubernetes"})
    passes = stranger.metric("escrow_last_list_timestamp_seconds")
    eventually(lambda: stranger.metric("escrow_last_list_timestamp_seconds") > passes, "it has been through all")
    assert served_no_more(far) not in stranger.log(), "one that would not settle it does not miss it"
    stranger.kill()
    restarted = world.operator(**settings)
    eventually(lambda: unserved(restarted) >= 1, "also by one that never served it")
    eventually(lambda: served_no_more(far) in restarted.log(), "and said")
    far.finish("open")
    label(world.namespace)
    assert far.await_phase("open", "Settled")["status"]["outcome"] == "Paid"
    eventually(lambda: "escrow_unserved 0.0" in restarted.metrics(), "it is served again")


def test_a_namespace_that_cannot_be_read_for_a_while_is_still_counted(world):
    """Unknown is not zero: after one answer of 503 its open accounts were forgotten until a restart."""
    world.grant_selector()
    far = world.sibling("far")
    served = {"metadata": {"labels": {"team": world.namespace}}}
    world.client.patch(Namespace, far.namespace, served)
    settings = {Env.WATCH_NAMESPACE: f"selector:team={world.namespace}", Env.RESYNC_SECONDS: "1"}
    with numbered(world, Counter()) as (environment, api):
        operator = world.operator(**settings, **environment, **{Env.NAMESPACE_BUDGET_USDC: "1.00"})
        far.job("open", request=REQUEST, suspend=True)
        far.await_resumed("open")
        api.overloaded = f"/apis/purpleflea.com/v1alpha1/namespaces/{far.namespace}/"
        world.client.patch(Namespace, far.namespace, {"metadata": {"labels": {"team": None}}})
        eventually(lambda: operator.log().count("503") > 2, "it cannot be read")
        api.overloaded = ""
        eventually(lambda: unserved(operator) >= 1, "it is counted")
        eventually(lambda: served_no_more(far) in operator.log(), "and said")
