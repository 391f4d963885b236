"""The long-running agents."""

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ServiceAccount
from pulumi_kubernetes.rbac.v1 import ClusterRoleBinding, Role, RoleBinding

from components.component import Component, StackArgs
from components.manifests import agent_workers, naming, rbac
from runtime.contract import ProgramName


class AgentWorkers(Component):
    """Long-running agents; each takes one task after the other."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        rights: list[pulumi.Resource] = []
        if settings.worker.work_log:
            account = rbac.service_account(settings, naming.WORKER_ACCOUNT, ProgramName.WORKER)
            rights += [
                self._declare(ServiceAccount, account),
                self._declare(Role, rbac.worker_role(settings)),
                self._declare(RoleBinding, rbac.worker_role_binding(settings)),
                self._declare(ClusterRoleBinding, rbac.worker_auth_delegator(settings)),
            ]
        self._declare(Deployment, agent_workers.deployment(settings), after=rights)
        self.register_outputs({})
