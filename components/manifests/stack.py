"""Every object of a stack, in the order in which `kubectl apply` may take them.

The components declare each of them as an explicit resource of its own; this list is what they are held against.
"""

from collections.abc import Iterator
from typing import Final

from components.manifests import (
    account_policy,
    admission,
    agent_job,
    agent_workers,
    autoscaling,
    budget_crd,
    credentials,
    credentials_policy,
    escrow_crd,
    job_gate,
    key_rotation,
    kueue,
    ledger_policy,
    mcp_sidecar,
    metrics_server,
    monitoring,
    namespace,
    naming,
    network_policy,
    operator,
    payroll,
    rbac,
    retention,
    sandbox,
    session_policy,
)
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import CUSTOM_METRICS_VERSIONS, ProgramName

PLACEHOLDER = "SET-BEFORE-USE"
"""Stands where a secret value belongs in what is written to files."""


PURPOSES: Final = {
    "AgentNamespace": "The namespace. With `retention.keepEscrows` it outlives the stack, together with the accounts "
    "in it.",
    "EscrowLedger": "One account a Job: what was locked, paid, and why; one budget a namespace. "
    "They outlive the stack.",
    "Credentials": "The Secret with the API key, the agents' account, the MCP sidecar's rules, and policies that keep "
    "the key in.",
    "NetworkPolicies": "Default deny, then for each program only what it needs.",
    "Sandbox": "A local Purple Flea with its own ledger, in place of the real one. No money moves.",
    "EscrowOperator": "Pays for a Job that completes, disputes one that fails. Deleted after the Jobs: it removes "
    "their finalizers.",
    "AgentWorkers": "Long-running agents; each takes one task after the other.",
    "Autoscaling": "The queue as a metric, and the autoscaler that reads it: Kubernetes' own, or KEDA.",
    "Payroll": "Pays long-running workers for the tasks in their work logs.",
    "Retention": "Moves settled accounts into an archive, and removes them only then.",
    "Monitoring": "Alerting rules for Prometheus and a dashboard for Grafana, as ConfigMaps.",
    "AgentJobs": "One Job for each agent, or a CronJob where it has a schedule.",
}
"""Part of a stack → what its objects are for. A part is named like the component that declares its objects."""


def objects(settings: Settings, api_key: str = PLACEHOLDER) -> list[Manifest]:
    """All objects; none where `purpleflea.enabled` is false."""
    return [manifest for part in parts(settings, api_key).values() for manifest in part]


def parts(settings: Settings, api_key: str = PLACEHOLDER) -> dict[str, list[Manifest]]:
    """Part, as in `PURPOSES` → its objects."""
    if not settings.enabled:
        return {}
    found = {
        "AgentNamespace": [namespace.namespace(settings)] if settings.create_namespace else [],
        "EscrowLedger": [*_ledger(settings)] if settings.create_crd else [],
        "Credentials": [*_credentials(settings, api_key)],
        "NetworkPolicies": [*_network(settings)] if settings.network_policy.enabled else [],
        "Sandbox": [*_sandbox(settings, api_key)] if settings.sandbox.enabled else [],
        "EscrowOperator": [*_operator(settings)] if settings.operator.enabled else [],
        "AgentWorkers": [*_workers(settings)] if settings.worker.enabled else [],
        "Autoscaling": [*_scaling(settings)] if settings.scales_workers else [],
        "Payroll": [*_payroll(settings)] if settings.pays_workers else [],
        "Retention": [*retention.objects(settings)] if settings.retention.archives else [],
        "Monitoring": [*_monitoring(settings)] if settings.monitoring.enabled else [],
        "AgentJobs": [agent_job.build(settings, agent) for agent in settings.agents],
    }
    return {part: manifests for part, manifests in found.items() if manifests}


def left_to_others(settings: Settings) -> list[Manifest]:
    """What the stack needs and does not create: for somebody with rights to the whole cluster."""
    if not settings.enabled:
        return []
    policies = (
        [] if settings.create_policies else [*_key_policies(settings), *_job_gate(settings), *_ledger_policy(settings)]
    )
    return [*([] if settings.create_crd else _ledger(settings)), *policies]


def _ledger(settings: Settings) -> Iterator[Manifest]:
    yield escrow_crd.custom_resource_definition(settings)
    yield budget_crd.custom_resource_definition(settings)


def _key_policies(settings: Settings) -> Iterator[Manifest]:
    if settings.admission.enabled:
        for guard in (credentials_policy, account_policy, session_policy):
            policy = guard.policy(settings)
            yield policy
            yield admission.binding(settings, policy)
    if key_rotation.is_used(settings):
        kept = key_rotation.policy(settings)
        yield kept
        yield admission.binding(settings, kept)


def _credentials(settings: Settings, api_key: str) -> Iterator[Manifest]:
    if not settings.credentials.existing_secret:
        yield credentials.secret(settings, api_key)
    if settings.create_policies:
        yield from _key_policies(settings)
    yield rbac.service_account(settings, naming.AGENT_ACCOUNT, ProgramName.AGENT)
    if settings.mcp.enabled and mcp_sidecar.rules(settings):
        yield mcp_sidecar.rules_map(settings)
    if settings.holds_payers_key:
        yield rbac.secret_reader(settings)
        yield rbac.agent_reads_secret(settings)


def _network(settings: Settings) -> Iterator[Manifest]:
    yield network_policy.default_deny(settings)
    yield network_policy.dns(settings)
    yield network_policy.agents(settings)
    if settings.worker.enabled:
        yield network_policy.workers(settings)
    if settings.operator.enabled:
        yield network_policy.operator(settings)
    if settings.pays_workers:
        yield network_policy.payroll(settings)
    if settings.retention.archives:
        yield network_policy.retention(settings)
    if settings.scales_workers:
        yield network_policy.metrics_server(settings)
    if settings.sandbox.enabled:
        yield network_policy.sandbox(settings)


def _sandbox(settings: Settings, api_key: str) -> Iterator[Manifest]:
    yield rbac.service_account(settings, naming.SANDBOX_ACCOUNT, ProgramName.SANDBOX)
    yield sandbox.volume_claim(settings)
    yield sandbox.service(settings)
    owns = not settings.credentials.existing_secret
    yield sandbox.deployment(settings, naming.content_hash(api_key) if owns else None)


def _job_gate(settings: Settings) -> Iterator[Manifest]:
    if not job_gate.is_used(settings):
        return
    yield job_gate.policy(settings)
    yield job_gate.policy_binding(settings)
    yield job_gate.guard(settings)
    yield job_gate.guard_binding(settings)


def _ledger_policy(settings: Settings) -> Iterator[Manifest]:
    if ledger_policy.is_used(settings):
        yield ledger_policy.policy(settings)
        yield ledger_policy.binding(settings)


def _operator(settings: Settings) -> Iterator[Manifest]:
    if settings.create_policies:
        yield from _job_gate(settings)
        yield from _ledger_policy(settings)
    yield rbac.service_account(settings, naming.OPERATOR_ACCOUNT, ProgramName.OPERATOR)
    for watched in operator.watched_namespaces(settings):
        yield rbac.operator_role(settings, watched)
        yield rbac.operator_role_binding(settings, watched)
    if not operator.watched_namespaces(settings):
        yield rbac.operator_cluster_role(settings)
        yield rbac.operator_cluster_role_binding(settings)
    if kueue.is_used(settings):
        yield kueue.admission_check(settings)
        yield rbac.operator_check_role(settings)
        yield rbac.operator_check_role_binding(settings)
    yield rbac.operator_lease_role(settings)
    yield rbac.operator_lease_role_binding(settings)
    if settings.operator.replicas > 1:
        yield operator.pod_disruption_budget(settings)
    yield operator.deployment(settings)


def _workers(settings: Settings) -> Iterator[Manifest]:
    if settings.worker.work_log:
        yield rbac.service_account(settings, naming.WORKER_ACCOUNT, ProgramName.WORKER)
        yield rbac.worker_role(settings)
        yield rbac.worker_role_binding(settings)
        yield rbac.worker_auth_delegator(settings)
    yield agent_workers.deployment(settings)


def _scaling(settings: Settings) -> Iterator[Manifest]:
    yield rbac.service_account(settings, naming.METRICS_ACCOUNT, ProgramName.METRICS)
    yield rbac.metrics_role(settings)
    yield rbac.metrics_role_binding(settings)
    yield metrics_server.service(settings)
    match settings.hpa.engine:
        case "hpa":
            yield from _custom_metrics(settings)
        case "keda":
            yield rbac.metrics_auth_delegator(settings)
            yield metrics_server.deployment(settings)
            yield rbac.service_account(settings, naming.QUEUE_READER, ProgramName.METRICS)
            yield rbac.keda_role(settings)
            yield rbac.keda_role_binding(settings)
            yield autoscaling.trigger_authentication(settings)
            yield autoscaling.scaled_object(settings)
        case _:
            yield metrics_server.deployment(settings)
            yield autoscaling.horizontal_pod_autoscaler(settings)


def _custom_metrics(settings: Settings) -> Iterator[Manifest]:
    yield rbac.metrics_auth_delegator(settings)
    yield rbac.metrics_auth_reader(settings)
    if metrics_server.uses_cert_manager(settings):
        if not settings.hpa.metrics_server.issuer:
            yield metrics_server.issuer(settings)
        yield metrics_server.certificate(settings)
    else:
        yield rbac.metrics_ca_role(settings)
        yield rbac.metrics_ca_role_binding(settings)
    yield metrics_server.deployment(settings)
    for version in CUSTOM_METRICS_VERSIONS:
        yield metrics_server.api_service(settings, version)
    yield autoscaling.horizontal_pod_autoscaler(settings)


def _monitoring(settings: Settings) -> Iterator[Manifest]:
    yield monitoring.rules_map(settings)
    yield monitoring.dashboard_map(settings)
    if settings.monitoring.open_cost_url:
        yield monitoring.statement_map(settings)


def _payroll(settings: Settings) -> Iterator[Manifest]:
    yield rbac.service_account(settings, naming.PAYROLL_ACCOUNT, ProgramName.PAYROLL)
    yield rbac.payroll_role(settings)
    yield rbac.payroll_role_binding(settings)
    yield payroll.cron_job(settings)
