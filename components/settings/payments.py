"""Sections about money: credentials, services, faucet, escrow, funding, budget, payroll, the sandbox."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from components.settings.section import Resources, Section, resources
from components.settings.values import (
    Cron,
    Identifier,
    Matching,
    OptionalDnsName,
    OptionalUrl,
    OptionalUsdc,
    PodTemplate,
    SecretKey,
    Size,
    TimeZone,
    Usdc,
)
from runtime.contract import ESCROW_ID_ANNOTATION, SECRET_KEYS, SECRET_NAME


class Credentials(Section):
    """The Secret with the API key; its values are never settings but Pulumi secrets."""

    existing_secret: OptionalDnsName = SECRET_NAME
    """Name of a Secret that exists already in the namespace; `""`: the stack creates `purpleflea-creds`."""
    agent_wallet: Identifier = ""
    """Agent id (wallet) that a created Secret carries; needed where one is created and no sandbox is used."""
    api_key_key: SecretKey = SECRET_KEYS[0]
    """Key of the API key in the Secret."""
    agent_wallet_key: SecretKey = SECRET_KEYS[1]
    """Key of the agent id (wallet) in the Secret."""
    faucet_url_key: SecretKey = SECRET_KEYS[2]
    """Key of the faucet's URL in the Secret."""
    escrow_url_key: SecretKey = SECRET_KEYS[3]
    """Key of the escrow service's URL in the Secret."""


class Api(Section):
    """How the payment service is spoken to."""

    dialect: Literal["kubernetes", "fly", "server"] = "kubernetes"
    """HTTP surface: `kubernetes` and `fly` as the guides have it, `server` as the published server has it."""


class Services(Section):
    """Base URLs of the six Purple Flea services; empty: the public service, or the sandbox where it is enabled."""

    faucet_url: OptionalUrl = ""
    """Faucet; public: https://faucet.purpleflea.com."""
    escrow_url: OptionalUrl = ""
    """Escrow; public: https://escrow.purpleflea.com."""
    casino_url: OptionalUrl = ""
    """Casino; public: https://casino.purpleflea.com."""
    trading_url: OptionalUrl = ""
    """Trading; public: https://trading.purpleflea.com."""
    wallet_url: OptionalUrl = ""
    """Wallet; public: https://wallet.purpleflea.com."""
    domains_url: OptionalUrl = ""
    """Domains; public: https://domains.purpleflea.com."""


class Faucet(Section):
    """The init container that claims the one free dollar of an agent id."""

    claim_on_startup: bool = True
    """Whether agents' pods get the `faucet-claim` init container."""
    idempotent: Literal[True] = True
    """An agent id that has already claimed (409) goes on; there is no other way to run it."""
    required: bool = False
    """Whether an unreachable faucet fails the pod; otherwise the agent starts without the credit and says why."""
    deadline_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    """Seconds for which an unreachable faucet is tried."""
    resources: Resources = resources("50m", "64Mi", "500m", "128Mi")
    """CPU and memory of the init container."""


class Escrow(Section):
    """What one task is worth and when it is paid."""

    default_budget_usdc: Usdc = Decimal("0.10")
    """USDC for each task that names no budget of its own."""
    auto_release_on_job_complete: bool = True
    """Whether the operator pays on a Job's completion; otherwise it records it and a person releases."""
    escrow_annotation: Literal["purpleflea.com/escrow-id"] = ESCROW_ID_ANNOTATION
    """Annotation on a Job with its escrow's id; fixed, because it is the users' way in."""
    timeout_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """Hours after which the service returns unsettled money to the payer."""


class Funding(Section):
    """How a Job gets its escrow."""

    mode: Literal["annotation", "request"] = "annotation"
    """`annotation`: you create the escrow and set its id; `request`: the operator creates it, then starts the Job."""


PayeePattern = Annotated[
    str, Matching(r"\S([ -~]{0,126}\S)?", "a payee's id, or a pattern of ids with `*` in it", "worker-*")
]
AllowedEscrow = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9._:~@*-]{1,200}(=[a-z0-9*-]{1,63}/[ -~]{1,253})?",
        "an escrow's id, or ID=NAMESPACE/WORK",
        "esc_1=agent-jobs/report",
    ),
]


class Budget(Section):
    """What may be locked, and for whom: `capUsdc` before deployment, the others by the operator while the stack runs. A
    `Budget` object may say otherwise of its namespace (docs/operator.md)."""

    cap_usdc: OptionalUsdc = None
    """USDC, fee included; a stack whose exposure exceeds it fails. Empty: no cap."""
    namespace_usdc: OptionalUsdc = None
    """USDC that may be locked in one watched namespace at one time; empty: no bound."""
    namespace_daily_usdc: OptionalUsdc = None
    """USDC that may be locked in one watched namespace in one day; empty: no bound."""
    agent_usdc: OptionalUsdc = None
    """USDC that may be locked at one time for each agent of a namespace; empty: no bound. Jobs without the label
    `purpleflea.com/agent` are one agent."""
    agent_daily_usdc: OptionalUsdc = None
    """USDC that may be locked in one day for each agent of a namespace; empty: no bound."""
    payee_usdc: OptionalUsdc = None
    """USDC that may be locked at one time for each payee in a namespace; empty: no bound."""
    payee_daily_usdc: OptionalUsdc = None
    """USDC that may be locked in one day for each payee in a namespace; empty: no bound."""
    time_zone: TimeZone = "Etc/UTC"
    """Whose days those are."""
    job_usdc: OptionalUsdc = None
    """USDC that may be locked for one Job; empty: no bound."""
    payees: Annotated[tuple[PayeePattern, ...], Field(min_length=1)] = ("*",)
    """Who may be paid; `*` stands for any characters."""
    bring_escrows: bool = True
    """Whether Jobs may bring an escrow that somebody made for them (annotation mode)."""
    allowed_escrows: tuple[AllowedEscrow, ...] = ()
    """Escrows whose terms need not name the Job that brings them: `ID`, or `ID=NAMESPACE/WORK` for one Job, by its name
    or work id; `*` stands for any characters. Those of `agents[].escrowId` are allowed to these agents."""


class Payroll(Section):
    """The CronJob that pays long-running workers for the tasks in their work logs."""

    enabled: bool = True
    """Whether the stack has payroll; it needs workers to pay."""
    schedule: Cron = "0 * * * *"
    """When it runs, as a Kubernetes CronJob writes it: five fields, or `@hourly` and the like."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of the schedule."""
    release_age_minutes: Annotated[int, Field(ge=0, le=43200)] = 50
    """Minutes; of workers without a work log younger escrows are left for the next run."""
    run_cap_usdc: OptionalUsdc = None
    """USDC that one run pays by itself; what is over it waits for a manual decision. Empty: no cap."""
    payee_cap_usdc: OptionalUsdc = None
    """USDC that one run pays to one payee by itself; empty: no cap."""
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """Seconds after which a run that could not start on time is skipped."""
    active_deadline_seconds: Annotated[int, Field(ge=60, le=86400)] = 1800
    """Seconds a run may take; one that hangs would keep every later run from starting."""
    resources: Resources = resources("50m", "64Mi", "200m", "128Mi")
    """CPU and memory of the payroll container."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words: node selectors, tolerations, annotations, a priority."""


class Sandbox(Section):
    """A local Purple Flea with its own ledger, in place of the real one. No money moves."""

    enabled: bool = False
    """Whether the stack runs and uses a sandbox; it also permits `http://` service URLs."""
    storage: Size = "1Gi"
    """Size of the ledger's volume."""
    storage_class: OptionalDnsName = ""
    """StorageClass of the volume; empty: the cluster's default."""
    only_own_dialect: bool = False
    """Whether it serves `api.dialect` alone, as the real service does; else all three dialects."""
    resources: Resources = resources("50m", "64Mi", "500m", "256Mi")
    """CPU and memory of the sandbox container."""
    pod_template: PodTemplate = {}
    """What else its pods have, in Kubernetes' own words: node selectors, tolerations, annotations, a priority."""
