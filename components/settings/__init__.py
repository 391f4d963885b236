"""Frozen pydantic models: the one source for Pulumi configuration, documentation and Helm values."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import ValidationError, ValidationInfo, model_validator

from components.settings import checks
from components.settings.fly import FlySettings
from components.settings.payments import (
    Api,
    Budget,
    Credentials,
    Escrow,
    Faucet,
    Funding,
    Payroll,
    Sandbox,
    Services,
)
from components.settings.platform import Encryption, Images, Monitoring, Network, NetworkPolicy
from components.settings.problems import BadSettings, Problem, dotted, from_pydantic, removable, rests_on, without
from components.settings.retention import Retention
from components.settings.section import Section
from components.settings.values import DnsLabel, ManifestPath, usdc_text
from components.settings.workloads import Admission, Agent, Hpa, JobDefaults, Mcp, Operator, Worker
from runtime.contract import SECRET_NAME

_DEPLOYED = "deployed"
__all__ = ["Agent", "BadSettings", "FlySettings", "Problem", "Settings", "Worker", "usdc_text"]


class Settings(Section):
    """A stack's `purpleflea:` section."""

    enabled: bool = True
    """Whether the stack has anything at all."""
    namespace: DnsLabel = "agent-jobs"
    """Namespace of everything in the stack."""
    create_namespace: bool = True
    """Whether the stack creates the namespace; otherwise it exists and enforces the `restricted` Pod Security level,
    and others may have pods in it: the stack's NetworkPolicies pick its own alone."""
    create_crd: bool = True
    """Whether the stack creates the definitions of the accounts; otherwise somebody with rights to the cluster applies
    them, from the folder `administrator` of the stack's files."""
    create_policies: bool = True
    """Whether the stack creates its admission policies; otherwise somebody with rights to the cluster applies them."""
    target: Literal["artifacts", "cluster"] = "artifacts"
    """`artifacts`: files only, no cluster needed; `cluster`: `pulumi up` creates the objects."""
    host_users: bool = True
    """`false`: pods in user namespaces of their own, so that no user of a container is one of the node's; for nodes
    that can (Kubernetes 1.33, containerd 2, Linux 6.3)."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much the programs log, in JSON lines on their standard output."""
    api: Api = Api()
    """How the payment service is spoken to."""
    credentials: Credentials = Credentials()
    """Where the API key is."""
    services: Services = Services()
    """Where the six services are."""
    faucet: Faucet = Faucet()
    """Claiming the free dollar."""
    escrow: Escrow = Escrow()
    """What a task is worth."""
    funding: Funding = Funding()
    """How a Job gets its escrow."""
    budget: Budget = Budget()
    """The most that may be locked."""
    job: JobDefaults = JobDefaults()
    """What agents' Jobs have in common."""
    agents: tuple[Agent, ...] = (Agent(name="pf-agent-job"),)
    """The agents; each becomes a Job, or with a schedule a CronJob."""
    worker: Worker = Worker()
    """The long-running agents."""
    mcp: Mcp = Mcp()
    """The MCP sidecar."""
    operator: Operator = Operator()
    """Pays for Jobs."""
    payroll: Payroll = Payroll()
    """Pays workers."""
    hpa: Hpa = Hpa()
    """Scales workers."""
    images: Images = Images()
    """Container images."""
    network: Network = Network()
    """Proxy and certificates of a company's network."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Who may reach whom."""
    admission: Admission = Admission()
    """Who may use the credentials."""
    encryption: Encryption = Encryption()
    """Encryption of Secrets at rest."""
    sandbox: Sandbox = Sandbox()
    """A local stand-in for Purple Flea."""
    extra_manifests: tuple[ManifestPath, ...] = ()
    """YAML files of your own, relative to the stack file's folder: checked, and carried wherever the stack goes."""
    retention: Retention = Retention()
    """What outlives the stack."""
    monitoring: Monitoring = Monitoring()
    """Alerts and a dashboard."""
    fly: FlySettings = FlySettings()
    """The Fly.io app."""

    @property
    def scales_workers(self) -> bool:
        """Whether there are workers and an autoscaler that owns their number."""
        return self.worker.enabled and self.hpa.enabled

    @property
    def pays_workers(self) -> bool:
        """Whether there are workers and a payroll for them."""
        return self.worker.enabled and self.payroll.enabled

    @property
    def payer_secret(self) -> str:
        """Name of the Secret with the payer's key, created or existing."""
        return self.credentials.existing_secret or SECRET_NAME

    @property
    def holds_payers_key(self) -> tuple[str, ...]:
        """Whose own container holds the payer's key: agents by name, and `worker`."""
        agents = [agent.name for agent in self.agents if agent.credential == "payer"]
        worker = self.worker.enabled and self.worker.credential == "payer"
        return (*agents, *(["worker"] if worker else []))

    def task_budget(self, of: Agent | Worker) -> Decimal:
        """USDC for one run of an agent, or one task of a worker."""
        return self.escrow.default_budget_usdc if of.budget_usdc is None else of.budget_usdc

    @model_validator(mode="after")
    def _across(self, info: ValidationInfo) -> Self:
        found = list(checks.problems(self))
        if info.context == _DEPLOYED:
            found += checks.deployment_problems(self)
        if found:
            raise BadSettings(found)
        return self

    @classmethod
    def parse(cls, mapping: Mapping[str, Any], *, deployed: bool = False) -> Self:
        """Settings from a `purpleflea:` mapping; raises `BadSettings` with every mistake at once.

        `deployed` are those that somebody wrote down for a stack: what must be decided for it has no default there.
        """
        found: list[Problem] = []
        removed: list[str] = []
        remaining = mapping
        while True:
            try:
                settings = cls.model_validate(
                    _tuples(remaining), by_alias=True, by_name=False, context=_DEPLOYED if deployed else None
                )
            except ValidationError as error:
                details = error.errors()
                found = found or [from_pydantic(one, cls) for one in details]
                # What is left without the refused values may hold further mistakes: a person wants to see them all.
                places = [removable(one) for one in details]
                removed += [dotted(place) for place in places]
                if () not in places:
                    remaining = without(remaining, places)
                    continue
            except BadSettings as error:
                found += [problem for problem in error.problems if not rests_on(problem, removed)]
            else:
                if not found:
                    return settings
            raise BadSettings(found)


def _tuples(value: Any) -> Any:
    """Lists as the models hold them."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
