"""The Fly.io files of a stack: fly.toml, Dockerfile, scripts for secrets and regions, `mcp_config.json`."""

import json
from typing import Any

import tomlkit
from tomlkit.items import Table

from components.manifests import fly_backup, fly_escrow, fly_go
from components.manifests.services import public_url
from components.manifests.templating import PROJECT, render
from components.manifests.toml_tables import array, noted, table
from components.settings import Settings
from components.settings.fly import BUCKET_SECRETS, FlySettings
from runtime.contract import FEE_RATE, FLY_SECRETS, REFERRAL_RATE, Env, FlyEnv, MountPath, Port, Route

PROCESS_GROUP = "app"
"""Fly's name for the Machines of an app that declares no process groups."""
METRICS_DIRECTORY = "/tmp/metrics"  # noqa: S108  inside the Machine, which runs nothing else


PURPOSES = {
    "fly/fly.toml": "The Fly app: region, environment, volume, service with TLS, health check, metrics.",
    "fly/Dockerfile": "The image of the Fly app; the same file builds the Kubernetes image.",
    "fly/secrets.sh": "Stages and rotates the app's secrets, by stdin only.",
    "fly/regions.sh": "Machines and volumes in each region: shows the plan, changes with --apply.",
    "fly/mcp_config.json": "The faucet's and the escrow service's tools, for MCP clients.",
    "fly/go/fly.toml": "The same app with the agent in Go.",
    **fly_go.PURPOSES,
}
"""What each file is for, by its path in the stack's folder."""


def fly_files(settings: Settings) -> dict[str, str]:
    """Path → content of everything under `fly/` in a stack's folder; empty where the Fly app is not enabled."""
    fly = settings.fly
    if not (settings.enabled and fly.enabled):
        return {}
    go = {"fly/go/fly.toml": fly_toml(settings, go=True), **fly_go.go_files()} if fly.dialect == "fly" else {}
    bucket = BUCKET_SECRETS if fly.backup else ()
    scripts = {
        "bucket": bucket,
        "app": fly.app,
        "group": PROCESS_GROUP,
        "volume": fly.volume,
        "regions": region_counts(fly),
        "required": (*FLY_SECRETS[:2], *bucket),
        "optional": FLY_SECRETS[2:],
    }
    return {
        "fly/fly.toml": fly_toml(settings),
        "fly/Dockerfile": dockerfile(fly),
        "fly/secrets.sh": render("fly/secrets.sh", **scripts),
        "fly/regions.sh": render("fly/regions.sh", **scripts),
        "fly/mcp_config.json": mcp_config(settings),
        **(_escrow_app(settings, scripts) if fly.layers == "three" else {}),
        **go,
    }


def _escrow_app(settings: Settings, scripts: dict[str, Any]) -> dict[str, str]:
    fly = settings.fly
    build = _image(fly) | {"dockerfile": "../Dockerfile"}
    mine = {**scripts, "app": fly.escrow_app.app, "required": (*fly_escrow.SECRETS, *scripts["bucket"]), "optional": ()}
    return {
        "fly/escrow/fly.toml": fly_escrow.escrow_toml(fly, build, service_url(settings, "escrow")),
        "fly/escrow/secrets.sh": render("fly/secrets.sh", **mine),
    }


def fly_toml(settings: Settings, *, go: bool = False) -> str:
    """The app's configuration as flyctl reads it. Durations are strings: bare numbers mean ms or ns by place."""
    fly = settings.fly
    document = tomlkit.document()
    context, folder = ("dist/<stack>/fly/go", "fly/go") if go else (".", "fly")
    for line in (
        "Generated from the stack's settings; change those, not this file. From the project's folder:",
        f"  fly deploy {context} --config dist/<stack>/{folder}/fly.toml",
    ):
        document.add(tomlkit.comment(line))
    document.add("app", tomlkit.string(fly.app))
    document.add("primary_region", tomlkit.string(fly.primary_region))
    document.add("kill_signal", noted(fly.shutdown.signal, "the agent closes its ledger on it"))
    document.add(
        "kill_timeout", noted(f"{fly.shutdown.kill_timeout_seconds}s", "Fly's default of 5s cuts payments off")
    )
    for name, each in _tables(settings, go).items():
        document.add(tomlkit.nl())
        document.add(name, each)
    return tomlkit.dumps(document)


def _tables(settings: Settings, go: bool) -> dict[str, Any]:
    fly = settings.fly
    services = tomlkit.aot()
    services.append(_service(fly))
    return {
        "build": _build(fly, go),
        "deploy": table("canary and bluegreen do not go with volumes.", {"strategy": fly.strategy}),
        "env": table(_environment_note(settings, go), _environment(settings, go)),
        "mounts": table(
            "One volume a Machine, on one host, not replicated: every Machine keeps its own ledger.",
            {
                "source": fly.volume.name,
                "destination": MountPath.FLY_DATA.value,
                "initial_size": f"{fly.volume.size_gb}gb",
                "snapshot_retention": fly.volume.snapshot_retention_days,
            },
        ),
        "services": services,
        "vm": array(
            {"cpu_kind": fly.machine.cpu_kind, "cpus": fly.machine.cpus, "memory": f"{fly.machine.memory_mb}mb"}
        ),
        "metrics": table("Scraped by Fly every 15 s.", {"port": Port.FLY_METRICS.value, "path": Route.METRICS.value}),
    }


def _build(fly: FlySettings, go: bool) -> Table:
    if go:
        return table("Beside this file.", {"dockerfile": "Dockerfile"})
    return table("Beside this file; one Dockerfile for Fly and Kubernetes.", _image(fly))


def _image(fly: FlySettings) -> dict[str, Any]:
    target = fly_backup.TARGET if fly.backup else "fly"
    return {"dockerfile": "Dockerfile", "build-target": target, "args": table("", {"BASE_IMAGE": fly.base_image})}


def _environment_note(settings: Settings, go: bool) -> str:
    if go and settings.fly.backup:
        return "No fly.backup: this image has no Litestream, and nothing but Fly's daily snapshots copies the ledger."
    if settings.sandbox.enabled:
        return "The stack's sandbox is inside the cluster: Machines use the services below, with real money."
    if settings.fly.layers == "three":
        return "Public; the secret PF_API_KEY is this app's token at the escrow app: the key itself is there alone."
    return "Public; PF_API_KEY and AGENT_WALLET are secrets: see secrets.sh."


def _environment(settings: Settings, go: bool) -> dict[str, str]:
    """Strings only: Fly hands them over as environment variables. Fly itself adds FLY_REGION and FLY_MACHINE_ID."""
    fly = settings.fly
    several_workers = {FlyEnv.METRICS_DIRECTORY: METRICS_DIRECTORY} if fly.machine.workers > 1 else {}
    return {
        **_escrow_base(settings),
        FlyEnv.FAUCET_BASE: service_url(settings, "faucet"),
        FlyEnv.ESCROW_FEE: FEE_RATE,
        FlyEnv.REFERRAL_RATE: REFERRAL_RATE,
        Env.API_DIALECT: fly.dialect,
        FlyEnv.WORKERS: str(fly.machine.workers),
        FlyEnv.GRACEFUL_SHUTDOWN_SECONDS: str(fly.shutdown.graceful_seconds),
        **several_workers,
        **({FlyEnv.BACKUP_URL: fly.backup} if fly.backup and not go else {}),
        **fly.env,
    }


def _escrow_base(settings: Settings) -> dict[str, str]:
    if settings.fly.layers == "three":
        return {FlyEnv.ESCROW_BASE: fly_escrow.internal_url(settings.fly), Env.ALLOW_HTTP: "true"}
    return {FlyEnv.ESCROW_BASE: service_url(settings, "escrow")}


def service_url(settings: Settings, service: str) -> str:
    """Where a Machine finds a service: as set, else the public one; `http://` is a sandbox's, out of its reach."""
    configured = getattr(settings.services, f"{service}_url")
    return configured if configured.startswith("https://") else public_url(service)


def _service(fly: FlySettings) -> Table:
    check = {
        "interval": f"{fly.check.interval_seconds}s",
        "timeout": f"{fly.check.timeout_seconds}s",
        "grace_period": f"{fly.check.grace_period_seconds}s",
        "method": "GET",
        "path": Route.HEALTH.value,
    }
    service = {
        "internal_port": Port.FLY_AGENT.value,
        "protocol": "tcp",
        "auto_stop_machines": noted(fly.auto_stop, "Fly counts requests only, not settlements under way"),
        "auto_start_machines": True,
        "min_machines_running": noted(fly.min_machines_running, "in the primary region only"),
        "concurrency": table(
            "",
            {
                "type": fly.concurrency.type,
                "soft_limit": fly.concurrency.soft_limit,
                "hard_limit": fly.concurrency.hard_limit,
            },
        ),
        "ports": array(
            {"port": 443, "handlers": ["tls", "http"]},
            {"port": 80, "handlers": ["http"], "force_https": noted(True, "a table of that name does not load")},
        ),
        # Under [[services]] a check is called http_checks; flyctl drops [[services.checks]] without a word.
        "http_checks": array(check),
    }
    return table("A failed check only takes the Machine out of routing.", service)


def region_counts(fly: FlySettings) -> list[str]:
    """`["iad:1", "lhr:2"]`: absolute counts, the primary region first, because a deploy starts there."""
    order = sorted(fly.regions, key=lambda region: (region != fly.primary_region, region))
    return [f"{region}:{fly.regions[region]}" for region in order]


def dockerfile(fly: FlySettings) -> str:
    """The project's Dockerfile for beside fly.toml, with Litestream's stages where asked for; same context."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    more = fly_backup.STAGES if fly.backup else ""
    return f"# A copy of the project's Dockerfile, which also builds the Kubernetes image.\n{text}{more}"


def mcp_config(settings: Settings) -> str:
    """`mcp_config.json` for MCP clients: the faucet's and the escrow service's tools over streamable HTTP."""
    tools = (
        ("faucet", settings.mcp.faucet_endpoint, "Claim free USDC for new agents"),
        ("escrow", settings.mcp.escrow_endpoint, "Trustless USDC payments between agents"),
    )
    servers = {
        f"pf-{service}": {
            "transport": "streamable-http",
            "url": endpoint or f"{service_url(settings, service)}/mcp",
            "description": description,
        }
        for service, endpoint, description in tools
    }
    return json.dumps({"mcpServers": servers}, indent=2) + "\n"
