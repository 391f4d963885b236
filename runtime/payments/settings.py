"""The environment that tells where the payment service is and who pays."""

from dataclasses import dataclass

from runtime.contract import Env
from runtime.credentials import KeySettings, NeededKeySettings
from runtime.environment import choice, flag, group, url
from runtime.payments.client import PaymentsClient
from runtime.payments.http import Limits, MakeHttp, Timeouts
from runtime.payments.model import DialectName


@dataclass(frozen=True, kw_only=True)
class PaymentSettings:
    """Where the service is and how it is spoken to."""

    escrow_url: str = url(Env.ESCROW_URL, "The escrow service")
    faucet_url: str | None = url(Env.FAUCET_URL, "The faucet, where one is used", default=None)
    casino_url: str | None = url(
        Env.CASINO_URL, "The service that keeps the payer's account: finds a lost create in `server`", default=None
    )
    dialect: DialectName = choice(
        Env.API_DIALECT, "Which of the HTTP surfaces answers", DialectName, default=DialectName.KUBERNETES
    )
    allow_http: bool = flag(Env.ALLOW_HTTP, "Permits `http://` URLs; only beside a sandbox", default=False)
    key: KeySettings = group(KeySettings)

    def client(
        self, http: MakeHttp | None = None, limits: Limits | None = None, timeouts: Timeouts | None = None
    ) -> PaymentsClient:
        """The client; raises BadInput for a proxy or CA file in the environment that cannot work."""
        return PaymentsClient(
            self.dialect,
            self.escrow_url,
            self.key.credentials,
            faucet_url=self.faucet_url,
            casino_url=self.casino_url,
            allow_http=self.allow_http,
            http=http,
            limits=limits,
            timeouts=timeouts,
        )


@dataclass(frozen=True, kw_only=True)
class PayerSettings(PaymentSettings):
    """The same for a program that pays."""

    key: NeededKeySettings = group(NeededKeySettings)
