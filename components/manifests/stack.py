"""Every object of a stack, in the order in which `kubectl apply` may take them.

The components declare each of them as an explicit resource of its own; this list is what they are held against.
"""

from collections.abc import Iterator

from components.manifests import (
    admission,
    agent_job,
    agent_workers,
    autoscaling,
    credentials,
    escrow_crd,
    job_gate,
    metrics_server,
    namespace,
    naming,
    network_policy,
    operator,
    payroll,
    rbac,
    sandbox,
)
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import CUSTOM_METRICS_VERSIONS, Component

PLACEHOLDER = "SET-BEFORE-USE"
"""Stands where a secret value belongs in what is written to files."""


def objects(settings: Settings, api_key: str = PLACEHOLDER) -> list[Manifest]:
    """All objects; none where `purpleflea.enabled` is false."""
    return list(_objects(settings, api_key)) if settings.enabled else []


def _objects(settings: Settings, api_key: str) -> Iterator[Manifest]:
    if settings.create_namespace:
        yield namespace.namespace(settings)
    yield escrow_crd.custom_resource_definition(settings)
    if not settings.credentials.existing_secret:
        yield credentials.secret(settings, api_key)
    if settings.admission.enabled:
        yield admission.policy(settings)
        yield admission.binding(settings)
    yield rbac.service_account(settings, naming.AGENT_ACCOUNT, Component.AGENT)
    yield rbac.secret_reader(settings)
    yield rbac.agent_reads_secret(settings)
    if settings.network_policy.enabled:
        yield from _network(settings)
    if settings.sandbox.enabled:
        yield rbac.service_account(settings, naming.SANDBOX_ACCOUNT, Component.SANDBOX)
        yield sandbox.volume_claim(settings)
        yield sandbox.service(settings)
        yield sandbox.deployment(settings)
    if settings.operator.enabled:
        if settings.admission.job_gate == "policy":
            yield from _job_gate(settings)
        yield from _operator(settings)
    if settings.worker.enabled:
        yield agent_workers.deployment(settings)
    if settings.scales_workers:
        yield from _scaling(settings)
    if settings.pays_workers:
        yield rbac.service_account(settings, naming.PAYROLL_ACCOUNT, Component.PAYROLL)
        yield rbac.payroll_role(settings)
        yield rbac.payroll_role_binding(settings)
        yield payroll.cron_job(settings)
    for agent in settings.agents:
        yield agent_job.build(settings, agent)


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
    if settings.scales_workers:
        yield network_policy.metrics_server(settings)
    if settings.sandbox.enabled:
        yield network_policy.sandbox(settings)


def _job_gate(settings: Settings) -> Iterator[Manifest]:
    yield job_gate.policy(settings)
    yield job_gate.policy_binding(settings)
    yield job_gate.guard(settings)
    yield job_gate.guard_binding(settings)


def _operator(settings: Settings) -> Iterator[Manifest]:
    yield rbac.service_account(settings, naming.OPERATOR_ACCOUNT, Component.OPERATOR)
    for watched in operator.watched_namespaces(settings):
        yield rbac.operator_role(settings, watched)
        yield rbac.operator_role_binding(settings, watched)
    if not operator.watched_namespaces(settings):
        yield rbac.operator_cluster_role(settings)
        yield rbac.operator_cluster_role_binding(settings)
    yield rbac.operator_lease_role(settings)
    yield rbac.operator_lease_role_binding(settings)
    if settings.operator.replicas > 1:
        yield operator.pod_disruption_budget(settings)
    yield operator.deployment(settings)


def _scaling(settings: Settings) -> Iterator[Manifest]:
    yield rbac.service_account(settings, naming.METRICS_ACCOUNT, Component.METRICS)
    yield metrics_server.service(settings)
    if settings.hpa.engine == "keda":
        yield metrics_server.deployment(settings)
        yield autoscaling.scaled_object(settings)
        return
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
