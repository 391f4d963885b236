"""The API key: where it is, and which pods may use it."""

from typing import NotRequired

import pulumi
from pulumi_kubernetes.admissionregistration.v1 import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, ServiceAccount
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from components import existing_secret
from components.component import Component, StackArgs
from components.manifests import (
    account_policy,
    admission,
    credentials,
    credentials_policy,
    key_rotation,
    mcp_sidecar,
    naming,
    rbac,
    session_policy,
)
from runtime.contract import ProgramName


class CredentialsArgs(StackArgs):
    """What the credentials are made from."""

    api_key: NotRequired[pulumi.Input[str]]
    """Purple Flea API key; kept secret. Not needed where `credentials.existingSecret` names a Secret."""


class Credentials(Component):
    """The Secret with the API key, the agents' account, the MCP sidecar's rules, and policies that keep the key in."""

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
        if settings.mcp.enabled and mcp_sidecar.rules(settings):
            self._declare(ConfigMap, mcp_sidecar.rules_map(settings))
        if settings.holds_payers_key:
            self._declare(Role, rbac.secret_reader(settings))
            self._declare(RoleBinding, rbac.agent_reads_secret(settings))
        if settings.admission.enabled and settings.create_policies:
            for guard in (credentials_policy, account_policy, session_policy):
                manifest = guard.policy(settings)
                policy = self._declare(ValidatingAdmissionPolicy, manifest)
                self._declare(ValidatingAdmissionPolicyBinding, admission.binding(settings, manifest), after=[policy])
        if key_rotation.is_used(settings) and settings.create_policies:
            manifest = key_rotation.policy(settings)
            kept = self._declare(MutatingAdmissionPolicy, manifest)
            self._declare(MutatingAdmissionPolicyBinding, admission.binding(settings, manifest), after=[kept])
        self.secret_name = pulumi.Output.from_input(settings.payer_secret)
        self.register_outputs({"secret_name": self.secret_name})
