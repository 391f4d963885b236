"""Who may do what, and why. The grants are data, so that `docs/rbac.md` is written from what is rendered."""

from dataclasses import dataclass
from typing import Final

from components.manifests import kueue, naming
from components.manifests.naming import Manifest, cluster_name, metadata
from components.settings import Settings
from runtime.contract import (
    BUDGET_PLURAL,
    CUSTOM_METRICS_GROUP,
    CUSTOM_METRICS_VERSIONS,
    ESCROW_GROUP,
    ESCROW_PLURAL,
    KUEUE_GROUP,
    TASK_CLAIMS,
    ProgramName,
)

_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule of a Role and its reason."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()

    def rule(self) -> Manifest:
        """The rule as RBAC has it."""
        found: Manifest = {"apiGroups": [self.group], "resources": [*self.resources], "verbs": [*self.verbs]}
        return found | ({"resourceNames": [*self.names]} if self.names else {})


OPERATOR_GRANTS: Final = (
    Grant("batch", ("jobs",), ("get", "list", "watch", "patch"), "see Jobs end; annotate, resume and finalize them"),
    Grant(ESCROW_GROUP, (ESCROW_PLURAL,), ("get", "list", "watch", "create", "patch"), "keep one account a Job"),
    Grant(ESCROW_GROUP, (f"{ESCROW_PLURAL}/status",), ("patch",), "write the intent before the call"),
    Grant(ESCROW_GROUP, (BUDGET_PLURAL,), ("get", "create"), "keep one budget a namespace"),
    Grant(ESCROW_GROUP, (f"{BUDGET_PLURAL}/status",), ("patch",), "reserve before anything is sent"),
    Grant("", ("pods",), ("list",), "name the container that failed in a dispute's reason"),
    Grant("", ("events",), ("create",), "say on the Job what happened"),
)
OPERATOR_CLUSTER_GRANTS: Final = (
    *OPERATOR_GRANTS,
    Grant("", ("namespaces",), ("get", "list", "watch"), "find the namespaces that the selector picks"),
)
KUEUE_GRANTS: Final = (
    Grant(KUEUE_GROUP, ("workloads",), ("list", "watch"), "see when Kueue has reserved a Job's quota"),
    Grant(KUEUE_GROUP, ("workloads/status",), ("patch",), "tell Kueue that the Job's money is locked, or is not"),
)
CLAIM_GRANTS: Final = (
    Grant(
        "coordination.k8s.io",
        ("leases",),
        ("get", "list", "create", "delete"),
        "claim an escrow for one Job, under a name made of the escrow's id; remove the claims of deleted Escrows",
    ),
)
ELECTION_GRANTS: Final = (
    Grant("coordination.k8s.io", ("leases",), ("patch",), "hold the Lease of the leader", (naming.OPERATOR,)),
)
WORKER_GRANTS: Final = (
    Grant(
        "coordination.k8s.io",
        ("leases",),
        ("get", "create", "patch"),
        "claim tasks, and keep there what was done until payroll has settled it",
        TASK_CLAIMS,
    ),
    Grant(ESCROW_GROUP, (ESCROW_PLURAL,), ("list",), "see which tasks payroll hands out"),
)
PAYROLL_GRANTS: Final = (
    Grant("", ("pods",), ("list",), "find the workers whose logs are read"),
    Grant("batch", ("jobs",), ("list",), "leave the escrows of Jobs alone; notice runs that were not made up"),
    Grant("batch", ("cronjobs",), ("get",), "know its own schedule", (naming.PAYROLL,)),
    Grant(ESCROW_GROUP, (ESCROW_PLURAL,), ("get", "list", "create", "patch"), "keep one account a task"),
    Grant(ESCROW_GROUP, (f"{ESCROW_PLURAL}/status",), ("patch",), "write the intent before the call"),
    Grant(
        "coordination.k8s.io",
        ("leases",),
        ("get", "list", "create", "delete"),
        "claim an escrow for one task, as the operator does for one Job; see what workers have done",
    ),
    Grant("coordination.k8s.io", ("leases",), ("patch",), "drop what it has settled", TASK_CLAIMS),
    Grant("", ("events",), ("create",), "say what was paid"),
)
RETENTION_GRANTS: Final = (
    Grant("batch", ("jobs",), ("list",), "keep the accounts of Jobs that are there"),
    Grant(ESCROW_GROUP, (ESCROW_PLURAL,), ("list", "delete"), "remove settled accounts that the archive holds"),
)
RETENTION_CLUSTER_GRANTS: Final = (
    *RETENTION_GRANTS,
    Grant("", ("namespaces",), ("list",), "find the namespaces that the selector picks"),
)
METRICS_GRANTS: Final = (
    Grant(ESCROW_GROUP, (ESCROW_PLURAL,), ("list",), "count the tasks that payroll hands out"),
    Grant("coordination.k8s.io", ("leases",), ("list",), "see which tasks are under way, and which are done"),
)
KEDA_GRANTS: Final = (
    Grant(
        "",
        ("serviceaccounts/token",),
        ("create",),
        "have KEDA show the metrics server a token of the queue's reader",
        (naming.QUEUE_READER,),
    ),
)
METRICS_CA_GRANTS: Final = (
    Grant(
        "apiregistration.k8s.io",
        ("apiservices",),
        ("get", "patch"),
        "register the CA of the certificate it made",
        tuple(f"{version}.{CUSTOM_METRICS_GROUP}" for version in CUSTOM_METRICS_VERSIONS),
    ),
)


def secret_grants(settings: Settings) -> tuple[Grant, ...]:
    """The agent's one right: its credentials, by name."""
    return (Grant("", ("secrets",), ("get",), "read its own credentials", (settings.payer_secret,)),)


def check_grants(settings: Settings) -> tuple[Grant, ...]:
    """The operator's rights to the one AdmissionCheck that it answers."""
    names = (settings.operator.admission_check,)
    return (
        Grant(KUEUE_GROUP, ("admissionchecks",), ("get",), "find out whether its check is there", names),
        Grant(KUEUE_GROUP, ("admissionchecks/status",), ("patch",), "mark it active, so that Kueue admits Jobs", names),
    )


def service_account(settings: Settings, name: str, component: ProgramName) -> Manifest:
    """A ServiceAccount whose token is mounted only where a pod asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(settings, name, component),
        "automountServiceAccountToken": False,
    }


def secret_reader(settings: Settings) -> Manifest:
    """Role `pf-secret-reader`."""
    return _role(settings, naming.SECRET_READER, ProgramName.AGENT, secret_grants(settings))


def agent_reads_secret(settings: Settings) -> Manifest:
    """RoleBinding `pf-agent-reads-secret`."""
    name, role = naming.AGENT_READS_SECRET, naming.SECRET_READER
    return _binding(settings, name, ProgramName.AGENT, naming.AGENT_ACCOUNT, role=role)


def operator_role(settings: Settings, namespace: str) -> Manifest:
    """The operator's rights in one watched namespace."""
    grants = OPERATOR_GRANTS + (KUEUE_GRANTS if kueue.is_used(settings) else ())
    return _role(settings, naming.OPERATOR, ProgramName.OPERATOR, grants, namespace)


def operator_role_binding(settings: Settings, namespace: str) -> Manifest:
    """Gives them to the operator."""
    return _binding(settings, naming.OPERATOR, ProgramName.OPERATOR, naming.OPERATOR_ACCOUNT, namespace)


def operator_cluster_role(settings: Settings) -> Manifest:
    """The operator's rights where it watches by a selector: namespaces to come are not known by name."""
    name = cluster_name(settings, naming.OPERATOR)
    grants = OPERATOR_CLUSTER_GRANTS + (KUEUE_GRANTS if kueue.is_used(settings) else ())
    return _role(settings, name, ProgramName.OPERATOR, grants, None)


def operator_cluster_role_binding(settings: Settings) -> Manifest:
    """Gives them to the operator."""
    name = cluster_name(settings, naming.OPERATOR)
    return _binding(settings, name, ProgramName.OPERATOR, naming.OPERATOR_ACCOUNT, None)


def operator_check_role(settings: Settings) -> Manifest:
    """Finding Kueue's AdmissionCheck and marking it active: it stands outside namespaces."""
    name = cluster_name(settings, naming.OPERATOR_CHECK)
    return _role(settings, name, ProgramName.OPERATOR, check_grants(settings), None)


def operator_check_role_binding(settings: Settings) -> Manifest:
    """Gives it to the operator."""
    name = cluster_name(settings, naming.OPERATOR_CHECK)
    return _binding(settings, name, ProgramName.OPERATOR, naming.OPERATOR_ACCOUNT, None)


def operator_lease_role(settings: Settings) -> Manifest:
    """Claims on escrows; leader election, where the operator has more than one replica."""
    grants = CLAIM_GRANTS + (ELECTION_GRANTS if settings.operator.replicas > 1 else ())
    return _role(settings, f"{naming.OPERATOR}-lease", ProgramName.OPERATOR, grants)


def operator_lease_role_binding(settings: Settings) -> Manifest:
    """Gives it to the operator."""
    return _binding(settings, f"{naming.OPERATOR}-lease", ProgramName.OPERATOR, naming.OPERATOR_ACCOUNT)


def worker_role(settings: Settings) -> Manifest:
    """The workers' rights."""
    return _role(settings, naming.WORKERS, ProgramName.WORKER, WORKER_GRANTS)


def worker_role_binding(settings: Settings) -> Manifest:
    """Gives them to the workers."""
    return _binding(settings, naming.WORKERS, ProgramName.WORKER, naming.WORKER_ACCOUNT)


def worker_auth_delegator(settings: Settings) -> Manifest:
    """Lets a worker ask the API server who wants to read its work log."""
    return _auth_delegator(settings, naming.WORKERS, ProgramName.WORKER, naming.WORKER_ACCOUNT)


def payroll_role(settings: Settings) -> Manifest:
    """Payroll's rights."""
    return _role(settings, naming.PAYROLL, ProgramName.PAYROLL, PAYROLL_GRANTS)


def payroll_role_binding(settings: Settings) -> Manifest:
    """Gives them to payroll."""
    return _binding(settings, naming.PAYROLL, ProgramName.PAYROLL, naming.PAYROLL_ACCOUNT)


def retention_role(settings: Settings, namespace: str | None) -> Manifest:
    """Retention's rights in one watched namespace; in all of them for None."""
    name = naming.RETENTION if namespace else cluster_name(settings, naming.RETENTION)
    grants = RETENTION_GRANTS if namespace else RETENTION_CLUSTER_GRANTS
    return _role(settings, name, ProgramName.RETENTION, grants, namespace)


def retention_role_binding(settings: Settings, namespace: str | None) -> Manifest:
    """Gives them to retention."""
    name = naming.RETENTION if namespace else cluster_name(settings, naming.RETENTION)
    return _binding(settings, name, ProgramName.RETENTION, naming.RETENTION_ACCOUNT, namespace)


def metrics_role(settings: Settings) -> Manifest:
    """What the metrics server reads of the queue, beside the payer's list."""
    return _role(settings, naming.METRICS_SERVER, ProgramName.METRICS, METRICS_GRANTS)


def metrics_role_binding(settings: Settings) -> Manifest:
    """Gives it to the metrics server."""
    return _binding(settings, naming.METRICS_SERVER, ProgramName.METRICS, naming.METRICS_ACCOUNT)


def keda_role(settings: Settings) -> Manifest:
    """KEDA's right to the one token that it reads the queue with."""
    return _role(settings, naming.QUEUE_READER, ProgramName.METRICS, KEDA_GRANTS)


def keda_role_binding(settings: Settings) -> Manifest:
    """Gives it to KEDA's operator, in its own namespace."""
    made = _binding(settings, naming.QUEUE_READER, ProgramName.METRICS, naming.KEDA_ACCOUNT)
    made["subjects"][0]["namespace"] = settings.network_policy.keda_namespace
    return made


def metrics_auth_delegator(settings: Settings) -> Manifest:
    """Lets the metrics server ask the API server who may read a metric."""
    return _auth_delegator(settings, naming.METRICS_SERVER, ProgramName.METRICS, naming.METRICS_ACCOUNT)


def _auth_delegator(settings: Settings, of: str, program: ProgramName, account: str) -> Manifest:
    name = cluster_name(settings, f"{of}-auth-delegator")
    return _binding(settings, name, program, account, None, role="system:auth-delegator")


def metrics_auth_reader(settings: Settings) -> Manifest:
    """Lets it read which front proxy to trust, a ConfigMap in `kube-system`."""
    name = cluster_name(settings, f"{naming.METRICS_SERVER}-auth-reader")
    role = "extension-apiserver-authentication-reader"
    return _binding(settings, name, ProgramName.METRICS, naming.METRICS_ACCOUNT, "kube-system", role=role)


def metrics_ca_role(settings: Settings) -> Manifest:
    """Registering its own CA in the two APIServices, where it makes its own certificate."""
    name = cluster_name(settings, f"{naming.METRICS_SERVER}-ca")
    return _role(settings, name, ProgramName.METRICS, METRICS_CA_GRANTS, None)


def metrics_ca_role_binding(settings: Settings) -> Manifest:
    """Gives it to the metrics server."""
    name = cluster_name(settings, f"{naming.METRICS_SERVER}-ca")
    return _binding(settings, name, ProgramName.METRICS, naming.METRICS_ACCOUNT, None)


def _role(
    settings: Settings, name: str, component: ProgramName, grants: tuple[Grant, ...], namespace: str | None = ""
) -> Manifest:
    """A Role, or a ClusterRole where the namespace is None."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole" if namespace is None else "Role",
        "metadata": metadata(settings, name, component, namespace=namespace),
        "rules": [grant.rule() for grant in grants],
    }


def _binding(
    settings: Settings, name: str, component: ProgramName, account: str, namespace: str | None = "", *, role: str = ""
) -> Manifest:
    """Gives the role, by default the one of the same name, to a ServiceAccount of the stack."""
    kind = "ClusterRole" if namespace is None else "Role"
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata(settings, name, component, namespace=namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role or name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": settings.namespace}],
    }
