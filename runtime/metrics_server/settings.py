"""What the metrics server reads from its environment."""

from dataclasses import dataclass
from pathlib import Path

from runtime.contract import Env, Port
from runtime.environment import group, number, path, text
from runtime.payments.settings import PayerSettings
from runtime.service import ProbeSettings

STALE_SECONDS = 30.0
"""For how long a reading holds at the default pause between two."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which queue, how often, and for whom."""

    payments: PayerSettings = group(PayerSettings)
    probes: ProbeSettings = group(ProbeSettings)
    wallet: str = text(
        Env.WORKER_WALLET, "Whose escrows wait", default="", unset="everybody's whom the key pays, as in the guide"
    )
    poll_seconds: int = number(Env.POLL_SECONDS, "Pause between two looks at the queue", least=1, most=3600, default=15)
    namespace: str | None = text(
        Env.POD_NAMESPACE, "Whose queue it is", default=None, unset="the login's own namespace"
    )
    api_port: int = number(
        Env.CUSTOM_METRICS_PORT,
        "Port of the custom metrics API; 0: another program serves it",
        least=0,
        most=65_535,
        default=Port.CUSTOM_METRICS.value,
    )
    tls_directory: Path | None = path(
        Env.TLS_DIRECTORY,
        "Directory with `tls.crt` and `tls.key`, read again when they change",
        default=None,
        unset="it makes its own pair and registers the CA",
    )
    readers: str = text(
        Env.QUEUE_READERS,
        "Who may read the queue as plain JSON: `system:serviceaccount:NAMESPACE:NAME`, several with commas",
        default="",
        unset="nobody",
    )

    @property
    def stale_seconds(self) -> float:
        """For how long a reading holds: two pauses, and not below half a minute."""
        return max(STALE_SECONDS, 2.0 * self.poll_seconds)

    @property
    def reader_names(self) -> set[str]:
        """The readers, one by one."""
        return {name.strip() for name in self.readers.split(",") if name.strip()}
