"""What the operator reads and writes at the API server, in one place."""

from dataclasses import dataclass

from runtime.contract import DOMAIN
from runtime.kubernetes.claims import Claims
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events
from runtime.operator.budgets import Budgets
from runtime.operator.config import OperatorConfig
from runtime.operator.job_objects import JobObjects
from runtime.operator.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ClusterObjects:
    """The objects of the cluster that the operator works on."""

    jobs: JobObjects
    escrows: EscrowObjects
    claims: Claims
    events: Events
    budgets: Budgets

    @classmethod
    def of(cls, api: KubernetesApi, config: OperatorConfig, metrics: Metrics) -> "ClusterObjects":
        """With the claims in the operator's own namespace, and events in its own name."""
        escrows = EscrowObjects(api)
        events = Events(api, f"{DOMAIN}/escrow-operator", config.pod_name)
        return cls(
            jobs=JobObjects(api),
            escrows=escrows,
            claims=Claims(api, escrows, config.pod_namespace),
            events=events,
            budgets=Budgets(api, escrows, events, metrics, config.budget.limits, config.pod_namespace),
        )
