"""What every program reads, and what every program with probes does."""

from dataclasses import dataclass
from enum import StrEnum

from runtime.contract import Env, Port
from runtime.environment import choice, number


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"

    @classmethod
    def _missing_(cls, value: object) -> "Level | None":
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What every program reads beside its own."""

    level: Level | None = choice(
        Env.LOG_LEVEL, "How much is logged", Level, default=None, unset="`INFO`, for a command `WARNING`"
    )


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """Where probes and metrics are served."""

    health_port: int | None = number(
        Env.HEALTH_PORT,
        "The one port for probes and metrics",
        least=1,
        most=65_535,
        default=None,
        unset=f"{Port.HEALTH.value} and {Port.METRICS.value}",
    )

    @property
    def ports(self) -> tuple[int, ...]:
        """Each of them serves all pages."""
        return (Port.HEALTH, Port.METRICS) if self.health_port is None else (self.health_port,)
