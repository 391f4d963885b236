"""Nothing hangs on a finalizer when things are taken away together: Jobs, operator, namespace."""

import signal

from lightkube import ApiError
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import PatchType

from tests.runtime.operator.world import eventually


def test_jobs_deleted_at_the_moment_the_operator_stops_are_let_go(world):
    """What `kubectl delete -k` and `helm uninstall` do: the operator learns of both at once."""
    operator = world.operator()
    escrow_id = world.fund()
    world.job("both", escrow_id)
    world.await_phase("both", "Funded")
    operator.process.send_signal(signal.SIGSTOP)
    world.client.delete(Job, "both")
    operator.process.send_signal(signal.SIGTERM)
    operator.process.send_signal(signal.SIGCONT)
    assert operator.process.wait(30) == 0
    assert world.get_job("both") is None
    assert world.escrow("both")["status"]["outcome"] == "Disputed"
    assert world.payments() == {escrow_id: "disputed"}


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
    operator.process.send_signal(signal.SIGSTOP)
    world.client.delete(Job, "hiccup")
    operator.process.send_signal(signal.SIGTERM)
    operator.process.send_signal(signal.SIGCONT)
    assert operator.process.wait(30) == 0
    assert world.payments() == {escrow_id: "disputed"}, operator.log()
    assert world.get_job("hiccup") is None


def test_a_namespace_that_is_deleted_with_its_operator_goes(world):
    """Pods go first, so a pod that holds out stands for the operator's own, which was just told to stop."""
    operator = world.operator()
    escrow_id = world.fund()
    world.job("inside", escrow_id)
    world.await_phase("inside", "Funded")
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
    world.client.patch(Pod, "hold", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
    eventually(lambda: _gone(world), "the namespace is gone")


def _gone(world) -> bool:
    try:
        world.client.get(Namespace, world.namespace)
    except ApiError as error:
        return error.status.code == 404
    return False


def test_the_way_out_by_hand(world):
    """What docs/operator.md says for an operator that is gone for good."""
    operator = world.operator()
    world.job("stranded", world.fund())
    world.await_phase("stranded", "Funded")
    operator.kill()
    world.client.delete(Job, "stranded")
    assert world.get_job("stranded").metadata.finalizers
    world.client.patch(Job, "stranded", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
    eventually(lambda: world.get_job("stranded") is None, "it goes")
