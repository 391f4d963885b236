"""What every operation of every dialect shares: reading the request, who asks, limits, faults, the answer."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from runtime.errors import AmountError
from runtime.money import Usdc, loads
from runtime.sandbox.agents import Agents
from runtime.sandbox.clock import Clock
from runtime.sandbox.database import Database
from runtime.sandbox.escrows import Escrows
from runtime.sandbox.faults import Fault, Faults, Kind, Moment
from runtime.sandbox.ledger import Ledger
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.wire import came_whole, send_faulty

_BODY_BYTES: Final = 64 * 1024
_MINUTE_SECONDS: Final = 60
_log: Final = logging.getLogger("runtime.sandbox")


@dataclass
class Service:
    """Everything behind the HTTP surface.

    Args:
        rate_limits: Whether the published limits per path, address and minute hold.
        claim_per_ip: Whether the `server` dialect grants one faucet claim an address and day.
        float_balances: Whether the `server` dialect decides a create by the balance as binary floats add it up.
    """

    database: Database
    rate_limits: bool = True
    claim_per_ip: bool = True
    float_balances: bool = True
    faults: Faults = field(default_factory=Faults)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.clock = Clock(self.database)
        self.ledger = Ledger(self.database, self.clock)
        self.agents = Agents(self.database, self.clock, self.ledger)
        self.escrows = Escrows(self.database, self.clock, self.ledger, self.agents)
        counter = partial(Counter, registry=self.registry)
        self.requests = counter("sandbox_requests", "Answered calls.", ["dialect", "operation", "status"])
        self.faulty = counter("sandbox_faults", "Injected faults.", ["operation", "kind"])
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def deposit(self, agent_id: str, micros: int) -> None:
        """Money from outside into the wallet of an agent, who is made if needed."""
        with self.database.transaction():
            self.agents.ensure(agent_id)
            self.ledger.deposit(agent_id, micros)

    def count_against_limit(self, path: str, ip: str, per_minute: int) -> None:
        """Refuse with 429 beyond the limit. The published server sends no Retry-After, so neither is one here."""
        now = float(self.clock.now())
        if len(self._windows) > 10_000:  # ids are part of the paths: forget the windows that have run out
            self._windows = {k: w for k, w in self._windows.items() if now - w[0] <= _MINUTE_SECONDS}
        start, count = self._windows.get((path, ip), (now, 0))
        if now - start > _MINUTE_SECONDS:
            start, count = now, 0
        self._windows[path, ip] = (start, count + 1)
        if count >= per_minute:
            raise RefusedError(429, "rate_limited", f"Too many requests. Limit: {per_minute} per {_MINUTE_SECONDS}s")


@dataclass(frozen=True)
class Call:
    """One request, read: who asks (None without a valid key), from where, and what."""

    caller_id: str | None
    ip: str
    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]
    fail_after_credit: bool = False
    judged_status: str | None = None
    """The status that a late dispute is judged by: the escrow's when its head came."""

    @property
    def caller(self) -> str:
        """The agent whose key it is; operations that need one are not reached without it."""
        assert self.caller_id is not None  # noqa: S101 - `Endpoint` refused the call before
        return self.caller_id

    def text(self, name: str, code: str, *, least: int = 1, most: int = 200, default: str | None = None) -> str:
        """A text of the body, stripped; refused with `code` when it is missing, too short or too long."""
        value = self.body.get(name, default)
        if not isinstance(value, str) or not least <= len(value.strip()) <= most or not is_plain(value):
            raise RefusedError(400, code, f"{name} is required ({least} to {most} characters)")
        return value.strip()

    def amount(self, name: str, minimum: Usdc) -> int:
        """An amount of the body in micro-USDC, as number or text."""
        try:
            amount = Usdc.parse(self.body.get(name))
        except AmountError as error:
            raise RefusedError(400, "invalid_amount", str(error)) from None
        if amount < minimum:
            raise RefusedError(400, "invalid_amount", f"Minimum escrow amount is ${minimum}")
        return amount.micro

    def optional_text(self, name: str) -> str | None:
        """A text of the body that may be missing or null."""
        return None if self.body.get(name) is None else self.text(name, "invalid_request", least=0)

    def count(self, name: str, default: int) -> int:
        """A whole number of the query."""
        value = self.query.get(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise RefusedError(400, "invalid_request", f"{name} is a whole number below a billion")
        return int(value)


@dataclass(frozen=True)
class RestOperation:
    """One row of a dialect's table; the API description is made from it too.

    Args:
        request: JSON schemas of the body's fields by name; `required` names those that must be there.
        refusals: Statuses that it can answer besides `success`.
    """

    name: str
    dialect: str
    method: str
    path: str
    run: Callable[[Service, Call], dict[str, Any]]
    success: int = 200
    needs_key: bool = True
    per_minute: int | None = None
    request: dict[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    answer: dict[str, str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()


class Endpoint:
    """The ASGI application of one operation."""

    def __init__(self, service: Service, operation: RestOperation) -> None:
        self._service = service
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or break the answer as a fault says."""
        service, operation = self._service, self._operation
        fault = None
        if operation.dialect != "admin":  # a rule for `*` must not keep anyone from clearing it
            fault = service.faults.pick(operation.name, operation.dialect, service.clock.now())
        if fault is None:
            return await (await self._answer(Request(scope, receive)))(scope, receive, send)
        service.faulty.labels(operation.name, fault.kind).inc()
        before = fault.moment is Moment.BEFORE
        if fault.kind is Kind.DELAY and before:
            await asyncio.sleep(fault.seconds)
        answer = None
        if fault.kind is Kind.DELAY or not before:
            answer = await self._answer(Request(scope, receive), fault)
        if fault.kind is Kind.DELAY and not before and not _is_late_dispute(fault):
            await asyncio.sleep(fault.seconds)
        if answer is not None and (
            fault.kind is Kind.DELAY or (fault.kind is Kind.STATUS and fault.moment is Moment.BETWEEN)
        ):
            return await answer(scope, receive, send)
        return await send_faulty(fault, answer, scope, receive, send)

    def admit(self, authorization: str | None) -> str | None:
        """Who asks; refused with 401 where a key is needed and none is valid."""
        caller_id = self._service.agents.authenticate(authorization)
        if self._operation.needs_key and caller_id is None:
            raise RefusedError(401, "unauthorized", "A valid Authorization: Bearer <key> is required")
        return caller_id

    async def _answer(self, request: Request, fault: Fault | None = None) -> Response:
        service, operation = self._service, self._operation
        try:
            document, status = await self.run(request, fault), operation.success
        except RefusedError as refusal:
            document, status = refusal.body(), refusal.status
        except sqlite3.Error:
            _log.exception("the ledger failed in %s; the transaction was rolled back", operation.name)
            document, status = {"error": "internal_error"}, 500
        service.requests.labels(operation.dialect, operation.name, status).inc()
        return self.render(document, status)

    def render(self, document: dict[str, Any], status: int) -> Response:
        """The document on the wire."""
        return JSONResponse(document, status)

    async def run(self, request: Request, fault: Fault | None = None) -> dict[str, Any]:
        """Read the request, do the operation; raises RefusedError for every answer that is no success."""
        service, operation = self._service, self._operation
        ip = request.client.host if request.client else "unknown"
        if operation.per_minute is not None and service.rate_limits:
            service.count_against_limit(request.url.path, ip, operation.per_minute)
        judged_status = None
        if fault and _is_late_dispute(fault):  # before the body is awaited: what comes meanwhile is not seen
            judged_status = service.escrows.status_of(request.path_params.get("id", ""))
            await asyncio.sleep(fault.seconds)
        body = await read_object(request, null_fails=operation.dialect == "server" and bool(operation.request))
        caller_id = self.admit(request.headers.get("authorization"))
        call = Call(
            caller_id, ip, dict(request.path_params), dict(request.query_params), body,
            fail_after_credit=fault is not None and fault.moment is Moment.BETWEEN, judged_status=judged_status,
        )  # fmt: skip
        return operation.run(service, call)


def _is_late_dispute(fault: Fault) -> bool:
    return fault.operation == "dispute" and fault.moment is Moment.BETWEEN


async def read_object(request: Request, *, null_fails: bool = False) -> dict[str, Any]:
    """The JSON object of the body; anything else counts as `{}`.

    So it is on the published server, which however answers 500 to `null` where it looks for fields (`null_fails`).
    """
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > _BODY_BYTES:
                raise RefusedError(413, "invalid_request", f"A body has at most {_BODY_BYTES} bytes")
        document = loads(bytes(content))
    except ClientDisconnect:
        if not came_whole(request.scope):  # nothing is done about half a request
            raise RefusedError(400, "invalid_request", "The body broke off") from None
        return {}  # whoever gives up waiting for the answer is still served
    except ValueError:
        return {}
    if document is None and null_fails:
        raise RefusedError(500, "internal_error")
    return document if isinstance(document, dict) else {}


def is_plain(text: str) -> bool:
    """No control characters, and no half of a surrogate pair, which JSON can spell and no UTF-8 file can hold."""
    return all(character.isprintable() or character in "\n\t" for character in text)
