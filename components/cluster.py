"""The objects of a stack in its cluster: each component after what it needs."""

from typing import Any

import pulumi
from pulumi_kubernetes import Provider

from components.agent_jobs import AgentJobs
from components.agent_namespace import AgentNamespace
from components.agent_workers import AgentWorkers
from components.autoscaling import Autoscaling
from components.component import StackArgs
from components.credentials import Credentials
from components.escrow_ledger import EscrowLedger
from components.escrow_operator import EscrowOperator
from components.extra_manifests import ExtraManifests
from components.monitoring import Monitoring
from components.network_policies import NetworkPolicies
from components.payroll import Payroll
from components.retention import Retention
from components.sandbox import Sandbox
from components.stack_config import StackConfig


def declare(stack: StackConfig) -> None:
    """Every component of the stack, and the manifests of its own."""
    settings = stack.settings
    args: StackArgs = {"settings": settings}
    key: Any = {} if stack.api_key is None else {"api_key": stack.api_key}
    # Only what `destroy` leaves may be there already; what it would delete must not be somebody else's.
    kept = settings.retention.keep_escrows
    keeping = pulumi.ResourceOptions(provider=_adopting_provider()) if kept else None
    ledger = EscrowLedger("ledger", args, keeping)
    namespace = AgentNamespace("namespace", args, keeping)
    ground = [namespace, Credentials("credentials", {**args, **key}, _after(namespace))]
    if settings.network_policy.enabled:
        ground.append(NetworkPolicies("network", args, _after(namespace)))
    if settings.sandbox.enabled:
        ground.append(Sandbox("sandbox", {**args, **key}, _after(*ground)))
    payer = [EscrowOperator("operator", args, _after(ledger, *ground))] if settings.operator.enabled else []
    if settings.worker.enabled:
        workers = AgentWorkers("workers", args, _after(*ground))
        if settings.hpa.enabled:
            Autoscaling("autoscaling", args, _after(workers, *ground))
        if settings.payroll.enabled:
            Payroll("payroll", args, _after(ledger, workers, *ground))
    if settings.retention.archives:
        Retention("retention", args, _after(ledger, *ground, *payer))
    if settings.monitoring.enabled:
        Monitoring("monitoring", args, _after(namespace))
    extras = ExtraManifests("extra", {**args, "manifests": stack.extra_manifests}, _after(ledger, *ground, *payer))
    # Last, so that they go first: a Job is only gone when the operator has settled it and removed its finalizer.
    AgentJobs("jobs", args, _after(ledger, *ground, *payer, extras))


def _after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
    """Created after these, and deleted before them."""
    return pulumi.ResourceOptions(depends_on=[*resources])


def _adopting_provider() -> Provider:
    """The Kubernetes provider for what outlives a stack: the next `up` takes over what the last `destroy` kept.

    Every other object that exists already is refused by the default provider: it is somebody else's, or was renamed.
    It stands in the state with its inputs, so it gets only what the stack's configuration says: a kubeconfig out of
    somebody's environment would be a change in each colleague's preview. And as long as its identifier stays, no other
    address or context of the cluster replaces it, which would replace the namespace and the accounts with it.
    """
    cluster = pulumi.Config("kubernetes")
    return Provider(
        "keeping",
        upsert_existing_objects=True,
        cluster_identifier=pulumi.get_stack(),
        kubeconfig=cluster.get_secret("kubeconfig") or "",  # None would be read from the environment, and kept
        context=cluster.get("context"),
        cluster=cluster.get("cluster"),
    )
