"""The components that other Pulumi languages can use."""

from components.agent_jobs import AgentJobs
from components.agent_namespace import AgentNamespace
from components.agent_workers import AgentWorkers
from components.artifact import ArtifactFolder
from components.autoscaling import Autoscaling
from components.credentials import Credentials
from components.escrow_ledger import EscrowLedger
from components.escrow_operator import EscrowOperator
from components.extra_manifests import ExtraManifests
from components.fly_app import FlyApp
from components.monitoring import Monitoring
from components.network_policies import NetworkPolicies
from components.payroll import Payroll
from components.retention import Retention
from components.sandbox import Sandbox

NAME = "purpleflea"
COMPONENTS = [
    AgentNamespace,
    EscrowLedger,
    Credentials,
    NetworkPolicies,
    Sandbox,
    EscrowOperator,
    AgentWorkers,
    Autoscaling,
    Payroll,
    Retention,
    Monitoring,
    AgentJobs,
    ExtraManifests,
    FlyApp,
    ArtifactFolder,
]
