"""The contract: what goes over the wire in each dialect, from the guides, the published server's code and its docs.

One table, two uses: it drives the client against a scripted server, and it is replayed against the sandbox. So neither
can drift away from the facts together with the other.

How to read a line: in the state `given`, `actor` sends `method path body` and gets one of `statuses` with at least
the fields of `answer`. In paths and bodies `{escrow_id}`, `{payer}`, `{payee}`, `{token}`, `{agent}` stand for the
values of the run. In answers a `Kind` stands for any value of that kind; numbers are compared as numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from runtime.errors import Conflict, NotFound, OutcomeUnknown, RateLimited, Rejected, Unauthorized, Unsupported
from runtime.payments.dialect import Service
from runtime.payments.model import DialectName, Operation


class Given(StrEnum):
    """What must be true before. Escrows are of 0.10 USDC from the payer for the payee, described by `{token}`."""

    NOTHING = "nothing"
    """Payer and payee exist, the payer holds 5.00 USDC; the faucet knows no `{agent}`; there is no `{escrow_id}`."""
    LOCKED = "locked"
    COMPLETED = "completed"
    RELEASED = "released"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    REGISTERED = "registered"
    """The agent is registered and has claimed nothing."""
    CLAIMED = "claimed"
    """The agent has claimed, from another address."""
    CLAIMED_HERE = "claimed-here"
    """Another agent has claimed from the same address today."""
    FAULT = "fault"
    """Something inside the service has gone wrong; the sandbox needs a fault rule or its rate limits for it."""


class Actor(StrEnum):
    """Whose key is sent."""

    PAYER = "payer"
    PAYEE = "payee"
    STRANGER = "stranger"
    """A key that the service has never issued."""
    NOBODY = "nobody"
    """No key at all."""
    AGENT = "agent"
    """The agent at the faucet."""


class Kind(StrEnum):
    """A value that cannot be known before."""

    TEXT = "a text"
    NUMBER = "a number"
    ISO_TIME = "a time as 2026-11-21T23:00:00.000Z"
    EPOCH = "seconds since 1970"
    LIST = "a list"
    BOOL = "true or false"


_EXAMPLES: Mapping[Kind, Any] = {
    Kind.TEXT: "some text",
    Kind.NUMBER: 1,
    Kind.ISO_TIME: "2026-11-21T23:00:00.000Z",
    Kind.EPOCH: 1795302000,
    Kind.LIST: [],
    Kind.BOOL: True,
}


@dataclass(frozen=True)
class Exchange:
    """One line of the contract.

    `error` is what the client makes of it, None for success. `by_client` is False where the client cannot be brought to
    send that request; `sse` where the answer is one server-sent event.
    """

    dialect: DialectName
    operation: Operation
    given: Given
    actor: Actor
    method: str
    path: str
    statuses: tuple[int, ...]
    answer: Mapping[str, Any]
    body: Mapping[str, Any] | None = None
    error: type[Exception] | None = None
    service: Service = Service.ESCROW
    headers: Mapping[str, str] = field(default_factory=dict)
    by_client: bool = True
    sse: bool = False
    note: str = ""

    def __str__(self) -> str:
        words = (self.dialect, self.operation, self.given, self.actor, str(self.statuses[0]), self.note)
        return "-".join(word for word in words if word)


def fill(pattern: Any, values: Mapping[str, str]) -> Any:
    """Put the run's values, and an example for each `Kind`, into a pattern."""
    if isinstance(pattern, Kind):
        return _EXAMPLES[pattern]
    if isinstance(pattern, str):
        for name, value in values.items():
            pattern = pattern.replace("{" + name + "}", value)
        return pattern
    if isinstance(pattern, Mapping):
        return {name: fill(value, values) for name, value in pattern.items()}
    return [fill(value, values) for value in pattern] if isinstance(pattern, list) else pattern


def mismatch(pattern: Any, actual: Any, values: Mapping[str, str], at: str = "answer") -> str | None:
    """Say where an answer is not what the pattern says; None when it is. Fields beyond the pattern are allowed."""
    if isinstance(pattern, Kind):
        return None if _is_kind(pattern, actual) else f"{at} is {actual!r}, not {pattern}"
    if isinstance(pattern, Mapping):
        if not isinstance(actual, Mapping):
            return f"{at} is {actual!r}, not an object"
        parts = (mismatch(p, actual.get(name), values, f"{at}.{name}") for name, p in pattern.items())
        return next((part for part in parts if part), None)
    if isinstance(pattern, list):
        if not isinstance(actual, list) or len(actual) != len(pattern):
            return f"{at} is {actual!r}, not a list of {len(pattern)}"
        parts = (mismatch(p, a, values, f"{at}[{n}]") for n, (p, a) in enumerate(zip(pattern, actual, strict=True)))
        return next((part for part in parts if part), None)
    wanted = fill(pattern, values)
    if isinstance(wanted, int | float | Decimal) and not isinstance(wanted, bool):
        same = isinstance(actual, int | float | Decimal) and Decimal(str(actual)) == Decimal(str(wanted))
    else:
        same = actual == wanted
    return None if same else f"{at} is {actual!r}, not {wanted!r}"


def _is_kind(kind: Kind, value: Any) -> bool:
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    match kind:
        case Kind.TEXT:
            return isinstance(value, str) and bool(value)
        case Kind.NUMBER:
            return number
        case Kind.EPOCH:
            return number and 1_500_000_000 < value < 5_000_000_000
        case Kind.ISO_TIME:
            return isinstance(value, str) and value.endswith("Z") and bool(datetime.fromisoformat(value))
        case Kind.LIST:
            return isinstance(value, list)
        case Kind.BOOL:
            return isinstance(value, bool)


def _error(code: str) -> Mapping[str, Any]:
    return {"error": code}


def _line(dialect: DialectName, *defaults: Any, **more: Any) -> Exchange:
    operation, given, actor, request, statuses, answer = defaults
    method, path = request.split(" ")
    statuses = (statuses,) if isinstance(statuses, int) else statuses
    return Exchange(dialect, operation, given, actor, method, path, statuses, answer, **more)


def _kubernetes() -> list[Exchange]:
    def line(*columns: Any, **more: Any) -> Exchange:
        return _line(DialectName.KUBERNETES, *columns, **more)

    order = {"payee_id": "{payee}", "amount": 0.1, "terms_hash": "{token}"}
    create, release, dispute = (
        "POST /api/escrow",
        "POST /api/escrow/{escrow_id}/release",
        "POST /api/escrow/{escrow_id}/dispute",
    )
    reason = {"body": {"reason": "K8s Job j failed after all retries"}}
    faucet: dict[str, Any] = {"service": Service.FAUCET, "body": {"agent_id": "{agent}"}}
    rich = order | {"amount": 1000}
    released = {"amount_released": 0.099, "payee_id": "{payee}"}
    listed = {"escrows": [{"escrow_id": "{escrow_id}", "created_at": Kind.EPOCH, "terms_hash": "{token}"}]}
    op, g, a = Operation, Given, Actor
    return [
        line(op.CREATE, g.NOTHING, a.PAYER, create, (200, 201), {"escrow_id": Kind.TEXT}, body=order),
        line(op.CREATE, g.NOTHING, a.STRANGER, create, 401, _error("unauthorized"), body=order, error=Unauthorized),
        line(op.CREATE, g.NOTHING, a.PAYER, create, 402, _error("insufficient_balance"), body=rich, error=Rejected),
        line(op.RELEASE, g.LOCKED, a.PAYER, release, 200, released),
        line(op.RELEASE, g.RELEASED, a.PAYER, release, 409, _error("invalid_status"), error=Conflict),
        line(op.RELEASE, g.DISPUTED, a.PAYER, release, 409, _error("invalid_status"), error=Conflict),
        line(op.RELEASE, g.LOCKED, a.PAYEE, release, 403, _error("forbidden"), error=Rejected),
        line(op.RELEASE, g.LOCKED, a.STRANGER, release, 401, _error("unauthorized"), error=Unauthorized),
        line(op.RELEASE, g.NOTHING, a.PAYER, release, 404, _error("not_found"), error=NotFound),
        line(op.DISPUTE, g.LOCKED, a.PAYER, dispute, 200, {"escrow_id": "{escrow_id}", "status": "disputed"}, **reason),
        line(op.DISPUTE, g.RELEASED, a.PAYER, dispute, 409, _error("invalid_status"), error=Conflict, **reason),
        line(op.DISPUTE, g.NOTHING, a.PAYER, dispute, 404, _error("not_found"), error=NotFound, **reason),
        line(op.LIST, g.LOCKED, a.PAYER, "GET /api/escrows?status=pending", 200, listed),
        line(op.LIST, g.RELEASED, a.PAYER, "GET /api/escrows?status=released", 200, listed),
        line(op.LIST, g.DISPUTED, a.PAYER, "GET /api/escrows?status=disputed", 200, listed),
        line(op.LIST, g.NOTHING, a.PAYER, "GET /api/escrows?status=pending", 200, {"escrows": []}),
        line(op.REGISTER, g.NOTHING, a.AGENT, "POST /api/register", (200, 201), {}, **faucet),
        line(op.REGISTER, g.REGISTERED, a.AGENT, "POST /api/register", 200, {}, **faucet),
        line(op.CLAIM, g.REGISTERED, a.AGENT, "POST /api/claim", 200, {}, **faucet),
        line(op.CLAIM, g.CLAIMED, a.AGENT, "POST /api/claim", 409, {"error": Kind.TEXT}, error=Conflict, **faucet),
    ]


def _fly() -> list[Exchange]:
    def line(*columns: Any, **more: Any) -> Exchange:
        return _line(DialectName.FLY, *columns, **more)

    order = {
        "payer_wallet": "{payer}",
        "payee_wallet": "{payee}",
        "amount_usdc": 0.1,
        "description": "Inference (lhr) [{token}]",
        "metadata": {"fly_region": "lhr", "token": "{token}"},
    }
    release = {"body": {"escrow_id": "{escrow_id}", "auto_release": True}}
    cancel = {"body": {"escrow_id": "{escrow_id}"}}
    tool = {"name": "claim_faucet", "arguments": {"wallet_address": "{agent}", "agent_name": "my-fly-agent"}}
    mcp: dict[str, Any] = {
        "service": Service.FAUCET,
        "headers": {"accept": "application/json, text/event-stream"},
        "body": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool},
        "sse": True,
    }
    granted = {"result": {"content": [{"type": "text", "text": Kind.TEXT}]}}
    refused = {"result": {"isError": True, "content": [{"type": "text", "text": Kind.TEXT}]}}
    op, g, a = Operation, Given, Actor
    at = "POST /api/escrow/"
    return [
        line(op.CREATE, g.NOTHING, a.PAYER, at + "create", (200, 201), {"escrow_id": Kind.TEXT}, body=order),
        line(
            op.CREATE, g.NOTHING, a.STRANGER, at + "create", 401, _error("unauthorized"), body=order, error=Unauthorized
        ),
        line(
            op.RELEASE,
            g.LOCKED,
            a.PAYER,
            at + "release",
            200,
            {"escrow_id": "{escrow_id}", "status": "released"},
            **release,
        ),
        line(op.RELEASE, g.RELEASED, a.PAYER, at + "release", 409, _error("invalid_status"), error=Conflict, **release),
        line(op.RELEASE, g.NOTHING, a.PAYER, at + "release", 404, _error("not_found"), error=NotFound, **release),
        line(
            op.CANCEL,
            g.LOCKED,
            a.PAYER,
            at + "cancel",
            200,
            {"escrow_id": "{escrow_id}", "status": "cancelled"},
            **cancel,
        ),
        line(op.CANCEL, g.RELEASED, a.PAYER, at + "cancel", 409, _error("invalid_status"), error=Conflict, **cancel),
        line(op.CANCEL, g.NOTHING, a.PAYER, at + "cancel", 404, _error("not_found"), error=NotFound, **cancel),
        line(op.HEALTH, g.NOTHING, a.NOBODY, "GET /health", 200, {}),
        line(op.CLAIM, g.NOTHING, a.NOBODY, "POST /mcp", 200, granted, **mcp),
        line(op.CLAIM, g.CLAIMED, a.NOBODY, "POST /mcp", 200, refused, note="refused", **mcp),
    ]


def _server() -> list[Exchange]:
    op, g, a = Operation, Given, Actor
    return [*_server_escrow(op, g, a), *_server_acts(op, g, a), *_server_faucet(op, g, a)]


def _server_line(*columns: Any, **more: Any) -> Exchange:
    return _line(DialectName.SERVER, *columns, **more)


_ORDER = {
    "amount_usd": 0.1,
    "description": "Scrape 1000 product URLs [{token}]",
    "counterparty_agent_id": "{payee}",
}
_TOLD = {
    "escrow_id": Kind.TEXT,
    "amount_usd": 0.1,
    "commission_usd": 0.001,
    "net_to_counterparty": 0.099,
    "description": Kind.TEXT,
    "creator_id": "{payer}",
    "counterparty_id": "{payee}",
    "timeout_hours": 24,
    "auto_release_at": Kind.ISO_TIME,
}


_LEDGER = {
    "entries": [
        {
            "type": "debit",
            "amount": 0.1,
            "reference": "{escrow_id}",
            "service": "escrow",
            "createdAt": Kind.EPOCH,
            "at": Kind.ISO_TIME,
        },
        {"type": "credit", "amount": 5, "at": Kind.ISO_TIME},
    ]
}
"""The account was made with a deposit, and then paid into the escrow."""


def _server_escrow(op: type[Operation], g: type[Given], a: type[Actor]) -> list[Exchange]:
    line, create = _server_line, "POST /escrow/create"

    def refused(status: int, code: str, error: type[Exception], actor: Actor = a.PAYER, **body: Any) -> Exchange:
        by_client = body.get("description") != "ab" and body.get("counterparty_agent_id") != ""
        return line(
            op.CREATE, g.NOTHING, actor, create, status, _error(code),
            body=_ORDER | body, error=error, by_client=by_client, note=code,
        )  # fmt: skip

    def read(given: Given, status: str, actor: Actor = a.PAYER, **more: Any) -> Exchange:
        told = _TOLD | {"escrow_id": "{escrow_id}", "status": status, "created_at": Kind.ISO_TIME} | more
        return line(op.READ, given, actor, "GET /escrow/{escrow_id}", 200, told, by_client=actor is a.PAYER)

    longer = _ORDER | {"timeout_hours": 48, "referral_code": "ref-1"}
    listing = "GET /escrow/list?status=locked&limit=100&offset=0"
    stats = {
        f"total_{what}": Kind.NUMBER for what in ("created", "released", "disputed", "volume_usd", "commission_usd")
    }
    return [
        line(op.CREATE, g.NOTHING, a.PAYER, create, 201, _TOLD | {"status": "funded"}, body=_ORDER),
        line(op.CREATE, g.NOTHING, a.PAYER, create, 201, _TOLD | {"timeout_hours": 48}, body=longer, note="longer"),
        refused(400, "invalid_amount", Rejected, amount_usd=0.05),
        refused(400, "invalid_description", Rejected, description="ab"),
        refused(400, "invalid_counterparty", Rejected, counterparty_agent_id=""),
        refused(400, "self_escrow", Rejected, counterparty_agent_id="{payer}"),
        refused(401, "unauthorized", Unauthorized, a.STRANGER),
        refused(402, "insufficient_balance", Rejected, amount_usd=1000),
        refused(404, "counterparty_not_found", NotFound, counterparty_agent_id="ag_who_is_that"),
        line(op.CREATE, g.FAULT, a.PAYER, create, 429, _error("rate_limited"), body=_ORDER, error=RateLimited),
        line(op.CREATE, g.FAULT, a.PAYER, create, 500, _error("internal_error"), body=_ORDER, error=OutcomeUnknown),
        line(
            op.CREATE, g.FAULT, a.PAYER, create, 500, _error("debit_failed"),
            body=_ORDER, error=OutcomeUnknown, note="debit",
        ),
        line(
            op.LEDGER, g.LOCKED, a.PAYER, "GET /api/v1/auth/ledger", 200, _LEDGER,
            service=Service.CASINO,
        ),
        line(
            op.LEDGER, g.LOCKED, a.STRANGER, "GET /api/v1/auth/ledger", 401, _error("unauthorized"),
            service=Service.CASINO, error=Unauthorized,
        ),
        read(g.LOCKED, "funded", events=Kind.LIST),
        read(g.LOCKED, "funded", a.NOBODY),
        read(g.COMPLETED, "completed", completed_at=Kind.ISO_TIME),
        read(g.RELEASED, "released", released_at=Kind.ISO_TIME),
        read(g.DISPUTED, "disputed", disputed_at=Kind.ISO_TIME),
        read(g.REFUNDED, "refunded"),
        line(op.READ, g.NOTHING, a.PAYER, "GET /escrow/{escrow_id}", 404, _error("not_found"), error=NotFound),
        # The docs name a list, the published code has none: `list` is taken for an escrow's id.
        line(op.LIST, g.LOCKED, a.PAYER, listing, 404, _error("not_found"), error=Unsupported),
        line(op.STATS, g.NOTHING, a.NOBODY, "GET /escrow/stats", 200, stats),
        line(op.HEALTH, g.NOTHING, a.NOBODY, "GET /health", 200, {"status": "ok"}),
    ]  # fmt: skip


def _server_acts(op: type[Operation], g: type[Given], a: type[Actor]) -> list[Exchange]:
    def act(
        operation: Operation, given: Given, actor: Actor, outcome: str | tuple[int, str], error: Any = None
    ) -> Exchange:
        if isinstance(outcome, str):
            status, answer = 200, {"escrow_id": "{escrow_id}", "status": outcome}
        else:
            status, answer = outcome[0], _error(outcome[1])
        if outcome == "released":
            answer |= {
                "amount_released": 0.099,
                "commission": 0.001,
                "referral_commission": 0,
                "counterparty_id": "{payee}",
            }
        body = {"reason": "K8s Job j failed after all retries"} if operation is op.DISPUTE else None
        path = f"POST /escrow/{operation}/{{escrow_id}}"
        return _server_line(operation, given, actor, path, status, answer, body=body, error=error)

    wrong_state = (409, "invalid_status")
    refused = [
        act(operation, g.NOTHING, actor, (404, "not_found"), NotFound)
        for operation, actor in ((op.COMPLETE, a.PAYEE), (op.RELEASE, a.PAYER), (op.DISPUTE, a.PAYER))
    ] + [
        act(operation, g.LOCKED, a.STRANGER, (401, "unauthorized"), Unauthorized)
        for operation in (op.COMPLETE, op.RELEASE, op.DISPUTE)
    ]
    return [
        act(op.COMPLETE, g.LOCKED, a.PAYEE, "completed"),
        act(op.COMPLETE, g.LOCKED, a.PAYER, (403, "forbidden"), Rejected),
        act(op.COMPLETE, g.COMPLETED, a.PAYEE, wrong_state, Conflict),
        act(op.COMPLETE, g.RELEASED, a.PAYEE, wrong_state, Conflict),
        act(op.RELEASE, g.LOCKED, a.PAYER, "released"),
        act(op.RELEASE, g.COMPLETED, a.PAYER, "released"),
        act(op.RELEASE, g.LOCKED, a.PAYEE, (403, "forbidden"), Rejected),
        act(op.RELEASE, g.RELEASED, a.PAYER, wrong_state, Conflict),
        act(op.RELEASE, g.DISPUTED, a.PAYER, wrong_state, Conflict),
        act(op.RELEASE, g.REFUNDED, a.PAYER, wrong_state, Conflict),
        act(op.RELEASE, g.FAULT, a.PAYER, (500, "release_failed"), OutcomeUnknown),
        act(op.RELEASE, g.FAULT, a.PAYER, (429, "rate_limited"), RateLimited),
        act(op.DISPUTE, g.LOCKED, a.PAYER, "disputed"),
        act(op.DISPUTE, g.COMPLETED, a.PAYEE, "disputed"),
        act(op.DISPUTE, g.RELEASED, a.PAYER, wrong_state, Conflict),
        act(op.DISPUTE, g.DISPUTED, a.PAYER, wrong_state, Conflict),
        *refused,
    ]


def _server_faucet(op: type[Operation], g: type[Given], a: type[Actor]) -> list[Exchange]:
    def claim(
        given: Given, status: int, answer: Mapping[str, Any], agent: str = "{agent}", error: Any = None, **more: Any
    ):
        return _server_line(
            op.CLAIM, given, a.NOBODY, "POST /faucet/claim", status, answer,
            body={"agent_casino_id": agent}, error=error, service=Service.FAUCET, **more,
        )  # fmt: skip

    granted = {"credited": 1, "claim_id": Kind.TEXT, "agent_id": "{agent}", "referral_tracked": Kind.BOOL}
    return [
        claim(g.REGISTERED, 200, granted),
        claim(g.CLAIMED, 409, _error("already_claimed"), error=Conflict),
        claim(g.CLAIMED_HERE, 429, _error("ip_rate_limited"), error=RateLimited),
        claim(g.NOTHING, 400, _error("invalid_request"), agent="", error=Rejected, by_client=False),
        claim(g.NOTHING, 404, _error("agent_not_found"), agent="ag_who_is_that", error=NotFound),
    ]


EXCHANGES: list[Exchange] = [*_kubernetes(), *_fly(), *_server()]
