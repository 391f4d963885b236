"""What the agent reads from its environment."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from runtime.contract import FEE_RATE, Env, FlyEnv, MountPath, Port
from runtime.contract import REFERRAL_RATE as REFERRAL
from runtime.credentials import NeededKeySettings
from runtime.environment import amount, choice, flag, group, number, path, rate, secret, text, url
from runtime.errors import BadInput
from runtime.money import MICRO, Usdc
from runtime.payments import DialectName, Limits, PaymentsClient, Retries
from runtime.settlement.driver import Policy


@dataclass(frozen=True, kw_only=True)
class PriceSettings:
    """What an inference costs."""

    per_character: Decimal = rate(
        FlyEnv.PRICE_PER_CHARACTER, "What a character of the prompt costs", default=Decimal("0.00001")
    )
    least: Usdc = amount(FlyEnv.PRICE_LEAST, "What an inference costs at least", default=Usdc.parse("0.001"))
    most: Usdc = amount(
        FlyEnv.PRICE_MOST, "What one costs at most: a prompt that would cost more is refused", default=Usdc.parse(10)
    )

    def __post_init__(self) -> None:
        if not 0 < self.least.micro <= self.most.micro:
            raise BadInput(f"{FlyEnv.PRICE_LEAST} is {self.least}: expected more than 0 and at most {self.most}")

    def of(self, prompt: str) -> Usdc | None:
        """The price: exact, rounded half up to a micro-USDC; None above the most."""
        micro = max(self.least.micro, int((self.per_character * len(prompt) * MICRO).to_integral_value(ROUND_HALF_UP)))
        return Usdc(micro) if micro <= self.most.micro else None


@dataclass(frozen=True, kw_only=True)
class WorkSettings:
    """What is done for a prompt: a function, a model behind an OpenAI-compatible endpoint, else the sample."""

    function: str | None = text(
        Env.TASK_CALLABLE, "Python function `module:function` from prompt to result, async or not", default=None
    )
    model_url: str | None = url(FlyEnv.MODEL_URL, "OpenAI-compatible endpoint, instead of a function", default=None)
    model: str | None = text(FlyEnv.MODEL, "Which of its models; needed with it", default=None)
    model_key: str | None = secret(FlyEnv.MODEL_KEY, "Its key, where it wants one", default=None)
    seconds: int = number(Env.TASK_SECONDS, "How long one inference may take", least=1, most=3600, default=30)

    def __post_init__(self) -> None:
        if self.function and self.model_url:
            raise BadInput(f"{Env.TASK_CALLABLE} and {FlyEnv.MODEL_URL} are both set: set one of them")
        if self.function and not all(self.function.partition(":")):
            raise BadInput(f"{Env.TASK_CALLABLE} is {self.function!r}: expected module:function")
        if self.model_url and not self.model:
            raise BadInput(f"{FlyEnv.MODEL} is not set: expected the name of a model of {FlyEnv.MODEL_URL}")


@dataclass(frozen=True, kw_only=True)
class PaymentSettings:
    """Where the money moves, whose it is, and how many payments at once."""

    escrow_url: str = url(FlyEnv.ESCROW_BASE, "The escrow service")
    dialect: DialectName = choice(
        Env.API_DIALECT, "Which of the HTTP surfaces answers", DialectName, default=DialectName.FLY
    )
    allow_http: bool = flag(Env.ALLOW_HTTP, "Permits `http://` URLs; only beside a sandbox", default=False)
    key: NeededKeySettings = group(NeededKeySettings)
    wallet: str = text(FlyEnv.AGENT_WALLET, "The wallet or agent id that is paid")
    referral_code: str | None = text(Env.REFERRAL_CODE, "Sent where the dialect has a place for it", default=None)
    concurrency: int = number(
        FlyEnv.CONCURRENCY, "Inferences worked on at a time, in each server process", least=1, most=1000, default=50
    )
    patience_seconds: int = number(
        FlyEnv.PATIENCE_SECONDS, "How long an act without an answer may still arrive", least=1, most=3600, default=90
    )

    def client(self) -> PaymentsClient:
        """The one client of a server process. Callers wait meanwhile, so it does not retry for long."""
        from runtime.payments.busy_http import BusyHttp  # here: whoever only reads or refuses settings is done sooner

        return PaymentsClient(
            self.dialect,
            self.escrow_url,
            self.key.credentials,
            limits=Limits(connections=self.concurrency),
            retries=Retries(attempts=2, deadline_seconds=3, longest_wait_seconds=1, jitter_seconds=0.1),
            allow_http=self.allow_http,
            http=BusyHttp,
        )

    @property
    def policy(self) -> Policy:
        """How long an unclear outcome is tried again."""
        patience = timedelta(seconds=self.patience_seconds)
        return Policy(patience=patience, flight=min(patience, Policy().flight), first_delay=timedelta(seconds=1))


@dataclass(frozen=True, kw_only=True)
class BillingSettings(PaymentSettings):
    """What an inference costs, and how many more may wait."""

    fee_rate: str = text(FlyEnv.ESCROW_FEE, "The fee rate that `/earnings` reports", default=FEE_RATE)
    referral_rate: str = text(
        FlyEnv.REFERRAL_RATE, "The referrer's part of it that `/earnings` reports", default=REFERRAL
    )
    queue_length: int = number(
        FlyEnv.QUEUE_LENGTH, "How many more may wait; one more is told 429", least=0, most=10_000, default=200
    )
    price: PriceSettings = group(PriceSettings)


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """Which Machine this is, and its ledger."""

    machine: str = text(FlyEnv.FLY_MACHINE_ID, "Which Machine this is; set by Fly", default="local")
    data: Path = path(FlyEnv.DATA_DIRECTORY, "Folder of the ledger", default=Path(MountPath.FLY_DATA.value))


@dataclass(frozen=True, kw_only=True)
class AppSettings(MachineSettings):
    """And whose Machine it is."""

    app: str = text(FlyEnv.FLY_APP_NAME, "The app that the ledger belongs to; set by Fly", default="local")


@dataclass(frozen=True, kw_only=True)
class ServerSettings(AppSettings):
    """And where it answers."""

    port: int = number(FlyEnv.PORT, "Where it serves", least=1, most=65_535, default=Port.FLY_AGENT.value)
    metrics_port: int = number(
        FlyEnv.METRICS_PORT, "Where its metrics are", least=1, most=65_535, default=Port.FLY_METRICS.value
    )


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """All of it."""

    billing: BillingSettings = group(BillingSettings)
    work: WorkSettings = group(WorkSettings)
    region: str = text(FlyEnv.FLY_REGION, "Stands in every escrow's metadata; set by Fly", default="local")
    workers: int = number(FlyEnv.WORKERS, "Server processes", least=1, most=32, default=1)
    graceful_seconds: int = number(
        FlyEnv.GRACEFUL_SHUTDOWN_SECONDS, "How long open requests may finish", least=1, most=299, default=45
    )
    metrics_folder: Path | None = path(
        FlyEnv.METRICS_DIRECTORY, "Where several workers share their metrics; needed with them", default=None
    )

    def __post_init__(self) -> None:
        if self.workers > 1 and self.metrics_folder is None:
            raise BadInput(f"{FlyEnv.METRICS_DIRECTORY} is not set: {self.workers} workers share their metrics there")
