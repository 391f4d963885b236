"""kopf, for what people do: it runs the process until a signal, and watches for Escrows that a person decided about.

Only `on.event` is used: kopf's handled changes would write their bookkeeping onto every object, and the Escrow objects
already are the durable state. Jobs, of which there are thousands, do not pass through kopf at all: see `job_watch`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import kopf

from runtime.contract import ACT_LABEL, ESCROW_GROUP, ESCROW_PLURAL, ESCROW_VERSION
from runtime.kubernetes.client import login
from runtime.kubernetes.escrow import OPEN, phase_of
from runtime.operator.jobs import JobFacts, job_of

Look = Callable[[JobFacts], None]

_NOWHERE: Final = "no.such.namespace"
"""Watched where a selector finds none: from no namespace at all kopf concludes that every one is meant. With the dots
nobody can create it."""


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # needs rights on all namespaces and CRDs; the namespaces are known
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 60
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.label_selectors[ESCROW_GROUP, ESCROW_PLURAL] = ACT_LABEL  # only what a person decided on
    return settings


def _registry(acted: Look, stop: asyncio.Event) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def _login(**_: Any) -> kopf.ConnectionInfo:
        return login()

    @kopf.on.cleanup(registry=registry)
    async def _ended(**_: Any) -> None:
        stop.set()  # kopf gives its own waiter for this flag five seconds to end otherwise, of a pod's thirty

    @kopf.on.event(ESCROW_GROUP, ESCROW_VERSION, ESCROW_PLURAL, registry=registry)
    async def _acted(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] != "DELETED" and phase_of(event["object"]) in OPEN:
            acted(job_of(event["object"]))

    return registry


async def watch_acts(namespaces: Sequence[str], acted: Look, stop: asyncio.Event) -> None:
    """Call `acted` for the Job of every open Escrow that a person decided about, until `stop` or a signal.

    kopf takes SIGTERM and SIGINT for itself, so a return before the caller sets `stop` means that the process was asked
    to end; `stop` is set then as well.
    """
    await kopf.operator(
        registry=_registry(acted, stop),
        settings=_settings(),
        namespaces=list(namespaces) or [_NOWHERE],
        standalone=True,
        stop_flag=stop,
    )
