"""The API server itself, with `dryRun=All`: what the settings take it takes, what it refuses they refuse."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from lightkube import KubeConfig
from lightkube.config.client_adapter import Client, ConnectionParams

from components.settings import BadSettings, Settings
from tests.components.settings import rules_table as table
from tests.components.settings.test_rules import quantities, schedules
from tests.toolchain.cluster import Cluster

Manifest = dict[str, Any]


class DryRun:
    """Creates that never happen."""

    def __init__(self, cluster: Cluster) -> None:
        self._http = Client(KubeConfig.from_file(cluster.kubeconfig).get(), ConnectionParams())

    def takes(self, path: str, manifest: Manifest) -> bool:
        """Whether the object could be created; anything but a yes and a no is an error."""
        answer = self._http.post(path, params={"dryRun": "All"}, json=manifest)
        assert answer.status_code in (201, 400, 422), answer.text
        return answer.status_code == 201


def job_template(**container: Any) -> Manifest:
    """A pod template with one container."""
    base = {"name": "c", "image": "a:1", **container}
    return {"spec": {"restartPolicy": "Never", "containers": [base]}}


def cron_job(schedule: str = "0 * * * *", zone: str = "Etc/UTC") -> tuple[str, Manifest]:
    """A CronJob."""
    spec = {"schedule": schedule, "timeZone": zone, "jobTemplate": {"spec": {"template": job_template()}}}
    return "/apis/batch/v1/namespaces/default/cronjobs", {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "x"},
        "spec": spec,
    }


def job(name: str = "x", labels: dict[str, str] | None = None, **container: Any) -> tuple[str, Manifest]:
    """A Job."""
    return "/apis/batch/v1/namespaces/default/jobs", {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"template": job_template(**container)},
    }


def named(kind: str, plural: str, name: str, **more: Any) -> tuple[str, Manifest]:
    """An object of the core group."""
    place = f"/api/v1/{plural}" if kind == "Namespace" else f"/api/v1/namespaces/default/{plural}"
    return place, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


def policy(cidr: str) -> tuple[str, Manifest]:
    """A NetworkPolicy with one network."""
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}
    return "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "x"},
        "spec": spec,
    }


def memory(text: str) -> tuple[str, Manifest]:
    """A Job that asks for so much."""
    return job(resources={"requests": {"memory": text}, "limits": {"memory": "9Ei"}})


def claim(text: str) -> tuple[str, Manifest]:
    """A volume of that size."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": text}}}
    return named("PersistentVolumeClaim", "persistentvolumeclaims", "x", spec=spec)


SETTING: dict[str, Callable[[str], Manifest]] = {
    "schedule": lambda text: {"payroll": {"schedule": text}},
    "time zone": lambda text: {"payroll": {"timeZone": text}},
    "memory": lambda text: {"worker": {"resources": {"requests": {"memory": text}, "limits": {"memory": "9Ei"}}}},
    "volume": lambda text: {"sandbox": {"storage": text}},
    "variable": lambda text: {"worker": {"env": {text: "x"}}},
    "key of a Secret": lambda text: {"credentials": {"apiKeyKey": text}},
    "label's key": lambda text: {"networkPolicy": {"dns": {"podLabels": {text: "x"}}}},
    "label's value": lambda text: {"networkPolicy": {"dns": {"podLabels": {"x": text}}}},
    "namespace": lambda text: {"namespace": text},
    "name": lambda text: {"admission": {"allowedServiceAccounts": [text]}},
    "network": lambda text: {"networkPolicy": {"egress": {"cidrs": [text]}}},
    "port": lambda text: {"networkPolicy": {"egress": {"ports": [int(text)]}}},
}
"""Where the settings hold a value of each kind."""

OBJECT: dict[str, Callable[[str], tuple[str, Manifest]]] = {
    "schedule": cron_job,
    "time zone": lambda text: cron_job(zone=text),
    "memory": memory,
    "volume": claim,
    "variable": lambda text: job(env=[{"name": text, "value": "x"}]),
    "key of a Secret": lambda text: named("Secret", "secrets", "x", data={text: "eA=="}),
    "label's key": lambda text: job(labels={text: "x"}),
    "label's value": lambda text: job(labels={"x": text}),
    "namespace": lambda text: named("Namespace", "namespaces", text),
    "name": lambda text: named("ServiceAccount", "serviceaccounts", text),
    "network": policy,
    "port": lambda text: job(ports=[{"containerPort": int(text)}]),
}
"""Where Kubernetes holds it."""

ROWS = {
    "schedule": table.SCHEDULE,
    "time zone": table.ZONE,
    "memory": table.QUANTITY,
    "volume": table.QUANTITY,
    "variable": table.VARIABLE,
    "key of a Secret": table.DATA_KEY,
    "label's key": table.LABEL_KEY,
    "label's value": table.LABEL_VALUE,
    "namespace": table.DNS_LABEL,
    "name": table.DNS_NAME,
    "network": table.CIDR,
    "port": table.PORT,
}


def ours(kind: str, text: str) -> bool:
    """Whether the settings take the value."""
    try:
        Settings.parse(SETTING[kind](text))
    except BadSettings:
        return False
    return True


@pytest.fixture(scope="module")
def dry_run(control_plane: Cluster) -> DryRun:
    """The test cluster's API server."""
    return DryRun(control_plane)


@pytest.mark.parametrize("kind", ROWS)
def test_each_row_of_the_table(kind, dry_run):
    row = ROWS[kind]
    values = (*row.accepted, *row.refused)
    theirs = {text: dry_run.takes(*OBJECT[kind](text)) for text in values}
    assert {text: ours(kind, text) for text in values} == theirs


_generated = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(schedules)
@_generated
def test_generated_schedules(dry_run, text):
    assert ours("schedule", text) is dry_run.takes(*cron_job(text))


@given(quantities)
@_generated
def test_generated_quantities(dry_run, text):
    assert ours("memory", text) is dry_run.takes(*memory(text))
