"""The middle one of three layers: an app without a public service, which holds the key for the agents' app."""

from typing import Any, Final

import tomlkit

from components.manifests.toml_tables import array, noted, table
from components.settings import usdc_text
from components.settings.fly import FlySettings
from runtime.contract import Env, FlyEnv, MountPath, Port, Route, command

PURPOSES: Final = {
    "fly/escrow/fly.toml": "The escrow app of three layers: no public service, the key, the rules, a ledger.",
    "fly/escrow/secrets.sh": "Stages and rotates the escrow app's secrets, by stdin only.",
}
SECRETS: Final = (Env.API_KEY, FlyEnv.AGENT_WALLET, FlyEnv.CALLERS)


def internal_url(fly: FlySettings) -> str:
    """Where the agents find it: WireGuard encrypts, Fly's DNS names started Machines only."""
    return f"http://{fly.escrow_app.app}.internal:{Port.FLY_AGENT.value}"


def escrow_toml(fly: FlySettings, build: dict[str, Any], escrow_base: str) -> str:
    """Its configuration as flyctl reads it.

    Args:
        build: What stands in `[build]` of the agents' own.
        escrow_base: The payment service.
    """
    document = tomlkit.document()
    for line in (
        "The escrow app of three layers, generated from the stack's settings. From the project's folder:",
        "  fly deploy . --config dist/<stack>/fly/escrow/fly.toml --ha=false",
        "One Machine: its ledger is one volume. It has no service, so only apps of the same organisation reach it.",
    ):
        document.add(tomlkit.comment(line))
    document.add("app", tomlkit.string(fly.escrow_app.app))
    document.add("primary_region", tomlkit.string(fly.primary_region))
    document.add("kill_signal", tomlkit.string(fly.shutdown.signal))
    document.add("kill_timeout", tomlkit.string(f"{fly.shutdown.kill_timeout_seconds}s"))
    for name, each in _tables(fly, build, escrow_base).items():
        document.add(tomlkit.nl())
        document.add(name, each)
    return tomlkit.dumps(document)


def _tables(fly: FlySettings, build: dict[str, Any], escrow_base: str) -> dict[str, Any]:
    check = {
        "type": "http",
        "port": Port.FLY_AGENT.value,
        "path": Route.HEALTH.value,
        "interval": f"{fly.check.interval_seconds}s",
        "timeout": f"{fly.check.timeout_seconds}s",
        "grace_period": f"{fly.check.grace_period_seconds}s",
    }
    environment = {
        FlyEnv.ESCROW_BASE: escrow_base,
        Env.API_DIALECT: fly.dialect,
        FlyEnv.CALLER_MOST: usdc_text(fly.escrow_app.most_usdc),
        FlyEnv.CALLER_MOST_OPEN: usdc_text(fly.escrow_app.most_open_usdc),
        **({FlyEnv.BACKUP_URL: fly.backup} if fly.backup else {}),
    }
    return {
        "build": table("The agents' image.", build),
        "deploy": table("", {"strategy": fly.strategy}),
        "processes": table("", {"app": " ".join(_program(fly))}),
        "env": table(f"Public; {', '.join(SECRETS)} are secrets: see secrets.sh.", environment),
        "mounts": table(
            "",
            {
                "source": noted(fly.volume.name, "the ledger: what is about to be sent stands there first"),
                "destination": MountPath.FLY_DATA.value,
                "initial_size": f"{fly.volume.size_gb}gb",
                "snapshot_retention": fly.volume.snapshot_retention_days,
            },
        ),
        "checks": table("", {"alive": table("", check)}),
        "vm": array({"cpu_kind": "shared", "cpus": 1, "memory": "256mb"}),
        "metrics": table("", {"port": Port.FLY_METRICS.value, "path": Route.METRICS.value}),
    }


def _program(fly: FlySettings) -> list[str]:
    return [*command("agent.backed_up"), "--escrow-app"] if fly.backup else command("agent.sidecar")
