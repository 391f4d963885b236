"""The `fly` section: what fly.toml and the scripts are made from."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.settings.problems import Problem
from components.settings.section import Section
from components.settings.values import DnsLabel, Image, Matching, Usdc, usdc_text
from components.settings.workloads import Environment
from runtime.contract import FLY_SECRETS, Env, FlyEnv

Region = Annotated[str, Matching(r"[a-z]{3}", "a region is three letters, e.g. 'lhr'", "lhr")]
VolumeName = Annotated[str, Matching(r"[a-z0-9_]{1,30}", "a volume's name is at most 30 of a-z, 0-9 and '_'", "data")]
_SERVER_MB, _WORKER_MB = 96, 128
"""Resident memory of the supervising process, and of one busy worker; an idle one takes about 40 MB."""


def _backup(url: str) -> str:
    if "litefs" in url.lower():
        raise ValueError(
            "LiteFS replicates after the commit and fails over to a copy that may lack it: a payment could be sent "
            "again. Litestream copies one ledger for a person to restore: name an s3:// bucket"
        )
    if url and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*", url):
        raise ValueError(f"{url!r} is no bucket such as s3://ledgers/production")
    return url


class Volume(Section):
    """The volume of each Machine: on one host, not replicated, an independent ledger each."""

    name: VolumeName = "agent_data"
    """Name that all the app's volumes share."""
    size_gb: Annotated[int, Field(ge=1, le=500)] = 10
    """Gigabytes of a new volume; a volume can be extended later, never shrunk."""
    snapshot_retention_days: Annotated[int, Field(ge=1, le=60)] = 14
    """Days that Fly keeps the daily snapshots."""


class Machine(Section):
    """Size of each Machine."""

    cpu_kind: Literal["shared", "performance"] = "shared"
    """Fly's CPU class."""
    cpus: Literal[1, 2, 4, 8, 16] = 1
    """Virtual CPUs; 16 only of the performance class."""
    memory_mb: Annotated[int, Field(ge=256, le=131072, multiple_of=256)] = 256
    """Megabytes."""
    workers: Annotated[int, Field(ge=1, le=32)] = 1
    """Server processes in the Machine; each needs about 128 MB, so 256 MB hold one."""


class Concurrency(Section):
    """What Fly's proxy sends to one Machine."""

    type: Literal["requests", "connections"] = "requests"
    """What is counted."""
    soft_limit: Annotated[int, Field(ge=1, le=10000)] = 200
    """Above it the proxy prefers other Machines."""
    hard_limit: Annotated[int, Field(ge=1, le=10000)] = 250
    """At it the Machine gets nothing more."""


class EscrowApp(Section):
    """Of three layers: the app that holds the key, reached by the agents over `.internal` only."""

    app: DnsLabel = "my-pf-escrow"
    """Its name, unique on Fly; one Machine in the primary region, with a volume of its own."""
    most_usdc: Usdc = Decimal(10)
    """The most that one escrow may hold."""
    most_open_usdc: Usdc = Decimal(100)
    """The most that one calling app may have open at a time; what waits for a person counts."""


class Check(Section):
    """The HTTP check on `/health`. It only takes a Machine out of routing, it never restarts one."""

    interval_seconds: Annotated[int, Field(ge=1, le=60)] = 15
    """Seconds between two checks; Fly clamps to 1 to 60."""
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """Seconds an answer may take."""
    grace_period_seconds: Annotated[int, Field(ge=1, le=60)] = 20
    """Seconds after the start in which failures do not count; longer than the program takes to start."""


class Shutdown(Section):
    """How a Machine is stopped; Fly's own default kills after 5 seconds, in the middle of a payment."""

    signal: Literal["SIGTERM", "SIGINT"] = "SIGTERM"
    """What the program is sent."""
    kill_timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 60
    """Seconds until it is killed; 300 is Fly's bound."""
    graceful_seconds: Annotated[int, Field(ge=1, le=299)] = 45
    """Seconds in which open requests may finish; below `killTimeoutSeconds`, so that the ledger is closed in order."""


class FlySettings(Section):
    """One Fly.io app."""

    enabled: bool = True
    """Whether the stack writes Fly files."""
    app: DnsLabel = "my-pf-agent"
    """Name of the app, unique on Fly."""
    primary_region: Region = "iad"
    """Three-letter code of the first Machine's region; `fly platform regions` lists them."""
    regions: Annotated[dict[Region, Annotated[int, Field(ge=0, le=100)]], Field(min_length=1)] = {
        "iad": 1,
        "lhr": 2,
        "nrt": 2,
        "syd": 1,
    }
    """Machines in each region, absolute counts; 0 empties a region, one that is not named is left alone."""
    dialect: Literal["kubernetes", "fly", "server"] = "fly"
    """HTTP surface of the payment service that the agent speaks."""
    layers: Literal["one", "three"] = "one"
    """`one`: each agent holds the key. `three`: public agents hold a token, and an escrow app of its own the key."""
    escrow_app: EscrowApp = EscrowApp()
    """The middle one of three layers."""
    backup: Annotated[str, AfterValidator(_backup)] = ""
    """Bucket to which Litestream copies each ledger as it is written, e.g. `s3://ledgers/production`; empty: none."""
    base_image: Image = "python:3.12-slim"
    """Python image that the Dockerfile starts from: by digest, unless the stack has a sandbox or `images.allowTag`."""
    strategy: Literal["rolling", "immediate"] = "rolling"
    """How a deploy replaces Machines; Fly's `canary` and `bluegreen` do not go with volumes."""
    auto_stop: Literal["off", "stop", "suspend"] = "off"
    """Whether idle Machines stop. Fly counts requests only: an unfinished settlement waits until the next start."""
    min_machines_running: Annotated[int, Field(ge=0, le=100)] = 1
    """Machines that stay up in the primary region where `autoStop` is on; other regions have no such floor."""
    volume: Volume = Volume()
    """Where the ledger is."""
    machine: Machine = Machine()
    """How large."""
    concurrency: Concurrency = Concurrency()
    """How much at once."""
    check: Check = Check()
    """Who gets requests."""
    shutdown: Shutdown = Shutdown()
    """How it ends."""
    env: Environment = {}
    """Further environment variables of the agent: its prices, its model, its queue; nothing secret."""


BUCKET_SECRETS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""What Litestream shows to the bucket."""
_SECRET: Final = (*FLY_SECRETS, FlyEnv.MODEL_KEY, FlyEnv.CALLERS, *BUCKET_SECRETS)
_SET: Final = (
    Env.API_DIALECT,
    *(name for name in FlyEnv if name.value.startswith("FLY_")),
    Env.ALLOW_HTTP,
    *(FlyEnv.ESCROW_BASE, FlyEnv.FAUCET_BASE, FlyEnv.ESCROW_FEE, FlyEnv.REFERRAL_RATE, FlyEnv.WORKERS),
    *(
        FlyEnv.GRACEFUL_SHUTDOWN_SECONDS,
        FlyEnv.METRICS_DIRECTORY,
        FlyEnv.BACKUP_URL,
        FlyEnv.DATA_DIRECTORY,
        FlyEnv.PORT,
        FlyEnv.METRICS_PORT,
    ),
)


def fly_problems(fly: FlySettings) -> Iterator[Problem]:
    """Fly's rules across several fields."""
    at = "purpleflea.fly"
    machine, shutdown = fly.machine, fly.shutdown
    if fly.concurrency.soft_limit > fly.concurrency.hard_limit:
        yield Problem(f"{at}.concurrency.softLimit", f"must not exceed hardLimit ({fly.concurrency.hard_limit})")
    if fly.check.timeout_seconds > fly.check.interval_seconds:
        yield Problem(f"{at}.check.timeoutSeconds", f"must not exceed intervalSeconds ({fly.check.interval_seconds})")
    if shutdown.graceful_seconds >= shutdown.kill_timeout_seconds:
        limit = shutdown.kill_timeout_seconds
        yield Problem(f"{at}.shutdown.gracefulSeconds", f"must be below killTimeoutSeconds ({limit})")
    if fly.layers == "three":
        yield from _layer_problems(fly, at)
    in_primary = fly.regions.get(fly.primary_region, 0)
    if in_primary < 1:
        yield Problem(f"{at}.regions", f"needs at least one Machine in the primary region {fly.primary_region!r}")
    elif fly.min_machines_running > in_primary:
        yield Problem(f"{at}.minMachinesRunning", f"must not exceed regions.{fly.primary_region} ({in_primary})")
    needed = _SERVER_MB + machine.workers * _WORKER_MB
    if machine.memory_mb < needed:
        yield Problem(f"{at}.machine.memoryMb", f"{machine.workers} workers need at least {needed} MB")
    yield from _size_problems(machine, f"{at}.machine")
    for name in fly.env:
        if name in _SECRET:
            yield Problem(f"{at}.env.{name}", "is a secret: fly.toml would show it; stage it by `fly secrets import`")
        elif name in _SET:
            yield Problem(f"{at}.env.{name}", "is set by Fly or from other settings; choose another name")


def _layer_problems(fly: FlySettings, at: str) -> Iterator[Problem]:
    if fly.dialect != "fly":
        yield Problem(f"{at}.layers", f"three layers speak fly, not fly.dialect {fly.dialect!r}")
    if fly.escrow_app.app == fly.app:
        yield Problem(f"{at}.escrowApp.app", "is the agents' app: the key's app is another one")
    if fly.escrow_app.most_usdc > fly.escrow_app.most_open_usdc:
        most = usdc_text(fly.escrow_app.most_open_usdc)
        yield Problem(f"{at}.escrowApp.mostUsdc", f"must not exceed mostOpenUsdc ({most})")


def _size_problems(machine: Machine, at: str) -> Iterator[Problem]:
    shared = machine.cpu_kind == "shared"
    if shared and machine.cpus > 8:
        yield Problem(f"{at}.cpus", "the shared class has at most 8; use cpuKind: performance")
        return
    low, high = (256 * machine.cpus, 2048 * machine.cpus) if shared else (2048 * machine.cpus, 8192 * machine.cpus)
    if not low <= machine.memory_mb <= high:
        size = f"{machine.cpu_kind}-{machine.cpus}x"
        yield Problem(f"{at}.memoryMb", f"{size} has {low} to {high} MB, not {machine.memory_mb}")
