"""The sandbox's ASGI application: three dialects, the books, probes and metrics."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.money import MICRO
from runtime.sandbox import mcp
from runtime.sandbox.admin import admin_routes
from runtime.sandbox.clock import Clock
from runtime.sandbox.dialect_fly import FLY
from runtime.sandbox.dialect_kubernetes import KUBERNETES
from runtime.sandbox.dialect_server import SERVER
from runtime.sandbox.openapi import describe
from runtime.sandbox.page import render_page
from runtime.sandbox.rest import Endpoint, Service
from runtime.sandbox.statement import statement, statement_csv
from runtime.service.probes import PAGES, Probes

OPERATIONS: Final = (*SERVER, *KUBERNETES, *FLY)
SWEEP_SECONDS: Final = 300.0
"""The published server's. In between, what is due reads as before and can still be released."""
_log: Final = logging.getLogger("runtime.sandbox")


def build_app(service: Service, admin_token: str | None = None, dialect: str | None = None) -> Starlette:
    """The application around a service; `/admin` exists only with a token, all three dialects unless one is named."""
    service.registry.register(_Books(service))
    operations = [op for op in OPERATIONS if dialect in (None, op.dialect) or op.name == "health"]
    description = describe(operations)

    def page(_request: Request) -> Response:
        return render_page(service)

    def statement_json(_request: Request) -> Response:
        return JSONResponse(statement(service))

    def statement_as_csv(_request: Request) -> Response:
        return Response(statement_csv(service), media_type="text/csv; charset=utf-8")

    def openapi(_request: Request) -> Response:
        return JSONResponse(description)

    def ready() -> str | None:
        try:
            with service.database.transaction():
                return None
        except sqlite3.Error as error:
            return f"the ledger cannot be written: {error}"

    plain = {
        "/": page,
        "/statement": statement_json,
        "/statement.csv": statement_as_csv,
        "/openapi.json": openapi,
    }
    probes = Probes(ready=ready, registry=service.registry)
    # First, because `GET /escrow/{id}` matches one of their paths, too.
    servers = mcp.servers(service, dialect)
    routes = [Route(path, server, methods=["GET", "POST"]) for path, server in servers.items()]
    routes += [Route(op.path, Endpoint(service, op), methods=[op.method]) for op in operations]
    routes += [Route(path, handler, methods=["GET"]) for path, handler in plain.items()]
    routes += [Route(path, probes, methods=["GET"]) for path in PAGES]
    routes += admin_routes(service, admin_token) if admin_token else []
    app = Starlette(routes=routes, lifespan=_sweeping(service), exception_handlers={404: _not_found, 405: _not_found})
    app.router.redirect_slashes = False
    app.add_middleware(_Dated, clock=service.clock)
    return app


class _Dated:
    """Puts the sandbox's time into `Date`, where clients read the service's clock."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self._clock.now(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            await send(message)

        await self._app(scope, receive, dated)


async def _not_found(_request: Request, _error: Exception) -> Response:
    """Like the published server: valid JSON, which a client that skips the status takes for an answer."""
    return JSONResponse({"error": "not_found"}, 404)


def _sweeping(service: Service) -> Any:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        sweep = asyncio.create_task(_sweep(service))
        yield
        sweep.cancel()
        with suppress(asyncio.CancelledError):
            await sweep

    return lifespan


async def _sweep(service: Service) -> None:
    """Refund what is due, at the start and from time to time."""
    while True:
        try:
            service.escrows.refund_due()
        except sqlite3.Error:
            _log.exception("refunds that are due were not made; trying again")
        await asyncio.sleep(SWEEP_SECONDS)


class _Books(Collector):
    """Reads the gauges from the ledger when they are scraped, so that they cannot lag behind it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[GaugeMetricFamily]:
        states = GaugeMetricFamily("sandbox_escrows", "Escrows by status.", labels=["status"])
        balances = GaugeMetricFamily("sandbox_balance_usdc", "Sum of the accounts of a kind.", labels=["account"])
        with self._service.database.snapshot() as connection:
            for row in connection.execute("SELECT status, count(*) AS number FROM escrows GROUP BY status"):
                states.add_metric([row["status"]], row["number"])
            for row in connection.execute("SELECT kind, sum(balance) AS total FROM accounts GROUP BY kind"):
                balances.add_metric([row["kind"]], row["total"] / MICRO)
        return [states, balances]
