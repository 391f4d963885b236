"""Scaling the workers on the escrow queue."""

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apiregistration.v1 import APIService
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.autoscaling.v2 import HorizontalPodAutoscaler
from pulumi_kubernetes.core.v1 import Service, ServiceAccount
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from components.component import Component, StackArgs
from components.manifests import autoscaling, metrics_server, naming, rbac
from runtime.contract import CUSTOM_METRICS_VERSIONS, ProgramName


class Autoscaling(Component):
    """The queue as a metric, and the autoscaler that reads it: Kubernetes' own, or KEDA."""

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        settings = self._settings
        account = rbac.service_account(settings, naming.METRICS_ACCOUNT, ProgramName.METRICS)
        needed: list[pulumi.Resource] = [
            self._declare(ServiceAccount, account),
            self._declare(Role, rbac.metrics_role(settings)),
            self._declare(RoleBinding, rbac.metrics_role_binding(settings)),
        ]
        serves_api, keda = metrics_server.serves_api(settings), settings.hpa.engine == "keda"
        if serves_api or keda:
            needed.append(self._declare(ClusterRoleBinding, rbac.metrics_auth_delegator(settings)))
        if serves_api:
            needed += [self._declare(RoleBinding, rbac.metrics_auth_reader(settings)), *self._certificate()]
        server = self._declare(Deployment, metrics_server.deployment(settings), after=needed)
        service = self._declare(Service, metrics_server.service(settings), after=needed)
        if keda:
            reader = self._queue_reader()
            self._declare(CustomResource, autoscaling.scaled_object(settings), after=[server, service, *reader])
        else:
            versions = CUSTOM_METRICS_VERSIONS if serves_api else ()
            metrics = [
                self._declare(APIService, metrics_server.api_service(settings, version), after=[server, service])
                for version in versions
            ]
            scaler = autoscaling.horizontal_pod_autoscaler(settings)
            self._declare(HorizontalPodAutoscaler, scaler, after=[server, service, *metrics])
        self.register_outputs({})

    def _queue_reader(self) -> list[pulumi.Resource]:
        settings = self._settings
        account = rbac.service_account(settings, naming.QUEUE_READER, ProgramName.METRICS)
        return [
            self._declare(ServiceAccount, account),
            self._declare(Role, rbac.keda_role(settings)),
            self._declare(RoleBinding, rbac.keda_role_binding(settings)),
            self._declare(CustomResource, autoscaling.trigger_authentication(settings)),
        ]

    def _certificate(self) -> list[pulumi.Resource]:
        settings = self._settings
        if not metrics_server.uses_cert_manager(settings):
            return [
                self._declare(ClusterRole, rbac.metrics_ca_role(settings)),
                self._declare(ClusterRoleBinding, rbac.metrics_ca_role_binding(settings)),
            ]
        issuer: list[pulumi.Resource] = []
        if not settings.hpa.metrics_server.issuer:
            issuer = [self._declare(CustomResource, metrics_server.issuer(settings))]
        return [*issuer, self._declare(CustomResource, metrics_server.certificate(settings), after=issuer)]
