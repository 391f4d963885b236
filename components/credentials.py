"""The API key: where it is, and which pods may use it."""

from typing import NotRequired

import pulumi
from pulumi_kubernetes.admissionregistration.v1 import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from pulumi_kubernetes.core.v1 import Secret, ServiceAccount
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from components import existing_secret
from components.component import Component, StackArgs
from components.manifests import admission, credentials, naming, rbac
from runtime.contract import ProgramName


class CredentialsArgs(StackArgs):
    """What the credentials are made from."""

    api_key: NotRequired[pulumi.Input[str]]
    """Purple Flea API key; kept secret. Not needed where `credentials.existingSecret` names a Secret."""


class Credentials(Component):
    """The Secret with the API key, the agents' account that may read it, and the policy that keeps other pods off."""

    secret_name: pulumi.Output[str]
    """Name of the Secret, created here or existing."""

    def __init__(self, name: str, args: CredentialsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        if settings.credentials.existing_secret:
            existing_secret.declare(settings, self)
        else:
            if "api_key" not in args:
                raise ValueError("apiKey is needed unless credentials.existingSecret names a Secret")
            self._declare(Secret, credentials.secret(settings, pulumi.Output.secret(args["api_key"])))
        self._declare(ServiceAccount, rbac.service_account(settings, naming.AGENT_ACCOUNT, ProgramName.AGENT))
        self._declare(Role, rbac.secret_reader(settings))
        self._declare(RoleBinding, rbac.agent_reads_secret(settings))
        if settings.admission.enabled:
            policy = self._declare(ValidatingAdmissionPolicy, admission.policy(settings))
            self._declare(ValidatingAdmissionPolicyBinding, admission.binding(settings), after=[policy])
        self.secret_name = pulumi.Output.from_input(credentials.secret_name(settings))
        self.register_outputs({"secret_name": self.secret_name})
