"""A recorded table: what the published servers answered, in November 2026, to what a client may send them.

Each line stands alone, with two registered agents, `ag_payer` (10 USDC) and `ag_payee`, and a third that referred the
payer. `{name}` in a text is filled in.
"""

from dataclasses import dataclass, field
from typing import Any

CREATE = "/escrow/create"
CLAIM = "/faucet/claim"
WORK = {"amount_usd": 1, "description": "work", "counterparty_agent_id": "ag_payee"}
WRONG_TYPE = (500, "internal_error")


@dataclass(frozen=True)
class Line:
    """One exchange.

    Args:
        what: The line's name.
        status: The status of the answer.
        answer: Fields of the answer; `error` is its code.
        json: The body.
        escrow: The status in which an escrow of theirs, `{escrow}`, is before; None: there is none.
        key: The Authorization header.
        locked: How much money the line locks, in USDC.
    """

    what: str
    path: str
    status: int
    answer: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    escrow: str | None = None
    key: str = "Bearer {key}"
    locked: str = "0.00"
    method: str = "POST"

    def __str__(self) -> str:
        return self.what


def creates(what: str, locked: str = "1.00", answer: dict[str, Any] | None = None, **fields: Any) -> Line:
    return Line(f"create, {what}", CREATE, 201, answer or {}, WORK | fields, locked=locked)


def refuses(what: str, refusal: tuple[int, str], **fields: Any) -> Line:
    return Line(f"create, {what}", CREATE, refusal[0], {"error": refusal[1]}, WORK | fields)


def keyed(what: str, key: str, status: int, **extra: Any) -> Line:
    return Line(f"key, {what}", CREATE, status, json=WORK, key=key, **extra)


def disputes(what: str, status: int, answer: dict[str, Any], body: Any) -> Line:
    return Line(f"dispute, {what}", "/escrow/dispute/{escrow}", status, answer, body, escrow="funded")


def claims(what: str, status: int, answer: dict[str, Any], body: Any) -> Line:
    return Line(f"claim, {what}", CLAIM, status, answer, body)


UNKNOWN = "ag_0000000000"
LINES = [
    creates("as documented", answer={"status": "funded", "commission_usd": 0.01, "net_to_counterparty": 0.99}),
    creates("amount as text", "0.50", amount_usd="0.5"),
    creates("amount that a text begins with", "0.50", amount_usd="0.5abc"),
    creates("amount with an exponent", amount_usd="1e0"),
    creates("amount in a list", "0.50", amount_usd=[0.5]),
    creates("amount of more than six decimals", "0.123456", amount_usd=0.1234564),
    refuses("amount below the least", (400, "invalid_amount"), amount_usd=0.0999999),
    refuses("amount that is true", (400, "invalid_amount"), amount_usd=True),
    refuses("amount that is null", (400, "invalid_amount"), amount_usd=None),
    refuses("amount that is an object", (400, "invalid_amount"), amount_usd={}),
    refuses("amount that is no number", (400, "invalid_amount"), amount_usd="a lot"),
    refuses("amount of a billion", (402, "insufficient_balance"), amount_usd=1e9),
    refuses("amount beyond every double", (402, "insufficient_balance"), amount_usd="1e999"),
    refuses("amount beyond the balance", (402, "insufficient_balance"), amount_usd=10.01),
    creates("a long text", description="x" * 5000, answer={"description": "x" * 5000}),
    creates("blanks around a text", description="  work  ", answer={"description": "work"}),
    refuses("a short text", (400, "invalid_description"), description=" ab "),
    refuses("no text", (400, "invalid_description"), description=None),
    *(refuses(f"text {wrong}", WRONG_TYPE, description=wrong) for wrong in (7, ["work"], True)),
    refuses("no payee", (400, "invalid_counterparty"), counterparty_agent_id=None),
    refuses("a payee of another form", (400, "invalid_counterparty"), counterparty_agent_id="0xabc"),
    refuses("an unknown payee", (404, "counterparty_not_found"), counterparty_agent_id=UNKNOWN),
    refuses("oneself", (400, "self_escrow"), counterparty_agent_id="ag_payer"),
    *(refuses(f"payee {wrong}", WRONG_TYPE, counterparty_agent_id=wrong) for wrong in (7, ["ag_payee"], False)),
    *(
        creates(f"time-out {asked!r}", answer={"timeout_hours": hours}, timeout_hours=asked)
        for asked, hours in (
            (None, 24), (12.7, 12), ("48", 48), (" 48.9 ", 48), ("0x10", 16), (True, 1), ([], 1), ([48], 48), ("", 1),
            (0, 1), (-5, 1), (0.5, 1), (720, 720), (1e9, 720), ("Infinity", 720),
        )
    ),
    *(refuses(f"time-out {wrong!r}", WRONG_TYPE, timeout_hours=wrong) for wrong in ("soon", "48h", {}, [1, 2])),
    refuses("code that is a list", WRONG_TYPE, referral_code=["{code}"]),
    Line("create, null", CREATE, 500, {"error": "internal_error"}),
    Line("create, a list", CREATE, 400, {"error": "invalid_amount"}, []),
    keyed("bearer", "bearer {key}", 401),
    keyed("BEARER", "BEARER {key}", 401),
    keyed("two blanks", "Bearer  {key}", 401),
    keyed("no scheme", "{key}", 401),
    keyed("as documented", "Bearer {key}", 201, locked="1.00"),
    disputes("reason null", 200, {"status": "disputed", "reason": "No reason provided"}, {"reason": None}),
    disputes("reason of blanks", 200, {"status": "disputed", "reason": "No reason provided"}, {"reason": "  "}),
    disputes("long reason", 200, {"reason": "x" * 2000}, {"reason": "x" * 2000}),
    disputes("reason a number", 500, {"error": "internal_error"}, {"reason": 7}),
    disputes("null", 500, {"error": "internal_error"}, None),
    Line("release, null", "/escrow/release/{escrow}", 200, {"status": "released"}, None, escrow="completed"),
    Line("complete, again", "/escrow/complete/{escrow}", 403, {"error": "forbidden"}, escrow="completed"),
    claims("as documented", 200, {"credited": 1, "referral_tracked": False}, {"agent_casino_id": "ag_payee"}),
    *(
        claims(f"code {code}", 200, {"referral_tracked": known}, {"agent_casino_id": "ag_payee", "referral_code": code})
        for code, known in (("{code}", True), ("{own}", False), ("ref_unknown", False), (" {code} ", False))
    ),
    claims("another form", 400, {"error": "invalid_request"}, {"agent_casino_id": "0xabc"}),
    claims("unknown", 404, {"error": "agent_not_found"}, {"agent_casino_id": UNKNOWN}),
    claims("a deposit", 403, {"error": "has_deposits"}, {"agent_casino_id": "ag_payer"}),
    claims("a number", 500, {"error": "internal_error"}, {"agent_casino_id": 7}),
    claims("null", 500, {"error": "internal_error"}, None),
    Line("stats of the faucet", "/faucet/stats", 200, {}, method="GET"),
    *(
        Line(f"path of another dialect, {path}", path, 404, {"error": "not_found"}, {})
        for path in ("/api/escrow", "/api/escrow/create", "/api/claim", "/api/register", "/mcp")
    ),
    Line("no list", "/escrow/list", 404, {"error": "not_found"}, method="GET"),
]  # fmt: skip
