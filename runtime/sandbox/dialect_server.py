"""The `server` dialect: the paths, words and shapes of the published open-source server."""

import sqlite3
from typing import Any, Final

from runtime.contract import MINIMUM_ESCROW_USDC
from runtime.money import Usdc
from runtime.sandbox.clock import iso_time
from runtime.sandbox.escrows import DEFAULT_TIMEOUT_HOURS, Terms
from runtime.sandbox.ledger import wallet
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, RestOperation, Service

_MINIMUM: Final = Usdc.parse(MINIMUM_ESCROW_USDC["server"])
_LEDGER_ENTRIES: Final = 50
_TEXT: Final = {"type": "string"}
_CODE: Final = {"type": ["string", "null"], "maxLength": 200}


def usd(micros: int) -> float:
    """Micro-USDC as the JSON number on the wire."""
    return micros / 1_000_000


def create(service: Service, call: Call) -> dict[str, Any]:
    """Lock the caller's money."""
    amount = call.amount("amount_usd", _MINIMUM)
    description = call.text("description", "invalid_description", least=3, most=1000)
    counterparty_id = call.text("counterparty_agent_id", "invalid_counterparty")
    if counterparty_id == call.caller:
        raise RefusedError(400, "self_escrow", "Cannot create escrow with yourself")
    hours = call.body.get("timeout_hours", DEFAULT_TIMEOUT_HOURS)
    if not isinstance(hours, int) or isinstance(hours, bool):
        raise RefusedError(400, "invalid_request", "timeout_hours is a whole number")
    terms = Terms(
        counterparty_id, amount, description, timeout_hours=hours, referral_code=call.optional_text("referral_code")
    )
    escrow = service.escrows.create(call.caller, terms, payee_must_exist=True)
    return _public(escrow) | {"auto_release_at": iso_time(escrow["auto_release_at"])}


def _public(escrow: sqlite3.Row) -> dict[str, Any]:
    return {
        "escrow_id": escrow["id"],
        "amount_usd": usd(escrow["amount"]),
        "commission_usd": usd(escrow["fee"]),
        "net_to_counterparty": usd(escrow["amount"] - escrow["fee"]),
        "description": escrow["description"],
        "creator_id": escrow["payer_id"],
        "counterparty_id": escrow["payee_id"],
        "status": escrow["status"],
        "timeout_hours": escrow["timeout_hours"],
    }


def _complete(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.complete(call.path["id"], call.caller)
    return {
        "escrow_id": escrow["id"],
        "status": escrow["status"],
        "message": "Task marked complete. Waiting for creator to release funds.",
        "auto_release_at": iso_time(escrow["auto_release_at"]),
    }


def _release(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.release(call.path["id"], call.caller, fail_after_credit=call.fail_after_credit)
    return {
        "escrow_id": escrow["id"],
        "status": escrow["status"],
        "amount_released": usd(escrow["amount"] - escrow["fee"]),
        "commission": usd(escrow["fee"]),
        "referral_commission": usd(escrow["referral"]),
        "counterparty_id": escrow["payee_id"],
    }


def dispute(service: Service, call: Call) -> dict[str, Any]:
    """Dispute; the `kubernetes` dialect answers the same."""
    reason = call.text("reason", "invalid_request", least=0, most=1000, default="") or "No reason provided"
    escrow = service.escrows.dispute(call.path["id"], call.caller, reason)
    return {"escrow_id": escrow["id"], "status": escrow["status"], "reason": reason}


def _read(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.get(call.path["id"])
    answer = _public(escrow) | {
        "created_at": iso_time(escrow["created_at"]),
        "auto_release_at": iso_time(escrow["auto_release_at"]),
        "completed_at": iso_time(escrow["completed_at"]),
        "released_at": iso_time(escrow["settled_at"]),
        "disputed_at": iso_time(escrow["disputed_at"]),
    }
    if any(service.agents.acts_for(call.caller_id, escrow[party]) for party in ("payer_id", "payee_id")):
        answer["events"] = [dict(event) for event in service.escrows.events(escrow["id"])]
    return answer


def stats(service: Service, _call: Call) -> dict[str, Any]:
    """Public figures."""
    with service.database.transaction() as connection:
        row = connection.execute(
            "SELECT count(*) AS created, ifnull(sum(amount), 0) AS volume,"
            " count(*) FILTER (WHERE status = 'released') AS released, count(disputed_at) AS disputed,"
            " ifnull(sum(fee) FILTER (WHERE status = 'released'), 0) AS fees FROM escrows"
        ).fetchone()
    return {
        "total_created": row["created"],
        "total_released": row["released"],
        "total_disputed": row["disputed"],
        "total_volume_usd": round(usd(row["volume"]), 2),
        "total_commission_usd": round(usd(row["fees"]), 2),
        "commission_rate": "1%",
        "referral_commission_rate": "15% of fees",
    }


def _health(_service: Service, _call: Call) -> dict[str, Any]:
    return {"status": "ok", "service": "agent-escrow"}


def _claim(service: Service, call: Call) -> dict[str, Any]:
    agent_id = call.text("agent_casino_id", "invalid_request")
    code = call.optional_text("referral_code")
    claim_id = service.agents.claim(agent_id, call.ip, per_ip=service.claim_per_ip, new_only=True, referral_code=code)
    agent = service.agents.find(agent_id)
    return {
        "credited": 1,
        "claim_id": claim_id,
        "agent_id": agent_id,
        "referral_tracked": agent is not None and agent["referrer_id"] is not None,
    }


def _register(service: Service, call: Call) -> dict[str, Any]:
    agent_id, key = service.agents.register_new(call.optional_text("referral_code"))
    agent = service.agents.find(agent_id)
    return {"agent_id": agent_id, "api_key": key, "referral_code": agent and agent["referral_code"], "balance": 0}


def _ledger(service: Service, call: Call) -> dict[str, Any]:
    """The caller's account as the casino keeps it: its newest entries, without pages."""
    entries = service.ledger.newest(wallet(call.caller), _LEDGER_ENTRIES)
    return {
        "entries": [
            {
                "id": f"led_{entry['id']}",
                "agentId": call.caller,
                "type": "credit" if entry["amount"] > 0 else "debit",
                "amount": usd(abs(entry["amount"])),
                "balanceAfter": usd(entry["balance_after"]),
                "reason": f"{entry['kind']}:{entry['escrow_id'] or call.caller}",
                "reference": entry["escrow_id"],
                "service": "escrow" if entry["escrow_id"] else "casino",
                "createdAt": entry["at"],
                "at": iso_time(entry["at"]),
            }
            for entry in entries
        ]
    }


def _act(name: str, run: Any, per_minute: int, refusals: tuple[int, ...], **extra: Any) -> RestOperation:
    refusals = (401, 403, 404, 409, 413, 429, 500, *refusals)
    return RestOperation(
        name, "server", "POST", f"/escrow/{name}/{{id}}", run, per_minute=per_minute, refusals=refusals,
        answer={"escrow_id": "string", "status": "string"}, **extra,
    )  # fmt: skip


SERVER: Final = (
    RestOperation(
        "create", "server", "POST", "/escrow/create", create, success=201, per_minute=20,
        request={
            "amount_usd": {"type": "number", "minimum": 0.1},
            "description": {"type": "string", "minLength": 3, "maxLength": 1000},
            "counterparty_agent_id": {"type": "string", "minLength": 1, "maxLength": 200},
            "timeout_hours": {"type": "integer"},
            "referral_code": _CODE,
        },
        required=("amount_usd", "description", "counterparty_agent_id"),
        answer={"escrow_id": "string", "status": "string", "amount_usd": "number", "auto_release_at": "string"},
        refusals=(400, 401, 402, 404, 413, 429, 500),
    ),
    _act("complete", _complete, 30, ()),
    _act("release", _release, 30, ()),
    _act("dispute", dispute, 10, (400,), request={"reason": _TEXT | {"maxLength": 1000}}),
    RestOperation(
        "stats", "server", "GET", "/escrow/stats", stats, needs_key=False,
        answer={"total_created": "integer", "total_volume_usd": "number"},
    ),
    RestOperation(
        "read", "server", "GET", "/escrow/{id}", _read, needs_key=False, refusals=(404,),
        answer={"escrow_id": "string", "status": "string", "amount_usd": "number", "created_at": "string"},
    ),
    RestOperation(
        "ledger", "server", "GET", "/api/v1/auth/ledger", _ledger, refusals=(401, 500),
        answer={"entries": "array"},
    ),
    RestOperation("health", "server", "GET", "/health", _health, needs_key=False, answer={"status": "string"}),
    RestOperation(
        "claim", "server", "POST", "/faucet/claim", _claim, needs_key=False,
        request={"agent_casino_id": {"type": "string", "minLength": 1, "maxLength": 200},
                 "referral_code": _CODE},
        required=("agent_casino_id",), answer={"credited": "number", "claim_id": "string", "agent_id": "string"},
        refusals=(400, 403, 404, 409, 413, 429, 500),
    ),
    RestOperation(
        "register", "server", "POST", "/api/v1/auth/register", _register, success=201, needs_key=False,
        request={"referral_code": _CODE}, answer={"agent_id": "string", "api_key": "string"},
        refusals=(400, 413, 500),
    ),
)  # fmt: skip
