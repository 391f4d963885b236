"""A local Purple Flea in the cluster."""

from typing import NotRequired

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Service, ServiceAccount

from components.component import Component, StackArgs
from components.manifests import naming, rbac, sandbox, services
from components.manifests.naming import content_hash
from runtime.contract import ProgramName


class SandboxArgs(StackArgs):
    """What the sandbox is made from."""

    api_key: NotRequired[pulumi.Input[str]]
    """Its API key, as in the credentials Secret: another one starts it anew, because it reads the key only then."""


class Sandbox(Component):
    """A local Purple Flea with its own ledger, in place of the real one. No money moves."""

    url: pulumi.Output[str]
    """Where it answers for all six services, from inside the cluster."""

    def __init__(self, name: str, args: SandboxArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        account = self._declare(
            ServiceAccount, rbac.service_account(settings, naming.SANDBOX_ACCOUNT, ProgramName.SANDBOX)
        )
        # The claim may wait for its first pod (WaitForFirstConsumer): nothing may wait for the claim.
        manifest = sandbox.volume_claim(settings)
        manifest["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
        self._declare(PersistentVolumeClaim, manifest)
        self._declare(Service, sandbox.service(settings), after=[account])
        digest = None
        if "api_key" in args:
            # A digest is no secret, and one secret leaf would make every diff of the Deployment opaque.
            digest = pulumi.Output.unsecret(pulumi.Output.from_input(args["api_key"]).apply(content_hash))
        self._declare(Deployment, sandbox.deployment(settings, digest), after=[account])
        self.url = pulumi.Output.from_input(services.sandbox_url(settings))
        self.register_outputs({"url": self.url})
