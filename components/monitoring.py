"""The alerting rules and the dashboard."""

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap

from components.component import Component, StackArgs
from components.manifests import monitoring


class Monitoring(Component):
    """Alerting rules for Prometheus and a dashboard for Grafana, as ConfigMaps."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self._declare(ConfigMap, monitoring.rules_map(self._settings))
        self._declare(ConfigMap, monitoring.dashboard_map(self._settings))
        if self._settings.monitoring.open_cost_url:
            self._declare(ConfigMap, monitoring.statement_map(self._settings))
        self.register_outputs({})
