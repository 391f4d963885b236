"""Which Escrows are the operator's, and what it does about one that cannot be read."""

import json

from lightkube.resources.batch_v1 import Job
from lightkube.types import PatchType

from runtime.contract import Env
from tests.runtime.operator.world import PAYEE, Escrow, await_list, eventually

NO_TIME = "2026-01-01T00:00:00+99:99"
"""A `date-time` to the API server."""


def account(world, name: str, spec: dict, status: dict) -> None:
    """An Escrow as somebody else left it."""
    agreed = {"dialect": "server", "token": f"pf-{name}", "escrowId": world.fund(token=f"by-hand-{name}")}
    world.client.create(Escrow({"metadata": {"name": name}, "spec": agreed | spec}))
    world.client.patch(Escrow.Status, name, {"status": status}, patch_type=PatchType.MERGE)


def status(world, name: str) -> dict:
    return world.client.get(Escrow, name).to_dict()["status"]


def test_a_task_is_not_an_orphan(world):
    """Payroll's accounts have no Job, in any phase; the sums hold them."""
    work = {"kind": "Task", "name": "summary", "taskId": "t-1", "id": "summary/1"}
    left = {"phase": "Funded", "lockedUsdc": "1.00"}
    account(world, "task-1", {"work": work}, left)
    decided = {"phase": "Decided", "intent": "release", "decidedAt": "2026-01-01T00:00:00Z", "lockedUsdc": "1.00"}
    account(world, "task-2", {"work": work | {"taskId": "t-2"}}, decided)
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    for _ in range(3):
        await_list(operator)
    assert status(world, "task-1") == left
    assert status(world, "task-2") == decided
    assert "escrow_locked_usdc 2.0" in operator.metrics()
    assert set(world.payments().values()) == {"funded"}


def test_an_account_of_the_version_before_is_gone_on_with(world):
    job = world.job("stored")
    uid = job.metadata.uid
    account(world, f"job-{uid}", {"job": {"name": "stored", "uid": uid}}, {"phase": "Funded"})
    world.operator()
    world.finish("stored")
    assert world.await_phase("stored", "Settled")["status"]["outcome"] == "Paid"
    world.eventually(lambda: not world.get_job("stored").metadata.finalizers, "the Job may go")


def test_a_new_account_says_what_it_pays_for_in_both_ways(world):
    world.operator()
    world.job("new", world.fund())
    spec = world.await_phase("new", "Funded")["spec"]
    uid = world.get_job("new").metadata.uid
    assert spec["work"] == {"kind": "Job", "name": "new", "uid": uid}
    assert spec["job"] == {"name": "new", "uid": uid}, "for an operator of the version before"


def test_an_account_that_cannot_be_read_is_named_counted_and_left_alone(world):
    """A time that is none ended the process, at every start."""
    job = world.job("odd", annotations={"example.com/a": "b"})
    name = f"job-{job.metadata.uid}"
    odd = {"phase": "Funded", "autoReleaseAt": NO_TIME, "lockedUsdc": "1.00"}
    account(world, name, {"job": {"name": "odd", "uid": job.metadata.uid}}, odd)
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    world.job("fine", world.fund(token="by-hand-fine"))
    world.finish("fine")
    world.finish("odd")
    assert world.await_phase("fine", "Settled")["status"]["outcome"] == "Paid"
    await_list(operator)
    await_list(operator)
    assert 'escrow_malformed{kind="Escrow"} 1.0' in operator.metrics()
    assert status(world, name) == odd
    assert world.get_job("odd").metadata.finalizers, "it waits for somebody"
    named = [line for line in operator.log().splitlines() if f"{name} cannot be read" in line]
    assert len(named) == 1
    assert "$.status.autoReleaseAt" in named[0]
    world.client.patch(Escrow.Status, name, {"status": {"autoReleaseAt": None}}, patch_type=PatchType.MERGE)
    assert world.await_phase("odd", "Settled")["status"]["outcome"] == "Paid", "once it is mended"
    eventually(lambda: 'escrow_malformed{kind="Escrow"} 0.0' in operator.metrics(), "and no longer counted")


def test_what_cannot_be_read_counts_as_unknown_in_a_budget(world):
    job = world.job("odd")
    odd = {"phase": "Funded", "lockedAt": NO_TIME, "lockedUsdc": "1.00"}
    account(world, f"job-{job.metadata.uid}", {"job": {"name": "odd", "uid": job.metadata.uid}}, odd)
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "50.00"})
    world.job("asks", request=json.dumps({"payee": PAYEE, "amountUsdc": "0.50"}), suspend=True)
    world.eventually(lambda: (world.escrow("asks") or {}).get("status", {}).get("conditions"), "it waits")
    condition = world.escrow("asks")["status"]["conditions"][0]
    assert condition["reason"] == "OverBudget"
    assert "what is locked in the namespace is not known" in condition["message"]


def test_all_that_the_operator_writes_bears_its_name(world):
    world.operator(**{Env.LEADER_ELECTION: "true"})
    world.job("named", world.fund())
    world.finish("named")
    world.await_phase("named", "Settled")
    world.eventually(lambda: not world.get_job("named").metadata.finalizers, "it is done")
    escrow = world.escrow("named")
    managers = {entry["manager"] for entry in escrow["metadata"]["managedFields"]}
    assert managers == {"purpleflea-operator"}
    job = world.client.get(Job, "named")
    assert {entry.manager for entry in job.metadata.managedFields} <= {
        "tests",
        "kube-controller-manager",
        "purpleflea-operator",
    }
