"""Who may reach whom."""

import pulumi
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from components.component import Component, StackArgs
from components.manifests import network_policy


class NetworkPolicies(Component):
    """Default deny, then for each program only what it needs."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        self._declare(NetworkPolicy, network_policy.default_deny(settings))
        self._declare(NetworkPolicy, network_policy.dns(settings))
        self._declare(NetworkPolicy, network_policy.agents(settings))
        if settings.operator.enabled:
            self._declare(NetworkPolicy, network_policy.operator(settings))
        if settings.worker.enabled:
            self._declare(NetworkPolicy, network_policy.workers(settings))
        if settings.pays_workers:
            self._declare(NetworkPolicy, network_policy.payroll(settings))
        if settings.retention.archives:
            self._declare(NetworkPolicy, network_policy.retention(settings))
        if settings.scales_workers:
            self._declare(NetworkPolicy, network_policy.metrics_server(settings))
        if settings.sandbox.enabled:
            self._declare(NetworkPolicy, network_policy.sandbox(settings))
        self.register_outputs({})
