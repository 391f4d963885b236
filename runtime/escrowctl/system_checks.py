"""What `escrowctl doctor` asks of the installation: definition, operator, its rights, its credentials, its progress."""

import math
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from runtime.contract import BUDGET_PLURAL, ESCROW_GROUP, ESCROW_PLURAL, ESCROW_VERSION, OPERATOR_LEASE, Env, Port
from runtime.escrowctl.finding import Finding, Level
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import KubernetesError, ObjectNotFound
from runtime.kubernetes.leases import LEASE, leases_path
from runtime.kubernetes.shape import NAMED, WHOLE, Json

RIGHTS: Final = (
    ("batch", "jobs", "", ("get", "list", "watch", "patch")),
    (ESCROW_GROUP, ESCROW_PLURAL, "", ("get", "list", "watch", "create", "patch")),
    (ESCROW_GROUP, ESCROW_PLURAL, "status", ("patch",)),
    (ESCROW_GROUP, BUDGET_PLURAL, "", ("get", "create")),
    (ESCROW_GROUP, BUDGET_PLURAL, "status", ("patch",)),
    ("", "pods", "", ("list",)),
    ("", "events", "", ("create",)),
)
"""What the operator needs in each namespace that it serves: API group, resource, subresource, verbs."""

REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

LATE_PASSES: Final = 3
"""Periods without a complete list after which the operator counts as stuck."""

CLOCK_SECONDS: Final = 30
"""So far apart the operator's clock and the payment service's may be."""


class Deployment:
    """The operator's Deployment, as far as the checks need it."""

    def __init__(self, manifest: Json) -> None:
        self._spec: Json = manifest["spec"]["template"]["spec"]
        self.namespace: str = manifest["metadata"]["namespace"]
        self.wanted: int = manifest["spec"].get("replicas", 1)
        self.available: int = manifest.get("status", {}).get("availableReplicas", 0)
        self.account = f"system:serviceaccount:{self.namespace}:{self._spec.get('serviceAccountName', 'default')}"

    @property
    def env(self) -> dict[str, str]:
        """What is written in it; what comes from a Secret or a field is not."""
        return {each["name"]: each["value"] for each in self._spec["containers"][0].get("env", []) if "value" in each}

    @property
    def secrets(self) -> set[str]:
        """Names of the Secrets that its pods need."""
        return {
            volume["secret"]["secretName"]
            for volume in self._spec.get("volumes", [])
            if "secret" in volume and not volume["secret"].get("optional")
        }


async def find_deployment(api: KubernetesApi, namespace: str) -> Deployment | None:
    """The operator's Deployment in the namespace, or None."""
    try:
        return Deployment(await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{OPERATOR_LEASE}", WHOLE))
    except ObjectNotFound:
        return None


async def definition(api: KubernetesApi) -> list[Finding]:
    """Whether the API server knows Escrows and Budgets."""
    remedy = "kubectl apply -k dist/STACK/foundation"
    try:
        served = await api.get(f"/apis/{ESCROW_GROUP}/{ESCROW_VERSION}", WHOLE)
    except ObjectNotFound:
        return [Finding("definition", Level.ERROR, f"the API server does not know {ESCROW_GROUP}", remedy)]
    missing = {ESCROW_PLURAL, BUDGET_PLURAL} - {resource["name"] for resource in served["resources"]}
    if missing:
        return [Finding("definition", Level.ERROR, f"not defined: {', '.join(sorted(missing))}", remedy)]
    return [Finding("definition", Level.OK, f"{ESCROW_GROUP}/{ESCROW_VERSION} is served")]


def operator(found: Deployment | None, namespace: str) -> list[Finding]:
    """Whether the operator runs."""
    if found is None:
        words = f"no operator in namespace {namespace}: no Job is funded or paid"
        return [Finding("operator", Level.ERROR, words, "kubectl get deployments -A | grep escrow-operator")]
    say = f"{found.available} of {found.wanted} replicas are available"
    if found.available >= max(1, found.wanted):
        return [Finding("operator", Level.OK, say)]
    command = f"kubectl describe deployment/{OPERATOR_LEASE} -n {namespace}"
    return [Finding("operator", Level.WARNING if found.available else Level.ERROR, say, command)]


async def leader(api: KubernetesApi, found: Deployment) -> list[Finding]:
    """Whether one of several replicas leads."""
    if found.env.get(Env.LEADER_ELECTION) != "true":
        return []
    try:
        lease = await api.get(f"{leases_path(found.namespace)}/{OPERATOR_LEASE}", LEASE)
    except ObjectNotFound:
        lease = None
    if lease is not None and lease.spec.holder_identity:
        return [Finding("leader", Level.OK, f"{lease.spec.holder_identity} leads")]
    command = f"kubectl logs deployment/{OPERATOR_LEASE} -n {found.namespace}"
    return [Finding("leader", Level.ERROR, "no replica leads, so none acts", command)]


async def rights(api: KubernetesApi, found: Deployment, namespaces: Sequence[str]) -> list[Finding]:
    """Whether the operator's account may do what it needs, in each namespace that it serves."""
    lacking = [
        f"{verb} {'/'.join(filter(None, (resource, part)))} in {namespace}"
        for namespace in namespaces
        for group, resource, part, verbs in RIGHTS
        for verb in verbs
        if not await _may(api, found.account, namespace, (group, resource, part), verb)
    ]
    if lacking:
        words = f"{found.account} may not {', '.join(lacking[:5])}{' ...' if len(lacking) > 5 else ''}"
        return [Finding("rights", Level.ERROR, words, "kubectl apply -k dist/STACK")]
    return [Finding("rights", Level.OK, f"{found.account} has what it needs in {', '.join(namespaces)}")]


async def _may(api: KubernetesApi, user: str, namespace: str, what: tuple[str, str, str], verb: str) -> bool:
    group, resource, part = what
    attributes = {"namespace": namespace, "group": group, "resource": resource, "subresource": part, "verb": verb}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}", "system:authenticated"]
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    asked = review | {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}
    return msgspec.convert(await api.create(REVIEWS, asked), _Review).status.allowed


class _ReviewStatus(msgspec.Struct, frozen=True):
    allowed: bool


class _Review(msgspec.Struct, frozen=True):
    status: _ReviewStatus


async def secret(api: KubernetesApi, found: Deployment) -> list[Finding]:
    """Whether the Secrets that its pods mount are there; what is in them is not read."""
    missing: list[str] = []
    for name in sorted(found.secrets):
        try:
            await api.get_metadata(f"/api/v1/namespaces/{found.namespace}/secrets/{name}", NAMED)
        except ObjectNotFound:
            missing.append(name)
    if missing:
        words = f"no Secret {', '.join(missing)} in namespace {found.namespace}"
        command = f"kubectl create secret generic {missing[0]} -n {found.namespace} --from-file=api-key=FILE"
        return [Finding("secret", Level.ERROR, words, command)]
    return [Finding("secret", Level.OK, f"{', '.join(sorted(found.secrets)) or 'none'}: there")]


async def progress(api: KubernetesApi, found: Deployment) -> list[Finding]:
    """What each operator pod says of itself, read through the API server."""
    pods = await api.get(f"/api/v1/namespaces/{found.namespace}/pods?labelSelector={_SELECTOR}", WHOLE)
    names = [pod["metadata"]["name"] for pod in pods["items"] if pod.get("status", {}).get("phase") == "Running"]
    if not names:
        return [Finding("progress", Level.UNKNOWN, "no operator pod runs, so none was asked")]
    return [finding for name in names for finding in await _progress_of(api, found, name)]


_SELECTOR: Final = "app.kubernetes.io/component=operator"


async def _progress_of(api: KubernetesApi, found: Deployment, pod: str) -> list[Finding]:
    where = f"/api/v1/namespaces/{found.namespace}/pods/{pod}:{Port.METRICS.value}/proxy/metrics"
    try:
        page = bytes(await api.request("GET", where, accept="text/plain")).decode()
    except KubernetesError as error:
        words = f"the metrics of pod {pod} cannot be read through the API server: {error}"
        return [Finding("progress", Level.UNKNOWN, words, f"kubectl auth can-i get pods/proxy -n {found.namespace}")]
    return read_page(page, found, pod)


def read_page(page: str, found: Deployment, pod: str) -> list[Finding]:
    """What an operator pod's metrics tell of its passes, of the payment service and of its clock."""
    values: dict[str, float] = {
        sample.name: sample.value for family in text_string_to_metric_families(page) for sample in family.samples
    }
    logs = f"kubectl logs {pod} -n {found.namespace} --tail=50"
    period = float(found.env.get(Env.RESYNC_SECONDS, 300))
    age = time.time() - values.get("escrow_last_list_timestamp_seconds", 0)
    words = f"pod {pod} listed everything {age:.0f} s ago, {values.get('workqueue_depth', 0):.0f} Jobs in its queue"
    progress = Finding("progress", Level.OK, words)
    if age > LATE_PASSES * period:
        words = f"pod {pod} has listed nothing for {age:.0f} s; it lists every {period:.0f} s"
        progress = Finding("progress", Level.ERROR, words, logs)
    answered = values.get("escrow_service_last_answer_timestamp_seconds", math.nan)
    service = Finding("service", Level.OK, f"it answered pod {pod} {time.time() - answered:.0f} s ago")
    if math.isnan(answered):
        service = Finding("service", Level.WARNING, f"it has not answered pod {pod} since that began", logs)
    return [progress, service, _clock(values.get("escrow_service_clock_ahead_seconds", math.nan), found, pod)]


def _clock(ahead: float, found: Deployment, pod: str) -> Finding:
    if math.isnan(ahead):
        return Finding("clock", Level.UNKNOWN, f"the payment service has not told pod {pod} its time")
    if abs(ahead) <= CLOCK_SECONDS:
        return Finding("clock", Level.OK, f"pod {pod} and the payment service agree within {CLOCK_SECONDS} s")
    words = (
        f"the clock of pod {pod} is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} the payment service's"
    )
    words += ": days of budgets begin by it; set the time of its node"
    return Finding("clock", Level.WARNING, words, f"kubectl get pod {pod} -n {found.namespace} -o wide")
