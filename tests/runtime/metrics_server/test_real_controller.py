"""The real HPA controller, aggregator and kubectl against the metrics server; the simulator against the controller.

Each autoscaler follows a trace of its own, told by a label selector. What the controller did at each of its syncs is
held against what the simulator does at the same moment with the same value.
"""

import asyncio
import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest
from lightkube import codecs
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiregistration_v1 import APIService
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler

from components.autoscaling_sim.controller import Autoscaler
from components.manifests import metrics_server
from components.settings import Settings
from runtime.contract import QUEUE_METRIC
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.kubeconfig import KubeconfigLogin
from runtime.metrics_server.certificates import OwnCertificate
from runtime.metrics_server.reading import Figures, Unknown
from runtime.metrics_server.selectors import Selector
from runtime.metrics_server.serving import ApiServer
from tests.e2e.kubectl import Kubectl
from tests.ports import free_port
from tests.toolchain import waiting
from tests.toolchain.fixtures import require

pytestmark = pytest.mark.xdist_group("custom-metrics")  # one metrics API on a cluster

LIFETIME = timedelta(seconds=15)
"""Of a certificate: the next one comes after 10 s."""


def rules(window: int, pods: int, period: int) -> dict:
    policy = {"type": "Pods", "value": pods, "periodSeconds": period}
    return {"stabilizationWindowSeconds": window, "policies": [policy]}


class Case:
    """One autoscaler and the depths that it is told, sync by sync; the last one stays."""

    def __init__(self, replicas: int, depths: list[int | None], least: int = 1, up=None, down=None) -> None:
        self.replicas = replicas
        self.depths = depths
        self.least = least
        self.behavior = {"scaleUp": up or rules(0, 100, 2), "scaleDown": down or rules(0, 100, 2)}
        self.syncs: list[tuple[float, int | None, int]] = []
        """Moment, depth and the replicas that were there."""

    def spec(self, name: str) -> dict:
        selector = {"matchLabels": {"trace": name}}
        described = {"apiVersion": "v1", "kind": "Service", "name": "pf-metrics-server"}
        metric = {
            "metric": {"name": QUEUE_METRIC, "selector": selector},
            "describedObject": described,
            "target": {"type": "AverageValue", "averageValue": "10"},
        }
        return {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": self.least,
            "maxReplicas": 20,
            "metrics": [{"type": "Object", "object": metric}],
            "behavior": self.behavior,
        }


# The controller of test clusters syncs every 1.5 s, and no window here is a multiple of that: a sync in which one ends
# could be told either way.
CASES = {
    "tolerance": Case(2, [21, 22, 23, 23, 27, 28, 33, 34]),
    "jump": Case(2, [10, 200, 200], up=rules(4, 9, 4)),
    "fall": Case(8, [80, 80, 1, 1], down=rules(4, 4, 4)),
    "zero": Case(1, [5, 0, 0, 0, 7, 7, 0], least=0),
    "unknown": Case(3, [30, None, None, 60, None, 10]),
    "defaults": Case(1, [10, 90, 90, 90, 15], up=rules(0, 4, 8), down=rules(5, 100, 2)),
}
SYNCS = 10


class Traces:
    """In place of the readings: tells each its own depth, and writes down what was there."""

    def __init__(self, client) -> None:
        self._client = client

    def figures(self, selects: Selector | None = None) -> Figures:
        if selects is None:
            return Figures(1, 100_000, 1.0, 0.0)
        name = next(name for name in CASES if selects({"trace": name}))
        case, now = CASES[name], time.monotonic()
        found = self._client.get(Deployment, name)
        if (found.status.replicas or 0) != found.spec.replicas:
            # The controller divides by the pods that there are. While they come or go it is told nothing, and waits.
            raise Unknown("its pods are not what is wanted yet")
        depth = case.depths[min(len(case.syncs), len(case.depths) - 1)]
        case.syncs.append((now, depth, found.spec.replicas))
        if depth is None:
            raise Unknown("of this trace")
        return Figures(depth, None, None, 0.0)


@pytest.fixture
def served(node, namespace) -> Iterator[Callable[[], None]]:
    """The API on this machine behind a Service of the cluster; raises where it broke."""
    settings = Settings.parse({"namespace": namespace.name, "createNamespace": False})
    port, stop, failed = free_port(), asyncio.Event(), []
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "pf-metrics-server", "namespace": namespace.name},
            "spec": {"ports": [{"name": "custom-metrics", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "pf-metrics-server-1",
                "namespace": namespace.name,
                "labels": {"kubernetes.io/service-name": "pf-metrics-server"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [node.host_address], "conditions": {"ready": True}}],
            "ports": [{"name": "custom-metrics", "port": port, "protocol": "TCP"}],
        },
        *(metrics_server.api_service(settings, version) for version in ("v1beta1", "v1beta2")),
    ]
    for manifest in objects:
        namespace.client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        try:
            async with KubernetesApi("tests", KubeconfigLogin([node.kubeconfig])) as api:
                own = partial(OwnCertificate, lifetime=LIFETIME, overlap_seconds=3)
                traces = Traces(namespace.client)
                await ApiServer(api, traces, namespace.name, own=own).run(port, stop)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()

    def available() -> bool:
        assert not failed, failed
        found = [
            namespace.client.get(APIService, f"{version}.custom.metrics.k8s.io").status.conditions or []
            for version in ("v1beta1", "v1beta2")
        ]
        return all(any(one.type == "Available" and one.status == "True" for one in each) for each in found)

    waiting.until("the APIServices are available", available)
    http = namespace.client._client._client
    waiting.until(  # the aggregator acts on that a moment later
        "the aggregator passes requests on",
        lambda: all(http.get(f"/apis/custom.metrics.k8s.io/{v}").status_code == 200 for v in ("v1beta1", "v1beta2")),
    )
    try:
        yield available
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
        for version in ("v1beta1", "v1beta2"):
            namespace.client.delete(APIService, f"{version}.custom.metrics.k8s.io")


def test_the_controller_and_the_simulator_agree_sync_by_sync(node, namespace, served, tmp_path):
    kubectl = Kubectl(require("node", "kubectl"), node.kubeconfig, namespace.name, tmp_path)
    assert f"services/{QUEUE_METRIC}" in kubectl.raw("/apis/custom.metrics.k8s.io/v1beta2")
    path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace.name}/services/pf-metrics-server/{QUEUE_METRIC}"
    assert json.loads(kubectl.raw(path))["items"][0]["value"] == "1"
    for name, case in CASES.items():
        case.syncs.clear()
        namespace.client.create(workload(name, case.replicas))
    for name, case in CASES.items():
        # Those of a workload that has no pods yet are infinitely busy, by that division.
        waiting.until(f"{name} has its pods", partial(has_pods, namespace.client, name, case.replicas))
        scaler = {"metadata": {"name": name}, "spec": case.spec(name)}
        namespace.client.create(HorizontalPodAutoscaler.from_dict(scaler))
    asked, gaps = ask_all_the_while(namespace, path)
    authority = registered(namespace)

    def done() -> bool:
        return all(len(case.syncs) > SYNCS for case in CASES.values())

    def state() -> str:
        counts = {name: len(case.syncs) for name, case in CASES.items()}
        return f"{counts}\n{kubectl('describe', 'hpa')[-4000:]}"

    waiting.until("every autoscaler had its syncs", done, 60, state)
    frozen = namespace.client.get(HorizontalPodAutoscaler, "unknown")
    assert frozen.status.desiredReplicas == 1
    asked.set()
    assert gaps == [], "a certificate is replaced without a gap"
    assert registered(namespace) != authority, "and it was"
    for name, case in CASES.items():
        compare(name, case)
    assert [replicas for *_, replicas in CASES["zero"].syncs[:6]] == [1, 1, 0, 0, 0, 1]
    seen = [replicas for *_, replicas in CASES["unknown"].syncs[:7]]
    assert seen == [3, 3, 3, 3, 6, 6, 1], "what is unknown freezes"


def registered(namespace) -> str:
    """The authority that the aggregator checks the server's certificate by."""
    return namespace.client.get(APIService, "v1beta2.custom.metrics.k8s.io").spec.caBundle


def workload(name: str, replicas: int) -> Deployment:
    """A Deployment whose pods no scheduler knows: they count, and cost nothing."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "a", "image": "a:1"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return Deployment.from_dict({"metadata": ObjectMeta(name=name).to_dict(), "spec": spec})


def has_pods(client, name: str, count: int) -> bool:
    return client.get(Deployment, name).status.replicas == count


def compare(name: str, case: Case) -> None:
    """Hold each sync's outcome against the simulator's, a third of a second around the moment at which it was asked."""
    scaler = Autoscaler(case.spec(name), case.syncs[0][2])
    for number, ((moment, depth, before), (*_, after)) in enumerate(zip(case.syncs, case.syncs[1:], strict=False)):
        assert scaler.replicas == before, (name, number)
        tries = [copy.deepcopy(scaler) for _ in range(3)]
        results = [
            one.sync(moment + shift, None if depth is None else depth * 1000)
            for one, shift in zip(tries, (0.0, 0.3, -0.3), strict=True)
        ]
        assert after in results, (name, number, depth, before, after, results, case.syncs)
        scaler = tries[results.index(after)]


def ask_all_the_while(namespace, path: str) -> tuple[threading.Event, list[str]]:
    """Ask through the API server until the event is set; what went wrong."""
    end, wrong = threading.Event(), []

    def ask() -> None:
        while not end.wait(0.2):
            try:
                namespace.client._client._client.get(path).raise_for_status()
            except Exception as error:  # whatever it is, it is a gap
                wrong.append(repr(error))

    threading.Thread(target=ask, daemon=True).start()
    return end, wrong
