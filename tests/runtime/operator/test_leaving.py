"""Nothing hangs on a finalizer when things are taken away together: Jobs, operator, namespace."""

import json
import signal
from contextlib import contextmanager

import pytest
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import PatchType

from runtime.contract import Env
from tests.runtime.operator.world import PAYEE, eventually


@contextmanager
def all_at_once(operator):
    """What happens in the block the operator learns of together with its own end."""
    operator.process.send_signal(signal.SIGSTOP)
    yield
    operator.process.send_signal(signal.SIGTERM)
    operator.process.send_signal(signal.SIGCONT)
    assert operator.process.wait(30) == 0


def asks(world, name: str, amount: str):
    request = json.dumps({"payee": PAYEE, "amountUsdc": amount})
    return world.job(name, request=request, suspend=True)


def test_jobs_deleted_at_the_moment_the_operator_stops_are_let_go(world):
    """What `kubectl delete -k` and `helm uninstall` do: the operator learns of both at once."""
    operator = world.operator()
    escrow_id = world.fund()
    world.job("both", escrow_id)
    world.await_phase("both", "Funded")
    with all_at_once(operator):
        world.client.delete(Job, "both")
    assert world.get_job("both") is None
    assert world.escrow("both")["status"]["outcome"] == "Disputed"
    assert world.payments() == {escrow_id: "disputed"}


def test_whatever_the_deleted_jobs_were_at(world):
    """Each state in which the operator may meet a Job that is deleted with it."""
    operator = world.operator()
    names = ("runs", "completed", "failed", "no-time-to-live", "suspended")
    for name in names:
        more = {"ttlSecondsAfterFinished": 0} if name == "no-time-to-live" else {}
        world.job(name, world.fund(token=f"by-hand-{name}"), suspend=name == "suspended", **more)
        world.await_phase(name, "Funded")
    asks(world, "poor", "250.00")
    world.eventually(lambda: _waits(world, "poor"), "it waits for funds")
    with all_at_once(operator):
        world.finish("completed")
        world.finish("failed", succeeded=False)
        world.finish("no-time-to-live")
        for name in ("completed", "failed", "no-time-to-live"):
            world.eventually(lambda name=name: _terminal(world.get_job(name)), f"{name} has ended")
        world.eventually(
            lambda: world.get_job("no-time-to-live").metadata.deletionTimestamp, "its time to live is over"
        )
        for name in (*names, "poor"):
            world.client.delete(Job, name)
    assert [name for name in (*names, "poor") if world.get_job(name)] == [], operator.log()
    assert {name: world.escrow(name)["status"]["outcome"] for name in (*names, "poor")} == {
        "runs": "Disputed",
        "completed": "Paid",
        "failed": "Disputed",
        "no-time-to-live": "Paid",
        "suspended": "Disputed",
        "poor": "Cancelled",
    }
    assert sorted(world.payments().values()) == ["disputed", "disputed", "disputed", "released", "released"]


def _waits(world, job: str) -> bool:
    escrow = world.escrow(job)
    return bool(escrow and escrow.get("status", {}).get("conditions"))


def _terminal(job) -> bool:
    return any(c.type in ("Complete", "Failed") for c in job.status.conditions or [])


@pytest.mark.parametrize("world", ["kubernetes"], indirect=True)
def test_an_escrow_of_unknown_fate_does_not_hold_its_deleted_job(world):
    """The answer to its creation was lost, and the service is down since: the next operator finds and disputes it."""
    operator = world.operator()
    world.sandbox.fault("create", "reset", moment="after")
    world.sandbox.fault("list", "status", status=503)
    asks(world, "limbo", "0.50")
    world.eventually(lambda: _waits(world, "limbo"), "its escrow is asked for")
    with all_at_once(operator):
        world.client.delete(Job, "limbo")
    assert world.get_job("limbo") is None, operator.log()
    assert world.escrow("limbo")["status"]["phase"] == "Pending"
    world.sandbox.clear_faults()
    world.operator()
    status = world.await_phase("limbo", "Settled")["status"]
    assert status["outcome"] == "Disputed"
    assert "deleted before it had ended" in status["reason"]
    assert [*world.payments().values()] == ["disputed"]


def test_a_replica_that_does_not_lead_settles_what_a_dead_leader_left(world):
    """The Lease of the dead one outlasts the other's last seconds: nobody would be left to let go of the Job."""
    election = {Env.LEADER_ELECTION: "true"}
    leader = world.operator(**election, **{Env.POD_NAME: "leader"})
    world.job("both", world.fund())
    world.await_phase("both", "Funded")
    waiting = world.operator(**election, **{Env.POD_NAME: "waiting"})
    leader.kill()
    world.client.delete(Job, "both")
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.process.wait(30) == 0
    assert world.get_job("both") is None, waiting.log()
    assert world.escrow("both")["status"]["outcome"] == "Disputed"


def test_jobs_that_are_deleted_while_it_settles_the_others_are_let_go_too(world):
    """The Jobs of a CronJob: the garbage collector deletes them when it comes to it."""
    operator = world.operator()
    world.job("first", world.fund(token="by-hand-first"))
    world.job("second", world.fund(token="by-hand-second"))
    world.await_phase("first", "Funded")
    world.await_phase("second", "Funded")
    world.sandbox.fault("dispute", "delay", seconds=3, times=1)
    operator.process.send_signal(signal.SIGSTOP)
    world.client.delete(Job, "first")
    operator.process.send_signal(signal.SIGTERM)
    operator.process.send_signal(signal.SIGCONT)
    eventually(lambda: "settled first: 1" in operator.log(), "it settles the first")
    world.client.delete(Job, "second")
    assert operator.process.wait(30) == 0
    assert world.get_job("second") is None, operator.log()
    assert sorted(world.payments().values()) == ["disputed", "disputed"]


def test_a_job_that_runs_on_is_not_touched_by_the_operators_end(world):
    operator = world.operator()
    escrow_id = world.fund()
    world.job("runs-on", escrow_id)
    world.await_phase("runs-on", "Funded")
    assert operator.stop() == 0
    assert world.escrow("runs-on")["status"]["phase"] == "Funded"
    assert world.payments() == {escrow_id: "funded"}


def test_a_payment_service_that_hiccups_at_the_end_is_asked_again(world):
    operator = world.operator()
    escrow_id = world.fund()
    world.job("hiccup", escrow_id)
    world.await_phase("hiccup", "Funded")
    world.sandbox.fault("read", "status", status=503, times=8)
    world.client.delete(Job, "hiccup")
    operator.process.send_signal(signal.SIGTERM)
    world.await_gone("hiccup")
    assert world.escrow("hiccup")["status"]["phase"] == "Settled", "first, for the operator's rights may go next"
    assert operator.process.wait(30) == 0
    assert world.payments() == {escrow_id: "disputed"}, operator.log()
    assert world.get_job("hiccup") is None


def test_a_namespace_that_is_deleted_with_its_operator_goes(world):
    """Pods go first, so a pod that holds out stands for the operator's own, which was just told to stop."""
    operator = world.operator()
    escrow_id = world.fund()
    world.job("inside", escrow_id)
    world.await_phase("inside", "Funded")
    world.job("waits", request=json.dumps({"payee": PAYEE, "amountUsdc": "5000.00"}), suspend=True)
    world.await_event("waits", "InsufficientBalance")
    hold = Pod.from_dict(
        {
            "metadata": {"name": "hold", "finalizers": ["example.com/hold"]},
            "spec": {"containers": [{"name": "main", "image": "agent:1"}]},
        }
    )
    world.client.create(hold)
    world.client.delete(Namespace, world.namespace)
    assert operator.stop() == 0
    assert world.payments() == {escrow_id: "disputed"}, operator.log()
    assert "namespace was deleted" in world.escrow("inside")["status"]["reason"]
    assert (world.escrow("waits") or {"status": {"phase": "gone"}})["status"]["phase"] in ("Settled", "gone")
    world.client.patch(Pod, "hold", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
    eventually(lambda: not world.exists(), "the namespace is gone")


def test_the_way_out_by_hand(world):
    """What docs/operator.md says for an operator that is gone for good."""
    operator = world.operator()
    world.job("stranded", world.fund())
    world.await_phase("stranded", "Funded")
    operator.kill()
    world.client.delete(Job, "stranded")
    assert world.get_job("stranded").metadata.finalizers
    world.client.patch(Job, "stranded", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
    world.await_gone("stranded")
