"""Names, labels and content hashes. The guides' names stay as they are; users paste them."""

import hashlib
import json
from typing import Any, Final

from components.settings import Settings
from runtime.contract import (
    AGENT_LABEL,
    DOMAIN,
    MCP_PROXY_CONTAINER,
    METRICS_SERVICE,
    OPERATOR_LEASE,
    STATEMENT_CONFIG,
    WORKERS_DEPLOYMENT,
    ProgramName,
)

Manifest = dict[str, Any]
"""A Kubernetes object, or a part of one, as the API server takes it."""

AGENT_ACCOUNT: Final = "pf-agent-sa"
OPERATOR_ACCOUNT: Final = "pf-operator-sa"
WORKER_ACCOUNT: Final = "pf-worker-sa"
PAYROLL_ACCOUNT: Final = "pf-payroll-sa"
RETENTION_ACCOUNT: Final = "pf-retention-sa"
METRICS_ACCOUNT: Final = "pf-metrics-sa"
QUEUE_READER: Final = "pf-queue-reader"
"""ServiceAccount as which KEDA reads the queue."""
KEDA_ACCOUNT: Final = "keda-operator"
"""As KEDA's own chart and manifests name it."""
SANDBOX_ACCOUNT: Final = "pf-sandbox-sa"

SECRET_READER: Final = "pf-secret-reader"  # noqa: S105 - the name of a Role
AGENT_READS_SECRET: Final = "pf-agent-reads-secret"  # noqa: S105 - the name of a RoleBinding
OPERATOR: Final = OPERATOR_LEASE
OPERATOR_CHECK: Final = f"{OPERATOR}-check"
PAYROLL: Final = "pf-agent-payroll"
RETENTION: Final = "pf-retention"
WORKERS: Final = WORKERS_DEPLOYMENT
AUTOSCALER: Final = "pf-agent-hpa"
METRICS_SERVER: Final = METRICS_SERVICE
MCP_PROXY: Final = MCP_PROXY_CONTAINER
MCP_RULES: Final = "pf-mcp-rules"
SANDBOX: Final = "pf-sandbox"
ALERTS: Final = "pf-alerts"
DASHBOARD: Final = "pf-dashboard"
STATEMENT: Final = STATEMENT_CONFIG
CREDENTIALS_POLICY: Final = f"credentials.{DOMAIN}"
ACCOUNT_POLICY: Final = f"accounts.{DOMAIN}"
SESSION_POLICY: Final = f"sessions.{DOMAIN}"
LEDGER_POLICY: Final = f"ledger.{DOMAIN}"
KEY_ROTATION: Final = f"rotation.{DOMAIN}"
JOB_GATE: Final = f"job-gate.{DOMAIN}"
AGENT_APP: Final = "purple-flea-agent"
"""Value of the guide's `app` label on every agent pod."""


def cluster_name(settings: Settings, name: str) -> str:
    """A name for an object outside namespaces: two stacks on one cluster must not share it."""
    return f"{name}.{settings.namespace}"


def selector(component: ProgramName) -> dict[str, str]:
    """The labels that pick one component's pods."""
    return {"app.kubernetes.io/component": component.value, "app.kubernetes.io/part-of": "purpleflea"}


def labels(component: ProgramName | None = None, **more: str) -> dict[str, str]:
    """Labels of an object."""
    return {**(selector(component) if component else {"app.kubernetes.io/part-of": "purpleflea"}), **more}


def metadata(
    settings: Settings,
    name: str,
    component: ProgramName | None = None,
    *,
    annotations: dict[str, str] | None = None,
    namespace: str | None = "",
) -> Manifest:
    """`metadata` of an object in the stack's namespace (`""`), in another one, or outside namespaces (None)."""
    found: Manifest = {"name": name, "labels": labels(component)}
    if namespace is not None:
        found["namespace"] = namespace or settings.namespace
    if annotations:
        found["annotations"] = annotations
    return found


def logical_name(settings: Settings, manifest: Manifest) -> str:
    """The name by which Pulumi and the rendered files know an object again, among those of its kind.

    It has neither the content hash of a Job's name nor the stack's namespace in it, so that another content or another
    namespace does not make it another object.
    """
    metadata = manifest["metadata"]
    if manifest["kind"] == "Namespace":
        return "namespace"
    if manifest["kind"] in ("Job", "CronJob") and (agent := metadata["labels"].get(AGENT_LABEL)):
        return agent
    name = metadata["name"].removesuffix(cluster_name(settings, ""))
    elsewhere = metadata.get("namespace", settings.namespace) != settings.namespace
    return f"{name}.{metadata['namespace']}" if elsewhere else name


def content_hash(content: Any) -> str:
    """Eight hex digits that change with the content and with nothing else."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
