"""The namespace of a stack, under the `restricted` Pod Security level."""

import pulumi
from pulumi_kubernetes.core.v1 import Namespace

from components.component import Component, StackArgs
from components.manifests import namespace


class AgentNamespace(Component):
    """The namespace. With `retention.keepEscrows` it outlives the stack, together with the accounts in it."""

    name: pulumi.Output[str]
    """Name of the namespace, created here or not."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        if self._settings.create_namespace:
            # Escrows live in the namespace: to delete it would delete the accounts.
            keep = self._settings.retention.keep_escrows
            self._declare(Namespace, namespace.namespace(self._settings), retain_on_delete=keep)
        self.name = pulumi.Output.from_input(self._settings.namespace)
        self.register_outputs({"name": self.name})
