"""A local Purple Flea in the cluster."""

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Service, ServiceAccount

from components.component import Component, StackArgs
from components.manifests import naming, rbac, sandbox, services
from runtime.contract import Component as Program


class Sandbox(Component):
    """A local Purple Flea with its own ledger, in place of the real one. No money moves."""

    url: pulumi.Output[str]
    """Where it answers for all six services, from inside the cluster."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        account = self._declare(ServiceAccount, rbac.service_account(settings, naming.SANDBOX_ACCOUNT, Program.SANDBOX))
        # The claim may wait for its first pod (WaitForFirstConsumer): nothing may wait for the claim.
        manifest = sandbox.volume_claim(settings)
        manifest["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
        self._declare(PersistentVolumeClaim, manifest)
        self._declare(Service, sandbox.service(settings), after=[account])
        self._declare(Deployment, sandbox.deployment(settings), after=[account])
        self.url = pulumi.Output.from_input(services.sandbox_url(settings))
        self.register_outputs({"url": self.url})
