"""The real HPA controller scales real worker pods on a real queue: from zero up, frozen, and back.

Everything between is what the stack renders: the metrics server in its pod with the rights and the CA of its own, the
APIServices, the autoscaler, the workers. The sandbox runs on this machine, so that its line can be cut.
"""

from decimal import Decimal

import pytest
from lightkube import codecs
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler

from components.manifests import autoscaling, naming, stack
from components.settings.budget import exposure
from runtime.contract import CUSTOM_METRICS_GROUP, QUEUE_METRIC
from tests.e2e.conftest import workers_settings
from tests.e2e.kubectl import Kubectl
from tests.runtime.operator.world import install_definition
from tests.runtime.payroll.world import payroll_world
from tests.toolchain import waiting
from tests.toolchain.fixtures import require

pytestmark = pytest.mark.xdist_group("custom-metrics")  # one metrics API on a cluster

AT_ONCE = {"stabilizationSeconds": 0, "pods": 10, "periodSeconds": 1}
METRICS_PODS = "app.kubernetes.io/component=metrics-server"
MOST = 3
TASKS = 5
"""At a target of two: three workers."""


@pytest.fixture
def scaled(node, namespace, node_image, sandbox, kubectl, tmp_path):
    """The world of a stack that scales to zero, its settings and the line to the payment service."""
    running, link = sandbox
    install_definition(node)
    with payroll_world(node, namespace.name, namespace.client, running, "kubernetes", tmp_path) as world:
        hpa = {
            "minReplicas": 0,
            "maxReplicas": MOST,
            "escrowQueueThreshold": 2,
            "scaleUp": AT_ONCE,
            "scaleDown": AT_ONCE,
            "metricsServer": {"pollSeconds": 5},
        }
        off = {"enabled": False}
        settings = workers_settings(namespace.name, node_image, link.url(), hpa=hpa, networkPolicy=off)
        parts = stack.parts(settings, world.key)
        found = [
            codecs.from_dict(one) for name in ("Credentials", "AgentWorkers", "Autoscaling") for one in parts[name]
        ]
        try:
            for each in found:
                namespace.client.apply(each, field_manager="tests", force=True)
            yield world, settings, link
        finally:
            for one in parts["Autoscaling"]:
                if "namespace" not in one["metadata"]:
                    kubectl("delete", one["kind"], one["metadata"]["name"])


@pytest.fixture
def kubectl(node, namespace, tmp_path) -> Kubectl:
    return Kubectl(require("node", "kubectl"), node.kubeconfig, namespace.name, tmp_path)


@pytest.mark.checklist("K12", "K13", "K14")
def test_workers_come_and_go_with_the_money_waiting(scaled, kubectl, seen):
    world, settings, link = scaled
    most = exposure(settings)
    assert most.total == MOST * settings.task_budget(settings.worker) * Decimal("1.01")
    seen("exposure, known before", most, "K14")
    client = world.client

    def active() -> str:
        """The autoscaler's condition ScalingActive, as `STATUS REASON: MESSAGE`."""
        status = client.get(HorizontalPodAutoscaler, naming.AUTOSCALER).status
        found = [one for one in (status and status.conditions) or [] if one.type == "ScalingActive"]
        return "".join(f"{one.status} {one.reason}: {one.message}" for one in found)

    def workers() -> tuple[int, int]:
        """How many are wanted, and how many are ready."""
        found = client.get(Deployment, naming.WORKERS)
        return found.spec.replicas, found.status.readyReplicas or 0

    def until(what: str, probe) -> None:
        waiting.until(what, probe, 90, lambda: kubectl("describe", "hpa") + kubectl("get", "pods,hpa,events"))

    until("nothing waits, and nobody is there", lambda: workers() == (0, 0))

    escrows = [world.task(number) for number in range(TASKS)]
    until("five tasks wake three workers", lambda: workers() == (MOST, MOST))
    metric = f"namespaces/{world.namespace}/services/{naming.METRICS_SERVER}/{QUEUE_METRIC}"
    assert f'"value":"{TASKS}"' in kubectl.raw(f"/apis/{CUSTOM_METRICS_GROUP}/v1beta2/{metric}")
    seen("escrow_queue_depth", f"{TASKS} by the custom metrics API, unknown while the service is away", "K12")
    grown = f"0, then {MOST} for {TASKS} tasks at a target of 2, frozen while the queue is unknown, then 0"
    seen("workers", grown, "K13")
    until("kubectl tells it", lambda: "1667m/2 (avg)" in kubectl("get", "hpa", naming.AUTOSCALER))

    with link.cut():
        # A new process has no reading of before: what it cannot read now it does not know.
        kubectl("delete", "pods", "--wait=false", "--selector", METRICS_PODS)
        until("it is frozen", lambda: "escrow_queue_depth is unknown" in active())
        assert workers() == (MOST, MOST)
        assert active().startswith("False FailedGetObjectMetric")
    until("it goes on", lambda: active().startswith("True ValidMetricFound"))

    for escrow in escrows:
        world.handed(escrow)
    until("all is done and the last worker gone", lambda: workers() == (0, 0))
    assert {*world.kept()} == {*escrows}

    client.delete(HorizontalPodAutoscaler, naming.AUTOSCALER)
    client.create(codecs.from_dict(autoscaling.horizontal_pod_autoscaler(settings)))
    world.task(99)
    until("one that was made anew leaves them at zero", lambda: active().startswith("False ScalingDisabled"))
    assert workers() == (0, 0)
    kubectl("scale", "deployment", naming.WORKERS, "--replicas=1")
    until("by hand it is woken", lambda: active().startswith("True ValidMetricFound"))
