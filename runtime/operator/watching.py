"""kopf, for what it does best: watching Jobs through lost connections, expired versions and rotated tokens.

Only `on.event` is used. kopf's handled changes would write their bookkeeping onto every Job (1.6 kB) and cost three
times the CPU, and the Escrow objects already are the durable state; what an event handler misses the periodic list
finds.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

from runtime.contract import (
    ACT_LABEL,
    DOMAIN,
    ESCROW_GROUP,
    ESCROW_ID_ANNOTATION,
    ESCROW_PLURAL,
    ESCROW_REQUEST_ANNOTATION,
    ESCROW_VERSION,
    SETTLEMENT_FINALIZER,
)
from runtime.escrow_object import OPEN, phase_of
from runtime.operator.api import login
from runtime.operator.jobs import JobFacts, job_of, read_job

Look = Callable[[JobFacts], None]


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # needs rights on all namespaces and CRDs; the namespaces are known
    settings.queueing.idle_timeout = 0.5  # a worker an object is kept this long: 71 instead of 150 MiB at 10,000 Jobs
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 60
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.label_selectors[ESCROW_GROUP, ESCROW_PLURAL] = ACT_LABEL  # only what a person decided on
    settings.persistence.finalizer = f"{DOMAIN}/unused-by-kopf"
    return settings


def _concerned(meta: Mapping[str, Any], **_: Any) -> bool:
    annotations = meta.get("annotations") or {}
    return (
        ESCROW_ID_ANNOTATION in annotations
        or ESCROW_REQUEST_ANNOTATION in annotations
        or SETTLEMENT_FINALIZER in (meta.get("finalizers") or ())
    )


def _registry(seen: Look, acted: Look, stop: asyncio.Event) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def _login(**_: Any) -> kopf.ConnectionInfo:
        return login()

    @kopf.on.cleanup(registry=registry)
    async def _ended(**_: Any) -> None:
        stop.set()  # kopf gives its own waiter for this flag five seconds to end otherwise, of a pod's thirty

    @kopf.on.event("batch", "v1", "jobs", registry=registry, when=_concerned)
    async def _job(type: str | None, body: Mapping[str, Any], **_: Any) -> None:
        seen(read_job(body, gone=type == "DELETED"))

    @kopf.on.event(ESCROW_GROUP, ESCROW_VERSION, ESCROW_PLURAL, registry=registry)
    async def _acted(type: str | None, body: Mapping[str, Any], **_: Any) -> None:
        if type != "DELETED" and phase_of(body) in OPEN:
            acted(job_of(body))

    return registry


async def watch_jobs(namespaces: Sequence[str], seen: Look, acted: Look, stop: asyncio.Event) -> None:
    """Call `seen` for every Job of the namespaces, as they are and as they change, until `stop` or a signal.

    `acted` is called for every open Escrow that a person decided about.

    kopf takes SIGTERM and SIGINT for itself, so a return before the caller sets `stop` means that the process was asked
    to end; `stop` is set then as well.
    """
    await kopf.operator(
        registry=_registry(seen, acted, stop),
        settings=_settings(),
        namespaces=list(namespaces),
        standalone=True,
        stop_flag=stop,
    )
