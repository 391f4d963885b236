"""The CronJob that archives settled accounts."""

import pulumi
from pulumi_kubernetes.batch.v1 import CronJob
from pulumi_kubernetes.core.v1 import ServiceAccount
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from components.component import Component, StackArgs
from components.manifests import naming, rbac, retention
from runtime.contract import ProgramName

_KINDS = {
    "Role": Role,
    "RoleBinding": RoleBinding,
    "ClusterRole": ClusterRole,
    "ClusterRoleBinding": ClusterRoleBinding,
}


class Retention(Component):
    """Moves settled accounts into an archive, and removes them only then."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        account = rbac.service_account(settings, naming.RETENTION_ACCOUNT, ProgramName.RETENTION)
        rights: list[pulumi.Resource] = [self._declare(ServiceAccount, account)]
        rights += [self._declare(_KINDS[one["kind"]], one) for one in retention.rights(settings)]
        self._declare(CronJob, retention.cron_job(settings), after=rights)
        self.register_outputs({})
