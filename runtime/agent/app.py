"""The agent's HTTP surface: `/inference`, `/quote`, `/earnings`, `/health`, `/ready`."""

import asyncio
import time
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from runtime.agent.billing import Agent, Ask
from runtime.agent.ledger import Ledger
from runtime.agent.metrics import Metrics
from runtime.agent.outbox import Refusal
from runtime.agent.settings import Settings
from runtime.contract import VERSION, LedgerState, Route
from runtime.errors import PurpleFleaError
from runtime.money import ZERO, Usdc, loads
from runtime.payments import Operation, PaymentsClient

MOST_BODY_BYTES: Final = 4 * 1024 * 1024
MOST_KEY_CHARACTERS: Final = 200
_HEALTH_SECONDS: Final = 5.0
"""How long an answer of the payment service's health counts for `/ready`."""
_SILENT_SECONDS: Final = 3.0
"""After which the service counts as one that does not answer: who asks `/ready` waits meanwhile."""


class Inference(BaseModel):
    """What `/inference` takes. `payer_wallet` is needed where the agent creates the escrow, `escrow_id` in `server`."""

    model_config = ConfigDict(strict=True)

    payer_wallet: str | None = Field(default=None, max_length=200)
    escrow_id: str | None = Field(default=None, max_length=200)
    prompt: str = ""


def build_app(settings: Settings, agent: Agent, ledger: Ledger, client: PaymentsClient, metrics: Metrics) -> FastAPI:
    """The application."""
    app = FastAPI(title="Purple Flea agent", version=VERSION, docs_url=None, redoc_url=None)
    schema = {"requestBody": {"content": {"application/json": {"schema": Inference.model_json_schema()}}}}
    readiness = _Readiness(agent, ledger, client)

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse({"error": refusal.code, "message": str(refusal)}, refusal.status, refusal.headers)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def unknown(request: Request, error: Any) -> JSONResponse:
        message = f"there is no {request.method} {request.url.path}"
        return JSONResponse({"error": "not_found", "message": message}, error.status_code, error.headers)

    @app.get(Route.HEALTH)
    async def health() -> dict[str, Any]:
        """Whether this process serves; asks nobody else: a failing check unroutes the Machine."""
        return {"ok": True, "region": settings.region}

    @app.get(Route.READY)
    async def ready() -> JSONResponse:
        """Whether an inference would be taken now."""
        wrong = await readiness.wrong()
        return JSONResponse({"ready": not wrong, "reasons": wrong}, 503 if wrong else 200)

    @app.get(Route.EARNINGS)
    async def earnings() -> dict[str, Any]:
        """What this Machine's ledger has, by region and state, in USDC as decimal text."""
        return _earnings(settings, agent, await ledger.earnings())

    @app.post("/quote", openapi_extra=schema)
    async def quote(request: Request) -> dict[str, Any]:
        """The terms of an escrow that a caller may bring (`server` dialect)."""
        if not agent.brought:
            raise Refusal(404, "not_found", "this agent creates the escrow itself: send payer_wallet to /inference")
        return agent.quote((await _read(request)).prompt)

    @app.post(Route.INFERENCE, openapi_extra=schema)
    async def inference(request: Request) -> JSONResponse:
        """Sell one inference."""
        began, outcome = time.monotonic(), "failed"
        metrics.in_flight.inc()
        try:
            answer = await agent.infer(await _ask(request, agent))
            outcome = answer["status"]
            return JSONResponse(answer)
        except Refusal as refusal:
            outcome = refusal.code
            raise
        finally:
            metrics.in_flight.dec()
            metrics.requests.labels(outcome).inc()
            metrics.seconds.observe(time.monotonic() - began)

    return app


async def _ask(request: Request, agent: Agent) -> Ask:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MOST_KEY_CHARACTERS):
        raise Refusal(400, "invalid_request", f"an Idempotency-Key has 1 to {MOST_KEY_CHARACTERS} characters")
    found = await _read(request)
    payer = (found.payer_wallet or "").strip()
    if not payer and not agent.brought:
        raise Refusal(400, "payer_required", "payer_wallet required")
    return Ask(found.prompt, payer or None, found.escrow_id, key)


async def _read(request: Request) -> Inference:
    """The body, bounded. Raises `Refusal`."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BODY_BYTES:
                raise Refusal(413, "too_large", f"a request has at most {MOST_BODY_BYTES} bytes", Connection="close")
    except ClientDisconnect:
        raise Refusal(400, "invalid_request", "the body broke off") from None
    try:
        document = loads(body)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        return Inference.model_validate(document)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise Refusal(400, "invalid_request", wrong) from None
    except ValueError:
        raise Refusal(400, "invalid_request", "expected a JSON object with payer_wallet and prompt") from None


class _Readiness:
    """Why an inference would not be taken now."""

    def __init__(self, agent: Agent, ledger: Ledger, client: PaymentsClient) -> None:
        self._agent = agent
        self._ledger = ledger
        self._client = client
        self._one_asks = asyncio.Lock()
        self._asked = float("-inf")
        self._unreachable = ""

    async def wrong(self) -> list[str]:
        """In words; empty when all is well."""
        unreachable = await self._silence() if self._client.supports(Operation.HEALTH) else ""
        room = "" if self._ledger.database.has_room() else "the ledger's disk is full"
        stopping = "this Machine is about to stop" if self._agent.stopping else ""
        restored = self._ledger.unconfirmed
        return [text for text in (stopping, room, restored, self._agent.key_problem, unreachable) if text]

    async def _silence(self) -> str:
        """Why the payment service cannot be reached. One caller asks it, and all who wait meanwhile hear the same."""
        async with self._one_asks:
            if time.monotonic() - self._asked > _HEALTH_SECONDS:
                try:
                    async with asyncio.timeout(_SILENT_SECONDS):
                        await self._client.health()
                    self._unreachable = ""
                except TimeoutError:
                    self._unreachable = f"the payment service does not answer within {_SILENT_SECONDS:.0f} s"
                except PurpleFleaError as error:
                    self._unreachable = f"the payment service does not answer: {error.message}"
                self._asked = time.monotonic()  # only now: what is not known yet is not told as well
            return self._unreachable


def _earnings(settings: Settings, agent: Agent, rows: list[Any]) -> dict[str, Any]:
    regions: dict[str, dict[str, Any]] = {}
    earned = ZERO
    for row in rows:
        amount = Usdc(row["amount_micro"])
        told = {"escrows": row["escrows"], "amount_usdc": str(amount)}
        regions.setdefault(row["region"], {})[row["state"]] = told
        if row["state"] == LedgerState.RELEASED:
            earned += amount
    billing = settings.billing
    return {
        "wallet": billing.wallet,
        "region": settings.region,
        "machine": settings.machine,
        "earned_usdc": str(earned),
        "regions": regions,
        "fee_rate": billing.fee_rate,
        "referral_rate": billing.referral_rate,
        "who_pays": "the caller, who brings the escrow"
        if agent.brought
        else "the owner of this agent's key: payer_wallet is only recorded",
    }
