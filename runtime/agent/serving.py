"""One server process of the agent, from an opened ledger to a closed one."""

import asyncio
import gc
import logging
import socket
from contextlib import AsyncExitStack, suppress

from prometheus_client import CollectorRegistry

from runtime.agent.app import build_app
from runtime.agent.billing import Agent
from runtime.agent.ledger import Ledger
from runtime.agent.metrics import LedgerFigures, Metrics
from runtime.agent.settings import Settings
from runtime.agent.work import opened
from runtime.payments import PaymentsClient
from runtime.service.http import BoundedProtocol, Bounds, HttpServer
from runtime.service.probes import Probes

_log = logging.getLogger("runtime.agent")
_WARM_UP_SECONDS = 5
_COLLECTED_AFTER = 20_000
"""Objects that come to be before the youngest are looked through; Python's 700 are less than two inferences' worth."""


async def serve(settings: Settings, ledger: Ledger, sockets: list[socket.socket], stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then finish what has begun; what is left then is finished by the next start.

    Raises:
        BadInput: The work or the metrics' port cannot be used.
    """
    protocol = type("AgentProtocol", (BoundedProtocol,), {"bounds": _bounds(settings)})
    alone = settings.workers == 1
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        work = await stack.enter_async_context(opened(settings.work))
        client = await stack.enter_async_context(settings.billing.client())
        agent = Agent(settings, ledger, client, work)
        app = build_app(settings, agent, ledger, client, Metrics(registry))
        if alone:
            registry.register(LedgerFigures(settings.data))
            await stack.enter_async_context(Probes(registry=registry).serving([settings.metrics_port]))
        left = await agent.recover()
        stack.push_async_callback(agent.drain)
        warming = asyncio.create_task(_warm_up(client))
        stack.callback(warming.cancel)
        facts = {"region": settings.region, "slot": ledger.slot, "unfinished": left}
        ready = lambda: _log.info("agent ready, %d unfinished", left, extra=facts)  # noqa: E731
        gc.freeze()  # what stays until the end is looked through no more
        gc.set_threshold(_COLLECTED_AFTER)
        server = HttpServer(app, sockets, stop, protocol, on_ready=ready)
        await server.run_until_stopped()


def _bounds(settings: Settings) -> Bounds:
    return Bounds(connections=2048, drain_seconds=settings.graceful_seconds)


async def _warm_up(client: PaymentsClient) -> None:
    """Resolve the service's name and learn its time; a service that does not answer fails no start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_WARM_UP_SECONDS):
            await client.ask_time()
