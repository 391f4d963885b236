"""The controller that pays for Jobs."""

import pulumi
from pulumi_kubernetes.admissionregistration.v1 import (
    MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
)
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ServiceAccount
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from components import open_accounts
from components.component import Component, StackArgs
from components.manifests import job_gate, kueue, ledger_policy, naming, operator, rbac
from runtime.contract import ProgramName


class EscrowOperator(Component):
    """Pays for a Job that completes, disputes one that fails. Deleted after the Jobs: it removes their finalizers."""

    watches: pulumi.Output[str]
    """What it watches: a namespace, a comma-separated list, or a selector."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        rights: list[pulumi.Resource] = [
            self._declare(
                ServiceAccount, rbac.service_account(settings, naming.OPERATOR_ACCOUNT, ProgramName.OPERATOR)
            ),
            *self._rights(),
            *self._gate(),
            *self._guarded_ledger(),
        ]
        open_accounts.declare(settings, self)
        self._declare(Deployment, operator.deployment(settings), after=rights)
        self.watches = pulumi.Output.from_input(operator.watch_namespace(settings))
        self.register_outputs({"watches": self.watches})

    def _gate(self) -> list[pulumi.Resource]:
        """Before the operator: a binding acts up to a second late, and the Jobs wait for the operator's roll-out."""
        settings = self._settings
        if settings.admission.job_gate != "policy" or not settings.create_policies:
            return []
        policy = self._declare(MutatingAdmissionPolicy, job_gate.policy(settings))
        guard = self._declare(ValidatingAdmissionPolicy, job_gate.guard(settings))
        return [
            self._declare(MutatingAdmissionPolicyBinding, job_gate.policy_binding(settings), after=[policy]),
            self._declare(ValidatingAdmissionPolicyBinding, job_gate.guard_binding(settings), after=[guard]),
        ]

    def _guarded_ledger(self) -> list[pulumi.Resource]:
        settings = self._settings
        if not (ledger_policy.is_used(settings) and settings.create_policies):
            return []
        policy = self._declare(ValidatingAdmissionPolicy, ledger_policy.policy(settings))
        return [self._declare(ValidatingAdmissionPolicyBinding, ledger_policy.binding(settings), after=[policy])]

    def _rights(self) -> list[pulumi.Resource]:
        settings = self._settings
        watched = operator.watched_namespaces(settings)
        rights: list[pulumi.Resource] = []
        for namespace in watched:
            rights.append(self._declare(Role, rbac.operator_role(settings, namespace)))
            rights.append(self._declare(RoleBinding, rbac.operator_role_binding(settings, namespace)))
        if not watched:
            rights.append(self._declare(ClusterRole, rbac.operator_cluster_role(settings)))
            rights.append(self._declare(ClusterRoleBinding, rbac.operator_cluster_role_binding(settings)))
        if kueue.is_used(settings):
            rights.append(self._declare(CustomResource, kueue.admission_check(settings)))
            rights.append(self._declare(ClusterRole, rbac.operator_check_role(settings)))
            rights.append(self._declare(ClusterRoleBinding, rbac.operator_check_role_binding(settings)))
        rights.append(self._declare(Role, rbac.operator_lease_role(settings)))
        rights.append(self._declare(RoleBinding, rbac.operator_lease_role_binding(settings)))
        if settings.operator.replicas > 1:
            self._declare(PodDisruptionBudget, operator.pod_disruption_budget(settings))
        return rights
