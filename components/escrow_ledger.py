"""The definitions of `Escrow`, the account of one Job, and of `Budget`."""

import pulumi
from pulumi_kubernetes.apiextensions.v1 import CustomResourceDefinition

from components.component import Component, StackArgs
from components.manifests import budget_crd, escrow_crd


class EscrowLedger(Component):
    """One account a Job: what was locked, paid, and why; one budget a namespace. They outlive the stack."""

    retained: pulumi.Output[bool]
    """Whether the definitions, and with them every account, survive `pulumi destroy`."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        keep = self._settings.retention.keep_escrows
        for crd in (escrow_crd, budget_crd) if self._settings.create_crd else ():
            manifest = crd.custom_resource_definition(self._settings)
            self._declare(CustomResourceDefinition, manifest, retain_on_delete=keep)
        self.retained = pulumi.Output.from_input(keep)
        self.register_outputs({"retained": self.retained})
