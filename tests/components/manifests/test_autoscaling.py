"""Scaling the workers: two engines with one behaviour, and a certificate that nothing undoes."""

import pytest

from components.manifests import autoscaling, metrics_server, operator, rbac, stack
from components.settings import Settings


def kinds(mapping) -> set[str]:
    return {f"{o['kind']} {o['metadata']['name']}" for o in stack.objects(Settings.parse(mapping))}


def test_both_engines_scale_alike():
    hpa = autoscaling.horizontal_pod_autoscaler(Settings())["spec"]
    keda = autoscaling.scaled_object(Settings())["spec"]
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == hpa["behavior"]
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (hpa["minReplicas"], hpa["maxReplicas"])
    target = hpa["metrics"][0]["object"]["target"]
    assert target == {"type": "AverageValue", "averageValue": keda["triggers"][0]["metadata"]["targetValue"]}
    assert keda["scaleTargetRef"] == hpa["scaleTargetRef"]


def test_one_engine_at_a_time():
    hpa, keda = kinds({}), kinds({"hpa": {"engine": "keda"}})
    assert "HorizontalPodAutoscaler pf-agent-hpa" in hpa - keda
    assert "ScaledObject pf-agent-hpa" in keda - hpa
    assert "TriggerAuthentication pf-queue-reader" in keda - hpa
    assert not any(kind.startswith("APIService") for kind in keda)
    without = kinds({"hpa": {"enabled": False}})
    for engine in ("prometheus", "external"):
        added = kinds({"hpa": {"engine": engine}}) - without
        assert not any(kind.startswith(("APIService", "ClusterRole")) for kind in added)
        assert {"HorizontalPodAutoscaler pf-agent-hpa", "Deployment pf-metrics-server"} <= added


def test_how_fast_is_a_setting_and_by_default_the_guides():
    guide = autoscaling.behavior(Settings())
    assert guide["scaleUp"] == {
        "stabilizationWindowSeconds": 30,
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}],
    }
    faster = autoscaling.behavior(Settings.parse({"hpa": {"scaleUp": {"pods": 20, "periodSeconds": 15}}}))
    assert faster["scaleUp"]["policies"] == [{"type": "Pods", "value": 20, "periodSeconds": 15}]
    assert (faster["scaleUp"]["stabilizationWindowSeconds"], faster["scaleDown"]) == (30, guide["scaleDown"])


def test_another_ones_adapter_reads_prometheus_or_anything():
    hpa = autoscaling.horizontal_pod_autoscaler
    ours, theirs = (hpa(Settings.parse({"hpa": {"engine": engine}})) for engine in ("hpa", "prometheus"))
    assert ours == theirs
    (metric,) = hpa(Settings.parse({"hpa": {"engine": "external", "minReplicas": 0}}))["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "10"}


@pytest.mark.parametrize("tls", ["self", "certManager"])
def test_the_aggregator_is_never_told_to_trust_anyone(tls):
    settings = Settings.parse({"hpa": {"metricsServer": {"tls": tls}}})
    for version in ("v1beta1", "v1beta2"):
        made = metrics_server.api_service(settings, version)
        assert not {"insecureSkipTLSVerify", "caBundle"} & set(made["spec"])
        assert ("annotations" in made["metadata"]) is (tls == "certManager")


def test_several_operators_elect_a_leader_and_survive_a_drain():
    def variable(settings):
        env = operator.deployment(settings)["spec"]["template"]["spec"]["containers"][0]["env"]
        return next(v["value"] for v in env if v["name"] == "PF_LEADER_ELECTION")

    one, two = Settings(), Settings.parse({"operator": {"replicas": 2}})
    assert (variable(one), variable(two)) == ("false", "true")
    for settings in (one, two):
        assert operator.deployment(settings)["spec"]["strategy"] == {"type": "Recreate"}
    assert kinds({"operator": {"replicas": 2}}) - kinds({}) == {"PodDisruptionBudget pf-escrow-operator"}
    alone, elected = (rbac.operator_lease_role(settings)["rules"] for settings in (one, two))
    assert elected[:-1] == alone
    assert (elected[-1]["verbs"], elected[-1]["resourceNames"]) == (["patch"], ["pf-escrow-operator"])


def test_every_server_is_probed():
    for o in stack.objects(Settings.parse({"sandbox": {"enabled": True}})):
        if o["kind"] == "Deployment":
            for container in o["spec"]["template"]["spec"]["containers"]:
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), container["name"]
