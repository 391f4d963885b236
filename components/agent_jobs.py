"""The agents that run once, or by a schedule."""

import pulumi
from pulumi_kubernetes.batch.v1 import CronJob, Job

from components.component import Component, StackArgs
from components.manifests import agent_job


class AgentJobs(Component):
    """One Job for each agent, or a CronJob where it has a schedule."""

    names: pulumi.Output[dict[str, str]]
    """Agent → name of its Job or CronJob."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        names = {}
        for agent in self._settings.agents:
            manifest = agent_job.build(self._settings, agent)
            names[agent.name] = manifest["metadata"]["name"]
            if agent.schedule:
                self._declare(CronJob, manifest)
                continue
            # A content hash in the name gives a changed Job a new name, so the new one starts before the old one goes.
            stable = self._settings.job.stable_name
            self._declare(Job, manifest, delete_before_replace=stable)
        self.names = pulumi.Output.from_input(names)
        self.register_outputs({"names": self.names})
