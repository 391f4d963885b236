"""`python -m runtime.agent.sidecar`: the escrow app of three layers, which holds the key for agents that have none.

Agents of the same organisation reach it over `.internal`, each with a token of its own, in the `fly` dialect: so any
agent that speaks it works, the guide's own too. Nothing here is for the public.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect

from runtime.agent.callers import Callers, CallersLedger, Order, Rules, Sidecar
from runtime.agent.database import LedgerFull
from runtime.agent.metrics import LedgerFigures
from runtime.agent.outbox import Refusal
from runtime.agent.settings import PaymentSettings, ServerSettings
from runtime.contract import FlyEnv, Route
from runtime.environment import amount, group, secret
from runtime.errors import BadInput
from runtime.money import AmountError, Usdc, loads
from runtime.payments import DialectName
from runtime.service import Program, Start
from runtime.service.http import BoundedProtocol, Bounds, HttpServer
from runtime.service.probes import Probes
from runtime.service.sockets import EVERY_ADDRESS, listen
from runtime.settlement.table import Intent

_MOST_BODY_BYTES: Final = 64 * 1024
_MOST_TEXT: Final = 200
_NOISE: Final = Decimal("1e-9")
_GRACEFUL_SECONDS: Final = 45


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings):
    """All that it reads."""

    payments: PaymentSettings = group(PaymentSettings)
    callers: str = secret(FlyEnv.CALLERS, "The apps that may ask, `name:token` each, with blanks between")
    most: Usdc = amount(FlyEnv.CALLER_MOST, "The most that one escrow may hold", default=Usdc.parse(10))
    most_open: Usdc = amount(
        FlyEnv.CALLER_MOST_OPEN, "The most that one caller may have open at a time", default=Usdc.parse(100)
    )

    def __post_init__(self) -> None:
        if self.payments.dialect is not DialectName.FLY:
            raise BadInput("PF_API_DIALECT: the escrow app speaks fly on both sides")
        Callers(self.callers)


async def run(start: Start[Settings]) -> None:
    """Serve until asked to stop; what is left then is finished by the next start."""
    settings = start.settings
    sockets = listen(EVERY_ADDRESS, settings.port)
    async with _opened(settings) as sidecar:
        app = build_app(sidecar, Callers(settings.callers), settings.payments.concurrency)
        protocol = type("SidecarProtocol", (BoundedProtocol,), {"bounds": Bounds(drain_seconds=_GRACEFUL_SECONDS)})
        await HttpServer(app, sockets, start.stop, protocol).run_until_stopped()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Sidecar]:
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        ledger = CallersLedger(settings.data, settings.app, settings.payments.wallet)
        stack.callback(ledger.close)
        ledger.rules = Rules(settings.payments.wallet, settings.most, settings.most_open)
        client = await stack.enter_async_context(settings.payments.client())
        sidecar = Sidecar(settings.payments, settings.machine, 1, ledger, client)
        registry.register(LedgerFigures(settings.data))
        await stack.enter_async_context(Probes(registry=registry).serving([settings.metrics_port]))
        await sidecar.recover()
        stack.push_async_callback(sidecar.drain)
        yield sidecar


def build_app(sidecar: Sidecar, callers: Callers, concurrency: int) -> FastAPI:
    """The application: the `fly` dialect's three calls, and whether it serves."""
    app = FastAPI(title="Purple Flea escrow app", docs_url=None, redoc_url=None, openapi_url=None)
    turns = asyncio.Semaphore(concurrency)

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse({"error": refusal.code, "message": str(refusal)}, refusal.status, refusal.headers)

    @app.exception_handler(LedgerFull)
    async def full(_: Request, __: LedgerFull) -> JSONResponse:
        told = {"error": "ledger_full", "message": "the ledger's disk is full; nothing was charged"}
        return JSONResponse(told, 429, {"Retry-After": "30"})

    @app.get(Route.HEALTH)
    async def health() -> dict[str, Any]:
        """Whether it serves; asks nobody else, for a failing check would take it from every agent."""
        return {"ok": True}

    @app.post("/api/escrow/create")
    async def create(request: Request) -> dict[str, Any]:
        caller = callers.of(request.headers.get("authorization"))
        order = _order(await _read(request))
        async with turns:
            made = await sidecar.create(caller, order)
        told = {"escrow_id": made.escrow_id, "status": "pending", "amount_usdc": made.amount.to_json_number()}
        return told | {"payer_wallet": made.payer, "payee_wallet": made.payee}

    @app.post("/api/escrow/release")
    async def release(request: Request) -> dict[str, Any]:
        return await _end(request, Intent.RELEASE, "released")

    @app.post("/api/escrow/cancel")
    async def cancel(request: Request) -> dict[str, Any]:
        return await _end(request, Intent.CANCEL, "cancelled")

    async def _end(request: Request, intent: Intent, status: str) -> dict[str, Any]:
        caller = callers.of(request.headers.get("authorization"))
        escrow_id = _text(await _read(request), "escrow_id")
        async with turns:
            ended = await sidecar.end(caller, escrow_id, intent)
        told: dict[str, Any] = {"escrow_id": escrow_id, "status": status, "payee_wallet": ended.payee}
        if intent is Intent.RELEASE and ended.paid_micro is not None:  # unknown is not zero
            told["amount_released"] = Usdc(ended.paid_micro).to_json_number()
        return told

    return app


async def _read(request: Request) -> dict[str, Any]:
    """The body, bounded. Raises `Refusal`."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BODY_BYTES:
                raise Refusal(413, "too_large", f"a request has at most {_MOST_BODY_BYTES} bytes", Connection="close")
        document = loads(body)
    except ClientDisconnect:
        raise Refusal(400, "invalid_request", "the body broke off") from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refusal(400, "invalid_request", "expected a JSON object")
    return document


def _text(body: dict[str, Any], name: str) -> str:
    found = body.get(name)
    if not isinstance(found, str) or not 0 < len(found.strip()) <= _MOST_TEXT:
        raise Refusal(400, "invalid_request", f"{name} is a text of 1 to {_MOST_TEXT} characters")
    return found.strip()


def _order(body: dict[str, Any]) -> Order:
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise Refusal(400, "invalid_request", "metadata is an object")
    try:
        wanted = Usdc.parse(_without_noise(body.get("amount_usdc")))
    except AmountError as error:
        raise Refusal(400, "invalid_amount", str(error)) from None
    region, token = (_text(metadata, name) if name in metadata else None for name in ("fly_region", "token"))
    return Order(_text(body, "payer_wallet"), _text(body, "payee_wallet"), wanted, region or "", token)


def _without_noise(value: object) -> object:
    """What was meant by the last digits of a double: the guide's agents send 0.0010400000000000001 for 0.00104."""
    if not isinstance(value, Decimal):
        return value
    try:
        near = value.quantize(Decimal("0.000001"))
        return near if abs(near - value) < _NOISE else value
    except InvalidOperation:  # too long for an amount, or no number: told where it is parsed
        return value


PROGRAM = Program(
    "python -m runtime.agent.sidecar",
    "Holds the key, the rules and the outbox for Fly.io agents that have no key.",
    Settings,
    run,
    stop_seconds=299.0,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
