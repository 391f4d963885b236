"""The API server itself, with `dryRun=All`: what it cannot read in a Job is found without it, and nothing else."""

import copy
from collections.abc import Iterator
from typing import Any

from lightkube import KubeConfig
from lightkube.config.client_adapter import Client, ConnectionParams

from runtime.kubernetes.job_schema import complaint

SECRET = {"secretKeyRef": {"name": "keys", "key": "openai", "optional": True}}
CONTAINER = {
    "name": "main",
    "image": "registry.example/agent:1",
    "command": ["agent"],
    "args": ["--once"],
    "workingDir": "/work",
    "env": [{"name": "A", "value": "1"}, {"name": "KEY", "valueFrom": SECRET}],
    "envFrom": [{"prefix": "P_", "configMapRef": {"name": "more"}}],
    "resources": {"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"nvidia.com/gpu": 1}},
    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
    "livenessProbe": {"httpGet": {"path": "/livez", "port": "web"}, "periodSeconds": 5},
    "startupProbe": {"httpGet": {"path": "/livez", "port": 8080}},
    "volumeMounts": [{"name": "scratch", "mountPath": "/work", "readOnly": False}],
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsUser": 1000},
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
}
POD = {
    "restartPolicy": "Never",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": None}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
    "containers": [CONTAINER],
    "overhead": None,
}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "x", "labels": {"team": "a"}, "annotations": {"purpleflea.com/escrow-request": "{}"}},
    "spec": {
        "backoffLimit": 3,
        "suspend": True,
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD},
    },
}
OTHERS: tuple[Any, ...] = ("text", 7, 1.5, True, [], {}, ["text"], [7], {"text": 7}, {"text": "text"})


def changed(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The same value with one thing in it exchanged, for each thing and each kind of value, or a field too many."""
    for other in OTHERS:
        if path and other != value:
            yield f"{path} = {other!r}", other
    if isinstance(value, dict):
        yield f"{path}.fieldOfNone", {**value, "fieldOfNone": "x"}
        for key, item in value.items():
            yield f"{path}.{key} left out", {k: v for k, v in value.items() if k != key}
            yield from ((what, {**value, key: new}) for what, new in changed(item, f"{path}.{key}"))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for what, new in changed(item, f"{path}[{index}]"):
                yield what, [*value[:index], new, *value[index + 1 :]]


def test_what_the_api_server_cannot_read_is_found_without_it(control_plane):
    """400 is "cannot be read"; 422 is a value it does not like, or a field that is missing."""
    http = Client(KubeConfig.from_file(control_plane.kubeconfig).get(), ConnectionParams())
    wrong, counts = [], {201: 0, 400: 0, 422: 0}
    for what, manifest in [("as it is", JOB), *changed(copy.deepcopy(JOB))]:
        if what.startswith((".apiVersion", ".kind", ".metadata.name")):
            continue  # looked at before, with words of their own
        answer = http.post(
            "/apis/batch/v1/namespaces/default/jobs",
            params={"dryRun": "All", "fieldValidation": "Strict"},
            json=manifest,
        )
        counts[answer.status_code] += 1
        found = complaint(manifest)
        if (answer.status_code == 400 and not found) or (answer.status_code == 201 and found):
            wrong.append((what, answer.status_code, found, answer.json().get("message")))
    assert not wrong, "\n".join(map(str, wrong))
    assert min(counts.values()) > 50, "each kind of answer was met"


def test_what_kubectl_prints_can_be_read_again():
    printed = {
        "managedFields": [{"fieldsV1": {"f:spec": {}}}],
        "creationTimestamp": "2026-11-28T00:00:00Z",
        "name": "x",
    }
    assert complaint({**JOB, "metadata": printed, "status": {"active": 1}}) is None
