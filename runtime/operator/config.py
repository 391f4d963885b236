"""The operator's settings, read from its environment once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.contract import Env, Port
from runtime.errors import AmountError
from runtime.money import Usdc


class SettingError(Exception):
    """An environment variable is wrong; the message names it and what is allowed."""


@dataclass(frozen=True)
class OperatorConfig:
    """What one operator process does and where."""

    namespaces: tuple[str, ...]
    """Namespaces whose Jobs it serves; empty when a selector chooses them."""
    selector: str
    """Label selector of the namespaces to serve; empty when they are listed."""
    auto_release: bool
    default_budget: Usdc
    namespace_budget: Usdc | None
    """Most that may be locked in one namespace at one time; None for no bound."""
    daily_budget: Usdc | None
    """Most that may be locked in one namespace within one UTC day; None for no bound."""
    resync_seconds: float
    leader_election: bool
    payer: str | None
    """Who is billed in the `fly` dialect, the only one that asks."""
    timeout_hours: int | None
    """After how long the service refunds, in the `server` dialect; None leaves it to the service (24)."""
    pod_name: str
    pod_namespace: str
    ports: tuple[int, ...] = (Port.HEALTH, Port.METRICS)
    """Where probes and metrics are served."""
    settlements_at_once: int = 32
    """Looks that run at once."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "OperatorConfig":
        """Read the environment; raises `SettingError`."""
        watch = env.get(Env.WATCH_NAMESPACE, "").strip()
        selector = watch.removeprefix("selector:").strip() if watch.startswith("selector:") else ""
        names = () if selector else tuple(n.strip() for n in watch.split(",") if n.strip())
        if not selector and not names:
            raise SettingError(f"{Env.WATCH_NAMESPACE} is empty: name a namespace, a,b,c or selector:team=agents")
        return cls(
            namespaces=names,
            selector=selector,
            auto_release=_flag(env, Env.AUTO_RELEASE, default=True),
            default_budget=_usdc(env, Env.DEFAULT_BUDGET_USDC) or Usdc.parse("0.10"),
            namespace_budget=_usdc(env, Env.NAMESPACE_BUDGET_USDC),
            daily_budget=_usdc(env, Env.NAMESPACE_DAILY_BUDGET_USDC),
            resync_seconds=_number(env, Env.RESYNC_SECONDS, default=300.0, most=86_400),
            leader_election=_flag(env, Env.LEADER_ELECTION, default=False),
            payer=env.get(Env.AGENT_ID) or None,
            timeout_hours=int(_number(env, Env.ESCROW_TIMEOUT_HOURS, default=0, most=720)) or None,
            pod_name=env.get(Env.POD_NAME) or f"local-{os.getpid()}",
            ports=(int(_number(env, Env.HEALTH_PORT, default=0, most=65_535)),)
            if env.get(Env.HEALTH_PORT)
            else (Port.HEALTH, Port.METRICS),
            pod_namespace=env.get(Env.POD_NAMESPACE) or (names[0] if names else "default"),
        )


def _flag(env: Mapping[str, str], name: Env, *, default: bool) -> bool:
    word = env.get(name, "").strip().lower()
    if word in ("", "true", "false"):
        return word == "true" if word else default
    raise SettingError(f"{name} is {word!r}: expected true or false")


def _usdc(env: Mapping[str, str], name: Env) -> Usdc | None:
    word = env.get(name, "").strip()
    try:
        return Usdc.parse(word) if word else None
    except AmountError as error:
        raise SettingError(f"{name}: {error}") from error


def _number(env: Mapping[str, str], name: Env, *, default: float, most: float) -> float:
    word = env.get(name, "").strip()
    if not word:
        return default
    try:
        number = float(word)
    except ValueError:
        number = -1.0
    if not 1 <= number <= most:
        raise SettingError(f"{name} is {word!r}: expected a number from 1 to {most:g}")
    return number
