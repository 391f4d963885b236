"""What the sidecar reads from the environment."""

from dataclasses import dataclass
from pathlib import Path

from runtime.contract import Env, Port
from runtime.credentials import NeededKeySettings
from runtime.environment import flag, group, number, path, url
from runtime.errors import BadInput
from runtime.service.settings import ProbeSettings


@dataclass(frozen=True, kw_only=True)
class StateSettings:
    """Where the sidecar keeps its books."""

    directory: Path | None = path(
        Env.MCP_STATE_DIRECTORY, "Where it keeps what was spent; budgets need it", default=None
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of it, checked before anything is listened on."""

    faucet_url: str | None = url(Env.MCP_FAUCET_URL, "The faucet's MCP server, served as `/faucet`", default=None)
    escrow_url: str | None = url(Env.MCP_ESCROW_URL, "The escrow service's, served as `/escrow`", default=None)
    casino_url: str | None = url(Env.MCP_CASINO_URL, "The casino's, served as `/casino`", default=None)
    trading_url: str | None = url(Env.MCP_TRADING_URL, "The trading service's, served as `/trading`", default=None)
    wallet_url: str | None = url(Env.MCP_WALLET_URL, "The wallet's, served as `/wallet`", default=None)
    domains_url: str | None = url(Env.MCP_DOMAINS_URL, "The domain service's, served as `/domains`", default=None)
    allow_http: bool = flag(Env.ALLOW_HTTP, "Permits `http://` URLs; only beside a sandbox", default=False)
    key: NeededKeySettings = group(NeededKeySettings)
    port: int = number(
        Env.MCP_PORT, "Where agents find it, on loopback only", least=1, most=65_535, default=int(Port.MCP)
    )
    probes: ProbeSettings = group(ProbeSettings)
    rules_file: Path | None = path(
        Env.MCP_RULES_FILE, "What may be called and spent, read again when it changes", default=None, unset="no rules"
    )
    state: StateSettings = group(StateSettings)
    cache_seconds: int = number(
        Env.MCP_CACHE_SECONDS, "How long a list is fresh that does not say so itself", least=0, most=86_400, default=300
    )
    call_seconds: int = number(
        Env.MCP_CALL_SECONDS, "How long an answer may take to begin; streams then have no bound",
        least=1, most=3600, default=60,
    )  # fmt: skip
    grace_seconds: int = number(
        Env.MCP_GRACE_SECONDS, "How long calls under way may take to finish once it is asked to stop",
        least=0, most=600, default=20,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not self.urls:
            raise BadInput(f"{Env.MCP_FAUCET_URL} and {Env.MCP_ESCROW_URL} are not set: there is no server to ask")

    @property
    def urls(self) -> dict[str, str]:
        """The upstream servers by name."""
        named = {
            "faucet": self.faucet_url,
            "escrow": self.escrow_url,
            "casino": self.casino_url,
            "trading": self.trading_url,
            "wallet": self.wallet_url,
            "domains": self.domains_url,
        }
        return {name: address for name, address in named.items() if address}
