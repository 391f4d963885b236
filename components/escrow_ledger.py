"""The definition of `Escrow`, the account of one Job."""

import pulumi
from pulumi_kubernetes.apiextensions.v1 import CustomResourceDefinition

from components.component import Component, StackArgs
from components.manifests import escrow_crd


class EscrowLedger(Component):
    """One account a Job: what was locked, for whom, what was paid, and why. It outlives the stack."""

    retained: pulumi.Output[bool]
    """Whether the definition, and with it every account, survives `pulumi destroy`."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        keep = self._settings.retention.keep_escrows
        manifest = escrow_crd.custom_resource_definition(self._settings)
        self._declare(CustomResourceDefinition, manifest, retain_on_delete=keep)
        self.retained = pulumi.Output.from_input(keep)
        self.register_outputs({"retained": self.retained})
