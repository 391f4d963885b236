"""Sections about what runs: agents' Jobs, workers, operator, MCP sidecar, autoscaling."""

from typing import Annotated, Literal

from pydantic import Field

from components.settings.section import Resources, ScalingRule, Section, resources, scaling_rule
from components.settings.values import (
    DnsLabel,
    DnsName,
    EnvName,
    Identifier,
    JobTemplate,
    Matching,
    OptionalCron,
    OptionalDnsName,
    OptionalImage,
    OptionalUrl,
    OptionalUsdc,
    PodTemplate,
    Prose,
    TcpPort,
    TimeZone,
    WatchedNamespaces,
)
from runtime.contract import Port

AGENT_RESOURCES = resources("250m", "256Mi", "1000m", "512Mi")
Credential = Literal["none", "own", "payer"]
Environment = dict[EnvName, Prose]


class JobDefaults(Section):
    """What every agent's Job has in common."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2147483647)] = 3600
    """Seconds for which a finished and settled Job of a schedule stays. A Job that stands in the manifests itself stays
    until you delete it: whatever applies them again would create it anew, and it would be paid again."""
    backoff_limit: Annotated[int, Field(ge=0, le=20)] = 2
    """Retries of a failed pod before the Job has failed."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] = 3600
    """Seconds a Job may run, retries included; below the escrow's time-out, else unsettled money goes back."""
    stable_name: bool = False
    """`false`: a hash of its content ends the Job's name, so a change is a new Job; `true`: the bare name, and a
    changed Job must be deleted first (Pulumi does)."""


class Agent(Section):
    """One agent: a Job, or with a schedule a CronJob."""

    name: Annotated[DnsLabel, Field(max_length=52, json_schema_extra={"maxLength": 52})]
    """Unique name; at most 52 characters, because Kubernetes and the content hash append to it."""
    image: OptionalImage = ""
    """Pinned image; empty: the runtime image."""
    command: tuple[str, ...] = ()
    """Command of the container; empty: the runtime's agent, run once, or what an `image` of its own runs by itself."""
    task: Prose = "Process the agent task queue"
    """What to do, as `TASK_DESCRIPTION`."""
    payee: Identifier = ""
    """Who is paid: the payee's agent id; needed where the operator funds the Job."""
    budget_usdc: OptionalUsdc = None
    """USDC for one run; empty: `escrow.defaultBudgetUsdc`."""
    agent_id: Identifier = ""
    """`AGENT_ID` of this agent, one for each logical agent; empty: the wallet in the credentials Secret."""
    credential: Credential = "none"
    """Whose API key the agent's own container holds. `none`: nobody's; the faucet claim and the MCP sidecar beside it
    hold the payer's. `own`: the agent's, from `ownSecret`, in all three. `payer`: the payer's, as the guide has it: the
    agent can spend the whole balance, whatever the budgets say."""
    own_secret: OptionalDnsName = ""
    """Secret with the agent's own key and id, under the same keys as the credentials Secret (`credential: own`); empty:
    the agent's name and `-creds`."""
    escrow_id: Identifier = ""
    """An escrow that exists already and pays for this Job (`funding.mode: annotation`)."""
    work_id: Identifier = ""
    """The identity of its work, which is paid once however often its Job is created; empty: the agent's name and a hash
    of its content, so that a changed agent is new work. With a schedule each scheduled time is a work of its own."""
    env: Environment = {}
    """Further environment variables of the container; nothing secret."""
    resources: Resources = AGENT_RESOURCES
    """CPU and memory of the agent's container."""
    parallelism: Annotated[int, Field(ge=1, le=1000)] = 1
    """Pods that work on the Job at one time; one escrow pays for all of them."""
    completions: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Pods that must succeed; empty: as many as `parallelism`."""
    schedule: OptionalCron = ""
    """When it runs, as a Kubernetes CronJob writes it: five fields, or `@hourly` and the like; empty: once."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of the schedule."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words (`metadata`, `spec`), merged as `kubectl patch` does: volumes,
    `envFrom`, node selectors, init containers, a ServiceAccount (docs/pod-template.md). Its container is `agent`."""
    job: JobTemplate = {}
    """What else its Job has, in Kubernetes' own words (`metadata`, `spec`): labels, `backoffLimit`, a time limit."""


class Worker(Section):
    """The long-running agents behind the autoscaler."""

    enabled: bool = True
    """Whether the stack has workers."""
    image: OptionalImage = ""
    """Pinned image; empty: the runtime image."""
    command: tuple[str, ...] = ()
    """Command of the container; empty: the runtime's worker, or what an `image` of its own runs by itself."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 2
    """Pods, where no autoscaler owns their number."""
    task: Prose = "Process the agent task queue"
    """What to do, as `TASK_DESCRIPTION`."""
    payee: Identifier = ""
    """Their wallet: whose escrows they take, and payroll pays; give them one of their own, which is no Job's payee.
    Empty: the wallet in the credentials Secret."""
    budget_usdc: OptionalUsdc = None
    """USDC for one task; empty: `escrow.defaultBudgetUsdc`."""
    credential: Literal["none", "payer"] = "none"
    """Whose API key the worker's own container holds: nobody's, or the payer's, which can spend the whole balance."""
    env: Environment = {}
    """Further environment variables of the container; nothing secret."""
    resources: Resources = AGENT_RESOURCES
    """CPU and memory of the worker's container."""
    probes: bool = True
    """Whether the container answers `/livez` and `/readyz` on port 8080, as the runtime's worker does."""
    work_log: bool = True
    """Whether they serve a work log on port 8080, as the runtime's worker does, by which payroll pays. `false`: it pays
    by age alone, as the guide has it."""
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds a worker has to finish its task when it is scaled in."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words (docs/pod-template.md). Its container is `agent`."""


UrlPattern = Annotated[str, Matching(r"[!-~]{1,2000}", "a URL, or a pattern with `*` in it", "https://escrow.example")]


class Operator(Section):
    """The controller that pays for Jobs when they end."""

    enabled: bool = True
    """Whether the stack has an operator; without it no Job carries the settlement finalizer."""
    image: OptionalImage = ""
    """Pinned image; empty: the runtime image."""
    watch_namespace: WatchedNamespaces = ""
    """A namespace, a list `a,b`, or `selector:key=value` over namespaces' labels; empty: the stack's namespace."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Pods; with more than one they elect a leader."""
    resync_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    """Seconds between two full comparisons with the payment service."""
    rerun_failed_work: bool = False
    """Whether a work whose last run was not paid runs again when its Job is created anew. `false`: it waits for
    `kubectl purpleflea run-again`, because a dispute may still be decided for the payee of the first run."""
    scheduled_wait_minutes: Annotated[int, Field(ge=1, le=10080)] = 60
    """Minutes that a schedule's run waits for money or a budget. Then it ends without having run, because a run that
    waits counts as active and holds up every following one."""
    former_escrow_urls: tuple[UrlPattern, ...] = ()
    """Other URLs of the same escrow service, at which accounts were opened; `*` stands for any characters. The operator
    leaves an account of another service alone."""
    admission_check: OptionalDnsName = ""
    """Name of an AdmissionCheck of Kueue's (0.15 or later, which must be installed) that the stack creates and the
    operator answers: a queued Job gets its money once its quota is reserved. Empty: at once, whatever Kueue says."""
    resources: Resources = resources("50m", "64Mi", "200m", "128Mi")
    """CPU and memory of the operator container."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words: node selectors, tolerations, annotations, a priority."""


McpTool = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class Mcp(Section):
    """The MCP proxy beside each agent."""

    enabled: bool = True
    """Whether agents and workers get the sidecar `pf-mcp-proxy`."""
    faucet_endpoint: OptionalUrl = ""
    """MCP server of the faucet; empty: `/mcp` of `services.faucetUrl`, or the sandbox's where it is used."""
    escrow_endpoint: OptionalUrl = ""
    """MCP server of the escrow service; empty: `/mcp` of `services.escrowUrl`, or the sandbox's where it is used."""
    container_port: TcpPort = Port.MCP.value
    """TCP port on the pod's loopback; above 1023, because the container is not root."""
    deny_tools: tuple[McpTool, ...] = ()
    """Tools of the escrow service that agents may neither see nor call, e.g. `release_escrow`."""
    payees: tuple[Identifier, ...] = ()
    """The only agents that `create_escrow` may pay; empty: any."""
    spend_limit_usdc: OptionalUsdc = None
    """The most that one call may lock; empty: no bound."""
    pod_budget_usdc: OptionalUsdc = None
    """The most that all calls of one pod may lock in its life; empty: no bound."""
    pod_daily_budget_usdc: OptionalUsdc = None
    """The most that they may lock in one UTC day; empty: no bound."""
    on_exceed: Literal["deny", "requireApproval"] = "deny"
    """What becomes of a call that a budget cannot hold; `requireApproval`: a person can let that one call pass."""
    resources: Resources = resources("25m", "32Mi", "100m", "64Mi")
    """CPU and memory of the sidecar."""


class MetricsServer(Section):
    """The service that turns the escrow queue into a metric."""

    poll_seconds: Annotated[int, Field(ge=5, le=300)] = 15
    """Seconds between two reads of the queue."""
    tls: Literal["self", "certManager"] = "self"
    """`self`: the server makes its certificate and registers its CA; `certManager`: cert-manager does both."""
    issuer: OptionalDnsName = ""
    """cert-manager Issuer in the namespace; empty: a self-signed one is created."""
    resources: Resources = resources("50m", "64Mi", "200m", "128Mi")
    """CPU and memory of the metrics server."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words: node selectors, tolerations, annotations, a priority."""


class Hpa(Section):
    """Scaling the workers on the escrow queue."""

    enabled: bool = True
    """Whether an autoscaler owns the number of workers."""
    engine: Literal["hpa", "keda", "prometheus", "external"] = "hpa"
    """Who tells the autoscaler. `hpa`: the custom metrics API of this stack; `keda`: a ScaledObject, where KEDA is
    installed; `prometheus`: an adapter that serves that API from Prometheus; `external`: one that serves the external
    metrics API."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 2
    """Fewest workers; 0 needs Kubernetes 1.37, or KEDA."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 20
    """Most workers, and so the most money locked at one time."""
    escrow_queue_threshold: Annotated[int, Field(ge=1, le=1000000)] = 10
    """Pending escrows for each worker."""
    scale_up: ScalingRule = scaling_rule(30, 4, 60)
    """How fast workers are added; `pods: 20`, `periodSeconds: 15` is fast (docs/autoscaling.md)."""
    scale_down: ScalingRule = scaling_rule(300, 2, 60)
    """How fast they are taken away."""
    metrics_server: MetricsServer = MetricsServer()
    """The metric's source."""


class Admission(Section):
    """What the API server itself refuses or adds, by admission policies; they need cluster-wide rights to create."""

    enabled: bool = True
    """Whether policies keep the payer's key to the stack's own containers, and its ServiceAccounts to whoever has a
    right to them (docs/credentials.md)."""
    allowed_service_accounts: tuple[DnsName, ...] = ()
    """ServiceAccounts of yours whose pods may have the stack's own containers with the key: faucet claim, sidecar."""
    job_gate: Literal["policy", "manifest"] = "policy"
    """Who holds back a Job until its money is locked: an admission policy (Kubernetes 1.36), or its own manifest."""
