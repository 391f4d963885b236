"""kopf, for what it does best: watching Jobs through lost connections, expired versions and rotated tokens.

Only `on.event` is used. kopf's handled changes would write their bookkeeping onto every Job (1.6 kB) and cost three
times the CPU, and the Escrow objects already are the durable state; what an event handler misses the periodic list
finds.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from runtime.contract import (
    ACT_LABEL,
    DOMAIN,
    ESCROW_GROUP,
    ESCROW_PLURAL,
    ESCROW_VERSION,
)
from runtime.escrow_object import OPEN, phase_of
from runtime.operator.api import login
from runtime.operator.jobs import JobFacts, job_of, read_job

Look = Callable[[JobFacts], None]
_NOWHERE: Final = "no.such.namespace"
"""Watched where a selector finds none: from no namespace at all kopf concludes that every one is meant. With the dots
nobody can create it."""

PAGE: Final = 25
"""Jobs that kopf lists at once: it reads them whole, 50 kB each as objects, where our own lists do not."""


class _NoDiffs(kopf.MultiDiffBaseStorage):
    """Takes nothing of an object: kopf would copy each one three times at every event, for `on.update` alone."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()


class _NoMemories(ResourceMemories):
    """Remembers nothing of an object: kopf would keep a kilobyte of each for timers and daemons that we do not have."""

    async def recall(self, raw_body: kopf.RawBody, **options: Any) -> ResourceMemory:
        options["ephemeral"] = True
        return await super().recall(raw_body, **options)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # needs rights on all namespaces and CRDs; the namespaces are known
    settings.queueing.idle_timeout = 0.05  # how long a worker, with its object, outlives an event: memory
    settings.watching.chunk_size = PAGE
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 60
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.label_selectors[ESCROW_GROUP, ESCROW_PLURAL] = ACT_LABEL  # only what a person decided on
    settings.persistence.diffbase_storage = _NoDiffs([])
    settings.persistence.progress_storage = kopf.MultiProgressStorage([])
    settings.persistence.finalizer = f"{DOMAIN}/unused-by-kopf"
    return settings


def _registry(seen: Look, acted: Look, stop: asyncio.Event) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def _login(**_: Any) -> kopf.ConnectionInfo:
        return login()

    @kopf.on.cleanup(registry=registry)
    async def _ended(**_: Any) -> None:
        stop.set()  # kopf gives its own waiter for this flag five seconds to end otherwise, of a pod's thirty

    # The plain object of the event: kopf's `body` wraps every level anew at every access.
    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def _job(event: kopf.RawEvent, **_: Any) -> None:
        job = read_job(event["object"], gone=event["type"] == "DELETED")
        if job.concerned:
            seen(job)

    @kopf.on.event(ESCROW_GROUP, ESCROW_VERSION, ESCROW_PLURAL, registry=registry)
    async def _acted(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] != "DELETED" and phase_of(event["object"]) in OPEN:
            acted(job_of(event["object"]))

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
        namespaces=list(namespaces) or [_NOWHERE],
        standalone=True,
        memories=_NoMemories(),
        stop_flag=stop,
    )
