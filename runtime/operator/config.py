"""The operator's settings, read from its environment once at start."""

import os
from dataclasses import dataclass
from datetime import tzinfo

from runtime.contract import Env
from runtime.environment import amount, flag, group, number, text, texts, time_zone
from runtime.kubernetes.limits import Limit, Limits
from runtime.kubernetes.watched import Watched
from runtime.money import Usdc
from runtime.payments.settings import PayerSettings
from runtime.service import ProbeSettings


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """What each namespace may ask for; an amount that is empty is no bound. A Budget may say otherwise of its own."""

    namespace: Usdc | None = amount(
        Env.NAMESPACE_BUDGET_USDC, "Most that may be locked in one namespace at one time", default=None
    )
    namespace_daily: Usdc | None = amount(
        Env.NAMESPACE_DAILY_BUDGET_USDC, "Most that may be locked in one namespace in one day", default=None
    )
    agent: Usdc | None = amount(
        Env.AGENT_BUDGET_USDC, "Most that may be locked for one agent of a namespace at one time", default=None
    )
    agent_daily: Usdc | None = amount(
        Env.AGENT_DAILY_BUDGET_USDC, "Most that may be locked for one agent of a namespace in one day", default=None
    )
    payee: Usdc | None = amount(
        Env.PAYEE_BUDGET_USDC, "Most that may be locked for one payee in a namespace at one time", default=None
    )
    payee_daily: Usdc | None = amount(
        Env.PAYEE_DAILY_BUDGET_USDC, "Most that may be locked for one payee in a namespace in one day", default=None
    )
    zone: tzinfo = time_zone(Env.BUDGET_TIME_ZONE, "Whose days those are", default="Etc/UTC")
    job: Usdc | None = amount(Env.JOB_BUDGET_USDC, "Most that may be locked for one Job", default=None)
    payees: tuple[str, ...] = texts(Env.PAYEES, "Who may be paid; `*` stands for any characters", default=("*",))
    bring_escrows: bool = flag(
        Env.BRING_ESCROWS, "Whether Jobs may bring an escrow that somebody made for them", default=True
    )
    allowed_escrows: tuple[str, ...] = texts(
        Env.ALLOWED_ESCROWS,
        "Escrows that a Job may bring although their terms do not name it: `ID`, or `ID=NAMESPACE/WORK` for one Job, by"
        " its name or work id; `*` stands for any characters",
        default=(),
    )

    @property
    def limits(self) -> Limits:
        """The same as the Budget takes them."""
        return Limits(
            namespace=Limit(self.namespace, self.namespace_daily),
            agent=Limit(self.agent, self.agent_daily),
            payee=Limit(self.payee, self.payee_daily),
            job=self.job,
            payees=self.payees,
            bring_escrows=self.bring_escrows,
            allowed_escrows=self.allowed_escrows,
            zone=self.zone,
        )


@dataclass(frozen=True, kw_only=True)
class OperatorConfig:
    """What one operator process does and where."""

    watch: str = text(Env.WATCH_NAMESPACE, "Whose Jobs it serves: a namespace, `a,b,c`, or `selector:team=agents`")
    payments: PayerSettings = group(PayerSettings)
    auto_release: bool = flag(
        Env.AUTO_RELEASE, "Whether a Job's completion pays; `false` only records it", default=True
    )
    default_budget: Usdc = amount(
        Env.DEFAULT_BUDGET_USDC, "Amount of a funding request that names none", default=Usdc.parse("0.10")
    )
    budget: BudgetSettings = group(BudgetSettings)
    rerun_failed_work: bool = flag(
        Env.RERUN_FAILED_WORK,
        "Whether a work whose last run was not paid runs again when its Job is created anew",
        default=False,
    )
    scheduled_wait_seconds: int = number(
        Env.SCHEDULED_WAIT_SECONDS,
        "How long a CronJob's run waits for money before it ends without having run",
        least=1,
        most=604_800,
        default=3600,
    )
    admission_check: str | None = text(
        Env.KUEUE_ADMISSION_CHECK,
        "The AdmissionCheck of Kueue's by which a queued Job gets its money once its quota is reserved",
        default=None,
    )
    resync_seconds: int = number(
        Env.RESYNC_SECONDS, "Period of the full list that finds what a watch missed", least=1, most=86_400, default=300
    )
    leader_election: bool = flag(Env.LEADER_ELECTION, "Whether several replicas elect the one that acts", default=False)
    payer: str | None = text(Env.AGENT_ID, "Who is billed in the `fly` dialect, the only one that asks", default=None)
    former_urls: tuple[str, ...] = texts(
        Env.FORMER_URLS, "Other URLs of the same escrow service, under which accounts were opened; with `*`", default=()
    )
    timeout_hours: int | None = number(
        Env.ESCROW_TIMEOUT_HOURS,
        "After how long the service refunds an escrow, in the `server` dialect",
        least=1,
        most=720,
        default=None,
        unset="the service's own 24",
    )
    own_name: str | None = text(
        Env.POD_NAME, "Its name in the leader's Lease and in events", default=None, unset="made of its process id"
    )
    own_namespace: str | None = text(
        Env.POD_NAMESPACE, "Where its Leases are", default=None, unset="the first watched namespace"
    )
    probes: ProbeSettings = group(ProbeSettings)
    settlements_at_once: int = 32
    """Looks that run at once."""

    def __post_init__(self) -> None:
        Watched.parse(self.watch)  # a mistake is told at the start

    @property
    def watched(self) -> Watched:
        """The namespaces whose Jobs it serves."""
        return Watched.parse(self.watch)

    @property
    def pod_name(self) -> str:
        """Who it is to other replicas."""
        return self.own_name or f"local-{os.getpid()}"

    @property
    def pod_namespace(self) -> str:
        """Where its Leases are."""
        return self.own_namespace or next(iter(self.watched.names), "default")
