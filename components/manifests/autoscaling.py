"""Scaling the workers on the escrow queue: an HPA on the custom metrics API, or KEDA's ScaledObject."""

from typing import Final

from components.manifests import naming
from components.manifests.naming import Manifest, metadata
from components.settings import Settings
from runtime.contract import QUEUE_METRIC, Port, ProgramName, Route

_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": naming.WORKERS}
BEHAVIOR: Final[Manifest] = {
    "scaleUp": {"stabilizationWindowSeconds": 30, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]},
    "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
}


def horizontal_pod_autoscaler(settings: Settings) -> Manifest:
    """The HPA: `AverageValue`, because `Value` multiplies the queue by the replicas that are already there."""
    hpa = settings.hpa
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(settings, naming.AUTOSCALER, ProgramName.WORKER),
        "spec": {
            "scaleTargetRef": _TARGET,
            "minReplicas": hpa.min_replicas,
            "maxReplicas": hpa.max_replicas,
            "metrics": [
                {
                    "type": "Object",
                    "object": {
                        "metric": {"name": QUEUE_METRIC},
                        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": naming.METRICS_SERVER},
                        "target": {"type": "AverageValue", "averageValue": str(hpa.escrow_queue_threshold)},
                    },
                }
            ],
            "behavior": BEHAVIOR,
        },
    }


def scaled_object(settings: Settings) -> Manifest:
    """KEDA's counterpart; when the queue cannot be read the number of workers stays, it never falls to zero."""
    hpa = settings.hpa
    url = f"http://{naming.METRICS_SERVER}.{settings.namespace}.svc:{Port.METRICS.value}{Route.QUEUE_DEPTH_JSON.value}"
    trigger = {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {"url": url, "valueLocation": QUEUE_METRIC, "targetValue": str(hpa.escrow_queue_threshold)},
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(settings, naming.AUTOSCALER, ProgramName.WORKER),
        "spec": {
            "scaleTargetRef": _TARGET,
            "pollingInterval": hpa.metrics_server.poll_seconds,
            "minReplicaCount": hpa.min_replicas,
            "maxReplicaCount": hpa.max_replicas,
            "fallback": {"failureThreshold": 3, "replicas": hpa.min_replicas, "behavior": "currentReplicasIfHigher"},
            "advanced": {"horizontalPodAutoscalerConfig": {"name": naming.AUTOSCALER, "behavior": BEHAVIOR}},
            "triggers": [trigger],
        },
    }
