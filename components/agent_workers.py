"""The long-running agents."""

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment

from components.component import Component, StackArgs
from components.manifests import agent_workers


class AgentWorkers(Component):
    """Long-running agents; each takes one task after the other."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self._declare(Deployment, agent_workers.deployment(self._settings))
        self.register_outputs({})
