"""Scaling the workers on the escrow queue: an HPA on one of the metrics APIs, or KEDA's ScaledObject."""

from typing import Final

from components.manifests import naming
from components.manifests.naming import Manifest, metadata
from components.settings import Settings
from components.settings.section import ScalingRule
from runtime.contract import QUEUE_METRIC, Port, ProgramName, Route

_TARGET: Final = {"apiVersion": "apps/v1", "kind": "Deployment", "name": naming.WORKERS}


def behavior(settings: Settings) -> Manifest:
    """How fast; for both engines the same."""
    hpa = settings.hpa
    return {"scaleUp": _rules(hpa.scale_up), "scaleDown": _rules(hpa.scale_down)}


def _rules(rule: ScalingRule) -> Manifest:
    policy = {"type": "Pods", "value": rule.pods, "periodSeconds": rule.period_seconds}
    return {"stabilizationWindowSeconds": rule.stabilization_seconds, "policies": [policy]}


def horizontal_pod_autoscaler(settings: Settings) -> Manifest:
    """The HPA: `AverageValue`, because `Value` multiplies the queue by the replicas that are already there."""
    hpa = settings.hpa
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(settings, naming.AUTOSCALER, ProgramName.WORKER),
        "spec": {
            "scaleTargetRef": dict(_TARGET),
            "minReplicas": hpa.min_replicas,
            "maxReplicas": hpa.max_replicas,
            "metrics": [_metric(settings)],
            "behavior": behavior(settings),
        },
    }


def _metric(settings: Settings) -> Manifest:
    metric = {"name": QUEUE_METRIC}
    target = {"type": "AverageValue", "averageValue": str(settings.hpa.escrow_queue_threshold)}
    if settings.hpa.engine == "external":
        return {"type": "External", "external": {"metric": metric, "target": target}}
    described = {"apiVersion": "v1", "kind": "Service", "name": naming.METRICS_SERVER}
    return {"type": "Object", "object": {"metric": metric, "describedObject": described, "target": target}}


def trigger_authentication(settings: Settings) -> Manifest:
    """The token that KEDA shows: minted anew each time, and good for reading the queue alone."""
    token = {"parameter": "token", "serviceAccountName": naming.QUEUE_READER}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata(settings, naming.QUEUE_READER, ProgramName.METRICS),
        "spec": {"boundServiceAccountToken": [token]},
    }


def scaled_object(settings: Settings) -> Manifest:
    """KEDA's counterpart; when the queue cannot be read the number of workers stays, it never falls to zero."""
    hpa = settings.hpa
    url = f"http://{naming.METRICS_SERVER}.{settings.namespace}.svc:{Port.METRICS.value}{Route.QUEUE_DEPTH_JSON.value}"
    trigger = {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {
            "url": url,
            "valueLocation": QUEUE_METRIC,
            "targetValue": str(hpa.escrow_queue_threshold),
            "authMode": "bearer",
        },
        "authenticationRef": {"name": naming.QUEUE_READER},
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(settings, naming.AUTOSCALER, ProgramName.WORKER),
        "spec": {
            "scaleTargetRef": dict(_TARGET),
            "pollingInterval": hpa.metrics_server.poll_seconds,
            "minReplicaCount": hpa.min_replicas,
            "maxReplicaCount": hpa.max_replicas,
            # `replicas` has to be there, and is not looked at.
            "fallback": {"failureThreshold": 3, "replicas": max(1, hpa.min_replicas), "behavior": "currentReplicas"},
            "advanced": {"horizontalPodAutoscalerConfig": {"name": naming.AUTOSCALER, "behavior": behavior(settings)}},
            "triggers": [trigger],
        },
    }
