"""What payroll reads from its environment."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from runtime.contract import Env, MountPath
from runtime.environment import amount, flag, group, number, path, text
from runtime.money import Usdc
from runtime.payments.settings import PayerSettings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Who is paid, by what, and how much at once."""

    payments: PayerSettings = group(PayerSettings)
    wallet: str = text(Env.WORKER_WALLET, "The workers' wallet: payroll pays nobody else")
    has_work_log: bool = flag(
        Env.HAS_WORK_LOG, "Whether workers keep a work log; `false` pays by age, as the guide has it", default=True
    )
    release_age_minutes: int = number(
        Env.RELEASE_AGE_MINUTES, "By age: younger escrows are left for the next run", least=0, most=43_200, default=50
    )
    run_cap: Usdc | None = amount(Env.RUN_CAP_USDC, "Most that one run pays by itself", default=None)
    payee_cap: Usdc | None = amount(Env.PAYEE_CAP_USDC, "Most that one run pays one payee by itself", default=None)
    token_file: Path = path(
        Env.WORK_LOG_TOKEN_FILE,
        "The token that workers are shown",
        default=Path(MountPath.WORK_LOG_TOKEN.value, "token"),
    )
    pod: str | None = text(Env.POD_NAME, "Its name in events", default=None, unset="`payroll`")
    namespace: str | None = text(
        Env.POD_NAMESPACE, "Whose workers it pays", default=None, unset="the login's own namespace"
    )

    @property
    def release_age(self) -> timedelta:
        """From an escrow's creation to its payment, where there is no log."""
        return timedelta(minutes=self.release_age_minutes)
