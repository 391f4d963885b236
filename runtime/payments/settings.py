"""The environment that tells where the payment service is and who pays."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runtime.contract import Env
from runtime.environment import choice, flag, group, path, secret, url
from runtime.payments.client import PaymentsClient
from runtime.payments.credentials import Credentials
from runtime.payments.http import MakeHttp
from runtime.payments.model import DialectName


@dataclass(frozen=True, kw_only=True)
class KeySettings:
    """Where the API key comes from; without one, only what needs a key fails."""

    key: str | None = secret(Env.API_KEY, "The API key", default=None)
    file: Path | None = path(
        Env.API_KEY_FILE, f"A file with the key, read again when it changes; wins over `{Env.API_KEY}`", default=None
    )

    @cached_property
    def credentials(self) -> Credentials:
        """One for the program, so that a file is read once a change."""
        return Credentials(self.key, self.file)


@dataclass(frozen=True, kw_only=True)
class NeededKeySettings(KeySettings):
    """The same for a program that cannot do without: no key is a wrong setting at the start."""

    def __post_init__(self) -> None:
        self.credentials.key()


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

    def client(self, http: MakeHttp | None = None) -> PaymentsClient:
        """The client; raises BadInput for a proxy or CA file in the environment that cannot work."""
        return PaymentsClient(
            self.dialect,
            self.escrow_url,
            self.key.credentials,
            faucet_url=self.faucet_url,
            casino_url=self.casino_url,
            allow_http=self.allow_http,
            http=http,
        )


@dataclass(frozen=True, kw_only=True)
class PayerSettings(PaymentSettings):
    """The same for a program that pays."""

    key: NeededKeySettings = group(NeededKeySettings)
