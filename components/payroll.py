"""The CronJob that pays workers."""

import pulumi
from pulumi_kubernetes.batch.v1 import CronJob
from pulumi_kubernetes.core.v1 import ServiceAccount
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from components.component import Component, StackArgs
from components.manifests import naming, payroll, rbac
from runtime.contract import ProgramName


class Payroll(Component):
    """Pays long-running workers for the tasks in their work logs."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        rights: list[pulumi.Resource] = [
            self._declare(ServiceAccount, rbac.service_account(settings, naming.PAYROLL_ACCOUNT, ProgramName.PAYROLL)),
            self._declare(Role, rbac.payroll_role(settings)),
            self._declare(RoleBinding, rbac.payroll_role_binding(settings)),
        ]
        self._declare(CronJob, payroll.cron_job(settings), after=rights)
        self.register_outputs({})
