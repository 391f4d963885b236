"""Names that both sides agree on: what `components` declares and `runtime` reads.

Standard library only, because the manifests import it at synth time and the images import it at start.
Names in the guides (`PF_API_KEY`, `purpleflea.com/escrow-id`, `pf-agent-job`, ...) are users' vocabulary:
they are fixed here and never changed.
"""

from enum import Enum, IntEnum, StrEnum
from typing import Any, Final

VERSION: Final = "0.1.0"
"""Of the programs, the images and the components."""

DOMAIN: Final = "purpleflea.com"

# --- annotations, labels and the finalizer

ESCROW_ID_ANNOTATION: Final = f"{DOMAIN}/escrow-id"
"""On a Job: the escrow that pays for it. The user's way in."""

ESCROW_REQUEST_ANNOTATION: Final = f"{DOMAIN}/escrow-request"
"""On a Job from its creation on: JSON `{"payee": str, "amountUsdc": "0.10"}`; the operator locks it, then resumes."""

WORK_ID_ANNOTATION: Final = f"{DOMAIN}/work-id"
"""On a Job from its creation on: the identity of its work, which stays when the Job is created anew. Paid once."""

WORK_ID_LIMIT: Final = 128
"""Characters of a work id; in an Escrow it may be longer, by the run of a schedule."""

FUNDED_ANNOTATION: Final = f"{DOMAIN}/funded"
"""On a Job: its own UID once its escrow is bound, so that it may run. A copy has another UID."""

WITHHELD_ANNOTATION: Final = f"{DOMAIN}/withheld"
"""On a Job: why it is not run, because another Job's account has its work."""

RUN_AGAIN_ANNOTATION: Final = f"{DOMAIN}/run-again"
"""On a Job: who had its work run once more, and why. The Escrow of the first run is what counts."""

SCHEDULED_ANNOTATION: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Kubernetes', on a Job of a CronJob: the time it was scheduled for."""

BY_HAND_ANNOTATION: Final = "cronjob.kubernetes.io/instantiate"
"""kubectl's, on a Job that somebody made by hand of a CronJob."""

ACT_LABEL: Final = f"{DOMAIN}/acted-at"
"""On an Escrow: when a person last decided about it; the operator watches Escrows that carry it."""

BUDGET_LABEL: Final = f"{DOMAIN}/budget"
"""On an Escrow: `counts` while what it holds counts in its namespace's Budget, or may."""

SETTLED_ANNOTATION: Final = f"{DOMAIN}/settled"
"""On a Job: its own UID once its Escrow is closed, so that later operators skip it. A copy has another UID."""

ABANDONED_ANNOTATION: Final = f"{DOMAIN}/settlement-abandoned"
"""On a Job: why a person removed the finalizer early; the job gate lets it go only together with a reason."""

CONTENT_HASH_ANNOTATION: Final = f"{DOMAIN}/content-hash"
"""On a pod template: changes when configuration changes that the pod reads only at start."""

WORK_DONE_ANNOTATION: Final = f"{DOMAIN}/work-done"
"""On the Lease of a task's claim: what was done under it and payroll has not settled yet, as lines of a work log."""

AGENT_LABEL: Final = f"{DOMAIN}/agent"
"""On Jobs and pods: the agent's name in the settings."""

REGION_LABEL: Final = "topology.kubernetes.io/region"
"""Kubernetes' own, on a Job where whoever writes its manifest knows where it runs; a statement can group by it."""

SETTLEMENT_FINALIZER: Final = f"{DOMAIN}/settlement"
"""On a Job, from its creation on: held until the terminal condition is recorded in the Escrow."""

KUEUE_GROUP: Final = "kueue.x-k8s.io"
KUEUE_VERSION: Final = "v1beta2"
KUEUE_QUEUE_LABEL: Final = f"{KUEUE_GROUP}/queue-name"
"""On a Job that Kueue admits: Kueue alone resumes it, once it carries its escrow's id."""

KUEUE_JOB_UID_LABEL: Final = f"{KUEUE_GROUP}/job-uid"
"""Kueue's, on a Workload: which Job it admits."""

KUEUE_CHECK_CONTROLLER: Final = f"{DOMAIN}/escrow-operator"
"""Who answers an AdmissionCheck of Kueue's that stands for a Job's money."""


class ProgramName(StrEnum):
    """Values of `app.kubernetes.io/component`, one for each program that a stack runs."""

    AGENT = "agent"
    WORKER = "worker"
    OPERATOR = "operator"
    PAYROLL = "payroll"
    RETENTION = "retention"
    METRICS = "metrics-server"
    MCP_PROXY = "mcp-proxy"
    SANDBOX = "sandbox"


# --- the Escrow custom resource

ESCROW_GROUP: Final = DOMAIN
ESCROW_VERSION: Final = "v1alpha1"
ESCROW_KIND: Final = "Escrow"
ESCROW_PLURAL: Final = "escrows"


MOST_ACTS: Final = 16
"""Acts of people that an Escrow lists; what is older is summed up."""

BUDGET_KIND: Final = "Budget"
BUDGET_PLURAL: Final = "budgets"
BUDGET_NAME: Final = "pf-budget"
"""Of the one Budget in each namespace."""
MOST_IN_FLIGHT: Final = 256
"""Entries of a Budget's `pending`, and of its `returned`: they last for a few requests each."""
MOST_NAMES: Final = 1000
"""Agents, and payees, whose lines a Budget keeps: those with something locked, or spent today."""


class Phase(StrEnum):
    """`status.phase` of an Escrow. It only moves forward, but for a person's `resolve` out of NeedsReview."""

    PENDING = "Pending"
    """Known, but no escrow at the payment service is bound to it yet."""
    FUNDED = "Funded"
    """The money is locked; the work goes on."""
    DECIDED = "Decided"
    """The Job has ended and the intent (release, dispute, cancel) is written down; nothing is sent before this."""
    VERIFYING = "Verifying"
    """An act was sent and its outcome is not known yet."""
    SETTLED = "Settled"
    """The payment service said so, in an answer that was read back."""
    NEEDS_REVIEW = "NeedsReview"
    """Only a person can decide; the evidence stands in the status."""


class WorkKind(StrEnum):
    """`spec.work.kind` of an Escrow: what it pays for."""

    JOB = "Job"
    """A `batch/v1` Job; the operator's."""
    TASK = "Task"
    """A task in a worker's log; payroll's. The operator leaves it alone."""


# --- environment of the containers


class Env(StrEnum):
    """Environment variables, each read by exactly the programs named beside it."""

    API_KEY = "PF_API_KEY"
    """Bearer key: agent, faucet claim, operator, payroll, metrics server, MCP proxy."""
    API_KEY_FILE = "PF_API_KEY_FILE"
    """A mounted file with the key, read again when it changes; wins over PF_API_KEY."""
    API_DIALECT = "PF_API_DIALECT"
    """`kubernetes`, `fly` or `server`: which of the three HTTP surfaces answers."""
    AGENT_ID = "AGENT_ID"
    AGENT_NAME = "AGENT_NAME"
    FAUCET_URL = "PF_FAUCET_URL"
    ESCROW_URL = "PF_ESCROW_URL"
    CASINO_URL = "PF_CASINO_URL"
    TRADING_URL = "PF_TRADING_URL"
    WALLET_URL = "PF_WALLET_URL"
    DOMAINS_URL = "PF_DOMAINS_URL"
    ALLOW_HTTP = "PF_ALLOW_HTTP"
    """`true` only beside a sandbox: permits `http://` service URLs."""
    REFERRAL_CODE = "REFERRAL_CODE"
    WORKSPACE = "WORKSPACE"
    TASK_DESCRIPTION = "TASK_DESCRIPTION"
    TASK_BUDGET_USDC = "TASK_BUDGET_USDC"
    FAUCET_REQUIRED = "PF_FAUCET_REQUIRED"
    """Faucet claim: `true` makes an unreachable faucet fail the pod."""
    FAUCET_DEADLINE_SECONDS = "PF_FAUCET_DEADLINE_SECONDS"
    """Faucet claim: how long an unreachable faucet is tried."""
    MCP_PROXY_URL = "MCP_PROXY_URL"
    MCP_FAUCET_URL = "MCP_FAUCET_URL"
    MCP_ESCROW_URL = "MCP_ESCROW_URL"
    MCP_CASINO_URL = "MCP_CASINO_URL"
    MCP_TRADING_URL = "MCP_TRADING_URL"
    MCP_WALLET_URL = "MCP_WALLET_URL"
    MCP_DOMAINS_URL = "MCP_DOMAINS_URL"
    """MCP proxy: the upstream servers, each under its name, e.g. `/escrow`."""
    MCP_PORT = "MCP_PORT"
    MCP_RULES_FILE = "PF_MCP_RULES_FILE"
    """MCP proxy: what may be called and spent; read again when it changes."""
    MCP_STATE_DIRECTORY = "PF_MCP_STATE_DIRECTORY"
    """MCP proxy: where it keeps what was spent; budgets need it."""
    MCP_CACHE_SECONDS = "PF_MCP_CACHE_SECONDS"
    MCP_CALL_SECONDS = "PF_MCP_CALL_SECONDS"
    MCP_GRACE_SECONDS = "PF_MCP_GRACE_SECONDS"
    WATCH_NAMESPACE = "WATCH_NAMESPACE"
    """Operator: one namespace, a comma-separated list, or a label selector `selector:key=value`."""
    DEFAULT_BUDGET_USDC = "PF_DEFAULT_BUDGET_USDC"
    """Operator: amount of a funding request that names none."""
    NAMESPACE_BUDGET_USDC = "PF_NAMESPACE_BUDGET_USDC"
    """Operator: most that may be locked in one namespace at one time; empty for no bound."""
    NAMESPACE_DAILY_BUDGET_USDC = "PF_NAMESPACE_DAILY_BUDGET_USDC"
    """Operator: most that may be locked in one namespace in one day; empty for no bound."""
    AGENT_BUDGET_USDC = "PF_AGENT_BUDGET_USDC"
    """Operator: the same for each agent of a namespace at one time."""
    AGENT_DAILY_BUDGET_USDC = "PF_AGENT_DAILY_BUDGET_USDC"
    """Operator: the same for each agent of a namespace in one day."""
    PAYEE_BUDGET_USDC = "PF_PAYEE_BUDGET_USDC"
    """Operator: the same for each payee in a namespace at one time."""
    PAYEE_DAILY_BUDGET_USDC = "PF_PAYEE_DAILY_BUDGET_USDC"
    """Operator: the same for each payee in a namespace in one day."""
    BUDGET_TIME_ZONE = "PF_BUDGET_TIME_ZONE"
    """Operator: whose days those are, by IANA name."""
    JOB_BUDGET_USDC = "PF_JOB_BUDGET_USDC"
    """Operator: most that may be locked for one Job; empty for no bound."""
    PAYEES = "PF_PAYEES"
    """Operator: who may be paid, a JSON list in which `*` stands for any characters."""
    BRING_ESCROWS = "PF_BRING_ESCROWS"
    """Operator: `true` lets Jobs bring an escrow that somebody made for them."""
    ALLOWED_ESCROWS = "PF_ALLOWED_ESCROWS"
    """Operator: escrows whose terms need not name the Job that brings them, a JSON list."""
    FORMER_URLS = "PF_FORMER_ESCROW_URLS"
    """Operator: other URLs of the same escrow service, under which accounts were opened; a JSON list."""
    ESCROW_TIMEOUT_HOURS = "PF_ESCROW_TIMEOUT_HOURS"
    """Operator: after how many hours the service refunds an escrow it created, in the `server` dialect."""
    RESYNC_SECONDS = "PF_RESYNC_SECONDS"
    """Operator: period of the full list that catches what a watch missed."""
    AUTO_RELEASE = "PF_AUTO_RELEASE"
    """Operator: `true` releases on Job completion; `false` only records it."""
    RERUN_FAILED_WORK = "PF_RERUN_FAILED_WORK"
    """Operator: `true` runs a work again whose last run was not paid, when its Job is created anew."""
    SCHEDULED_WAIT_SECONDS = "PF_SCHEDULED_WAIT_SECONDS"
    """Operator: how long a CronJob's run waits for money before it ends without having run."""
    KUEUE_ADMISSION_CHECK = "PF_KUEUE_ADMISSION_CHECK"
    """Operator: the AdmissionCheck of Kueue's by which a queued Job gets its money; empty for none."""
    HEALTH_PORT = "PF_HEALTH_PORT"
    """MCP proxy, and the operator outside a pod of its own: the one port for probes and metrics; else the contract's
    two."""
    LEADER_ELECTION = "PF_LEADER_ELECTION"
    POD_NAME = "POD_NAME"
    POD_NAMESPACE = "POD_NAMESPACE"
    RELEASE_AGE_MINUTES = "PF_RELEASE_AGE_MINUTES"
    """Payroll of workers without a work log: escrows younger than this are left for the next run."""
    HAS_WORK_LOG = "PF_HAS_WORK_LOG"
    """Payroll: `false` pays by age, because the workers keep no work log."""
    RUN_CAP_USDC = "PF_RUN_CAP_USDC"
    """Payroll: most that one run pays by itself."""
    PAYEE_CAP_USDC = "PF_PAYEE_CAP_USDC"
    """Payroll: most that one run pays one payee by itself."""
    WORKER_WALLET = "PF_WORKER_WALLET"
    """Worker and payroll: whose escrows workers take, and payroll pays."""
    TASK_COMMAND = "PF_TASK_COMMAND"
    """Agent and worker: the command that does one task, as a shell would read its words."""
    TASK_CALLABLE = "PF_TASK_CALLABLE"
    """Agent and worker: the Python function `module:function` that does one task."""
    TASK_SECONDS = "PF_TASK_SECONDS"
    """Agent and worker: how long one task may take."""
    GRACE_SECONDS = "PF_GRACE_SECONDS"
    """Worker: how long a task that has begun may go on after SIGTERM."""
    CLAIM_SECONDS = "PF_CLAIM_SECONDS"
    """Worker: after how long without a word of its holder a claim is free."""
    WORK_LOG_TOKEN_FILE = "PF_WORK_LOG_TOKEN_FILE"
    """Payroll: the token that it shows to workers."""
    WORK_LOG_READER = "PF_WORK_LOG_READER"
    """Worker: the one who may read its work log, as the API server names them."""
    POLL_SECONDS = "PF_POLL_SECONDS"
    """Metrics server and worker: period between two reads of the queue."""
    ARCHIVE_URL = "PF_ARCHIVE_URL"
    """Retention and statement: where settled accounts go, `file:///folder` or `s3://bucket/folder`."""
    OPENCOST_URL = "PF_OPENCOST_URL"
    """Statement: where OpenCost answers; also the key in the ConfigMap `STATEMENT_CONFIG`."""
    ARCHIVE_AFTER_DAYS = "PF_ARCHIVE_AFTER_DAYS"
    """Retention: how many days after its settlement an account leaves."""
    SANDBOX_DATABASE = "PF_SANDBOX_DATABASE"
    SANDBOX_API_KEY = "PF_SANDBOX_API_KEY"
    """Sandbox: the key it accepts from the start, besides those it issues."""
    CUSTOM_METRICS_PORT = "PF_CUSTOM_METRICS_PORT"
    """Metrics server: where the aggregator reaches it; 0 for nowhere, where another program serves that API."""
    QUEUE_READERS = "PF_QUEUE_READERS"
    """Metrics server: who may read the queue as plain JSON, as the API server names them, separated by commas."""
    TLS_DIRECTORY = "PF_TLS_DIRECTORY"
    """Metrics server: directory with `tls.crt` and `tls.key`; unset: it makes its own pair and registers the CA."""
    SANDBOX_ADMIN_TOKEN = "PF_SANDBOX_ADMIN_TOKEN"
    """Sandbox: bearer token of `/admin`; without it there is no `/admin`."""
    LOG_LEVEL = "PF_LOG_LEVEL"


class FlyEnv(StrEnum):
    """Further environment variables of the Fly agent; on Kubernetes these names are the users' own."""

    ESCROW_BASE = "ESCROW_BASE"
    """Base URL of the escrow service (the Fly guide's name)."""
    FAUCET_BASE = "FAUCET_BASE"
    """Base URL of the faucet (the Fly guide's name)."""
    ESCROW_FEE = "ESCROW_FEE"
    """The fee rate it reports, e.g. `0.01`."""
    REFERRAL_RATE = "REFERRAL_RATE"
    """The referrer's part of the fee it reports, e.g. `0.15`."""
    AGENT_WALLET = "AGENT_WALLET"
    """The wallet that is paid; a Fly secret."""
    WORKERS = "WEB_CONCURRENCY"
    """Server processes; uvicorn's own name for it."""
    GRACEFUL_SHUTDOWN_SECONDS = "PF_GRACEFUL_SHUTDOWN_SECONDS"
    """How long open requests may finish; below the platform's kill time-out."""
    METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
    """With several workers: where they share their metrics; emptied at start."""
    FLY_REGION = "FLY_REGION"
    """Set by Fly: goes into every escrow's metadata."""
    FLY_MACHINE_ID = "FLY_MACHINE_ID"
    """Set by Fly."""
    FLY_APP_NAME = "FLY_APP_NAME"
    """Set by Fly: a ledger belongs to one app."""
    DATA_DIRECTORY = "DATA_DIR"
    """Where the ledger is: the volume's mount."""
    PORT = "PORT"
    """Where the agent serves, unless it is the contract's port."""
    METRICS_PORT = "PF_METRICS_PORT"
    """Where its metrics are served, unless it is the contract's port."""
    PRICE_PER_CHARACTER = "PF_PRICE_PER_CHARACTER_USDC"
    """What a character of the prompt costs; may be finer than a micro-USDC."""
    PRICE_LEAST = "PF_PRICE_LEAST_USDC"
    """What an inference costs at least."""
    PRICE_MOST = "PF_PRICE_MOST_USDC"
    """What one costs at most: a prompt that would cost more is refused."""
    CONCURRENCY = "PF_CONCURRENCY"
    """Inferences that are worked on at a time, in each server process."""
    QUEUE_LENGTH = "PF_QUEUE_LENGTH"
    """Inferences that may wait for their turn; one more is refused with 429."""
    PATIENCE_SECONDS = "PF_PATIENCE_SECONDS"
    """How long an act without an answer may still arrive, before a person has to look."""
    BACKUP_URL = "PF_BACKUP_URL"
    """Where Litestream copies the ledger to, `s3://bucket/folder`; each ledger below it has a path of its own."""
    RESTORE_FROM = "PF_RESTORE_FROM"
    """A ledger's path in a bucket, for a Machine whose volume has none yet."""
    CALLERS = "PF_CALLERS"
    """Escrow app: `name:token` of each app that may ask it, with blanks between; a Fly secret."""
    CALLER_MOST = "PF_CALLER_MOST_USDC"
    """Escrow app: the most that one escrow may hold."""
    CALLER_MOST_OPEN = "PF_CALLER_MOST_OPEN_USDC"
    """Escrow app: the most that one caller may have open at a time."""
    MODEL_URL = "OPENAI_BASE_URL"
    """An OpenAI-compatible endpoint that does the work."""
    MODEL_KEY = "OPENAI_API_KEY"
    """That endpoint's key; a Fly secret."""
    MODEL = "OPENAI_MODEL"
    """Which of its models."""


class NetworkEnv(StrEnum):
    """What every HTTP client knows of a company's network; read by every program, beside a sandbox by none."""

    HTTPS_PROXY = "HTTPS_PROXY"
    HTTP_PROXY = "HTTP_PROXY"
    NO_PROXY = "NO_PROXY"
    CA_FILE = "SSL_CERT_FILE"


# --- objects that a program names itself

OPERATOR_LEASE: Final = "pf-escrow-operator"
STATEMENT_CONFIG: Final = "pf-statement"
"""ConfigMap with what the statement reads beside the cluster."""
WORKERS_DEPLOYMENT: Final = "pf-agent-workers"
"""Of the workers; in a statement the agent of what payroll pays."""
METRICS_SERVICE: Final = "pf-metrics-server"
"""Service that describes the queue metric and that the aggregator dials."""
QUEUE_METRIC: Final = "escrow_queue_depth"
QUEUE_AGE_METRIC: Final = "escrow_queue_oldest_seconds"
QUEUE_VALUE_METRIC: Final = "escrow_queue_value_usdc"
CUSTOM_METRICS_GROUP: Final = "custom.metrics.k8s.io"
CUSTOM_METRICS_VERSIONS: Final = ("v1beta1", "v1beta2")
TASK_PREFIX: Final = "pf-task-"
TASK_CLAIMS: Final = tuple(f"{TASK_PREFIX}{number:02d}" for number in range(100))
"""Leases by which workers claim tasks. A task has one of them, by a hash of its escrow's id: their names stand in the
workers' Role, so that no worker can write the operator's claims, which are Leases too."""
QUEUE_AUDIENCE: Final = "pf-queue"
"""Of the token that KEDA shows to the metrics server: no API server takes it."""
WORK_LOG_AUDIENCE: Final = "pf-work-log"
"""Of the token that payroll shows to a worker: no API server takes it."""
FAUCET_CONTAINER: Final = "faucet-claim"
MCP_PROXY_CONTAINER: Final = "pf-mcp-proxy"
MCP_RULES_KEY: Final = "rules.json"
"""In the ConfigMap with the sidecar's rules, and the file that it is mounted as."""

CLAIM_PREFIX: Final = "escrow-"
"""Of the Leases by which the operator binds an escrow to one work."""

# --- keys of the credentials Secret (guide)

SECRET_NAME: Final = "purpleflea-creds"
SECRET_KEYS: Final = ("api-key", "agent-wallet", "faucet-url", "escrow-url")


class LedgerState(StrEnum):
    """Fly agent: where an inference's escrow stands in the ledger. The first three are open."""

    CREATING = "creating"
    """The escrow is about to be created, or was: written before the request is sent."""
    LOCKED = "locked"
    """There is an escrow, and the work goes on."""
    SETTLING = "settling"
    """The work has ended and what it calls for is written down."""
    RELEASED = "released"
    """Paid."""
    COMPLETED = "completed"
    """The work is done by the agent's own word; the caller, who brought the escrow, has yet to release it."""
    CANCELLED = "cancelled"
    """The money is back with the payer."""
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    DECLINED = "declined"
    """An escrow that the caller brought, whose work failed: nothing was said to the service, and nothing is owed."""
    REVIEW = "review"
    """Only a person can tell."""


class AgentMetric(StrEnum):
    """Fly agent: names of its metrics."""

    REQUESTS = "pf_agent_requests_total"
    """Inferences by outcome."""
    SECONDS = "pf_agent_request_seconds"
    """How long they took."""
    IN_FLIGHT = "pf_agent_in_flight"
    """Taken and not answered yet."""
    ESCROWS = "pf_agent_escrows"
    """The ledger's escrows by state and region."""
    AMOUNT = "pf_agent_escrows_usdc"
    """What was locked in them."""


LEDGER_APPLICATION_ID: Final = 0x50464C59
"""SQLite's `application_id` of a ledger (`PFLY`): another program's database is not taken for one."""
LITESTREAM: Final = "litestream"
"""The program that copies ledgers to a bucket, on the PATH of an image with fly.backup."""
LEDGER_RESTORED: Final = "ledger.restored"
"""Beside a ledger that was restored: nothing is created until a person has compared it with the service."""
LEDGER_VERSION: Final = 1
"""SQLite's `user_version` of it."""
LEDGER_FILE: Final = "ledger.db"
"""Beside it: `ledger.reserve`, room for what has begun when the disk is full; `slot-N.lock`, a server process's."""

FLY_SECRETS: Final = (Env.API_KEY, FlyEnv.AGENT_WALLET, Env.REFERRAL_CODE)
"""Fly secrets of the agent (guide); the last one may be missing."""

# --- commands, ports and paths


def command(module: str) -> list[str]:
    """Container command that runs one program of the runtime image, e.g. `command("operator")`."""
    return ["python", "-m", f"runtime.{module}"]


RUN_ONCE: Final = "--once"
"""Argument of `agent_worker` in a Job: do what TASK_DESCRIPTION says, then exit."""


class Port(IntEnum):
    """Container ports; the names in the manifests are the lower-case member names."""

    MCP = 8765
    HEALTH = 8081
    METRICS = 9090
    SANDBOX = 8080
    CUSTOM_METRICS = 8443
    WORKER = 8080
    FLY_AGENT = 8080
    FLY_METRICS = 9091


class Route(StrEnum):
    """HTTP paths served on the health, metrics and MCP ports."""

    LIVEZ = "/livez"
    READYZ = "/readyz"
    METRICS = "/metrics"
    MCP_FAUCET = "/faucet"
    MCP_ESCROW = "/escrow"
    QUEUE_DEPTH_JSON = "/queue-depth"
    """Metrics server: `{"escrow_queue_depth": int, ...}`, or 503 while the depth is unknown; for its readers."""
    SANDBOX_MCP_FAUCET = "/faucet/mcp"
    SANDBOX_MCP_ESCROW = "/escrow/mcp"
    """The sandbox serves both MCP servers on its one port."""
    WORK_LOG = "/work-log"
    """Worker: `?since=OFFSET`, lines of its work log; for payroll alone."""
    HEALTH = "/health"
    """Fly agent: what Fly's proxy checks; it never depends on a service elsewhere."""
    READY = "/ready"
    """Fly agent: whether an inference would be taken now; 503 says why not."""
    INFERENCE = "/inference"
    EARNINGS = "/earnings"


class MountPath(StrEnum):
    """Paths in the containers' file systems."""

    WORKSPACE = "/workspace"
    FAUCET_RESULT = "/workspace/faucet-result.json"
    WORK_LOG = "/workspace/work-log.jsonl"
    WORK_LOG_TOKEN = "/var/run/secrets/pf-work-log"
    CREDENTIALS = "/var/run/secrets/purpleflea"
    MCP_STATE = "/var/lib/mcp-proxy"
    MCP_RULES = "/etc/mcp-proxy"
    TLS = "/var/run/tls"
    CA_BUNDLE = "/var/run/ca"
    SANDBOX_DATA = "/data"
    ARCHIVE = "/archive"
    FLY_DATA = "/data"


class ExitCode(IntEnum):
    """What the programs' exit codes mean; the Job's `podFailurePolicy` reads them."""

    OK = 0
    FAILED = 1
    """Something that another attempt may mend."""
    BAD_INPUT = 2
    """A wrong setting or argument: another attempt ends the same, so the Job fails at once."""
    FAUCET_UNAVAILABLE = 3
    """The faucet was required and could not be reached within the deadline."""
    INTERRUPTED = 130


# --- Purple Flea's published rates (the guides)

FEE_RATE: Final = "0.01"
"""Of the amount, paid to Purple Flea on settlement."""
REFERRAL_RATE: Final = "0.15"
"""Of the fee, paid to the referrer."""
MINIMUM_ESCROW_USDC: Final = {"kubernetes": "0.10", "fly": "0.001", "server": "0.10"}
"""The least that an escrow may hold, by dialect; the service refuses less."""


# --- as JSON


def contract_json() -> dict[str, Any]:
    """Every public name here with its value, for programs in other languages.

    Constants by their names in lower camel case, enumerations as objects of their members. A new name is in the JSON by
    itself.
    """
    found = {name: _value(value) for name, value in globals().items() if _is_public(name, value)}
    return {_camel(name) if name.isupper() else name: value for name, value in sorted(found.items())}


def _is_public(name: str, value: Any) -> bool:
    own_enum = isinstance(value, type) and issubclass(value, Enum) and value.__module__ == __name__
    return own_enum or (name.isupper() and not name.startswith("_"))


def _value(value: Any) -> Any:
    if isinstance(value, type):
        return {name: member.value for name, member in value.__members__.items()}
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return dict(value) if isinstance(value, dict) else value


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(part.title() for part in rest)
