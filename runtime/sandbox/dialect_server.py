"""The `server` dialect: the paths, words and shapes of the published open-source server."""

import sqlite3
from typing import Any, Final

from runtime.sandbox import published
from runtime.sandbox.clock import iso_time
from runtime.sandbox.escrows import Terms
from runtime.sandbox.ledger import wallet
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, RestOperation, Service

_LEDGER_ENTRIES: Final = 50
_TEXT: Final = {"type": "string"}
_CODE: Final = {"type": ["string", "null"]}


def usd(micros: int) -> float:
    """Micro-USDC as the JSON number on the wire."""
    return micros / 1_000_000


def create(service: Service, call: Call) -> dict[str, Any]:
    """Lock the caller's money."""
    amount, as_double = published.amount(call)
    description = published.text(call, "description", "invalid_description", least=3)
    counterparty_id = _agent_id(service, call, "counterparty_agent_id", "invalid_counterparty")
    if counterparty_id == call.caller:
        raise RefusedError(400, "self_escrow", "Cannot create escrow with yourself")
    terms = Terms(
        counterparty_id, amount, description, timeout_hours=published.timeout_hours(call),
        referral_code=published.referral_code(call), as_double=as_double if service.float_balances else None,
    )  # fmt: skip
    escrow = service.escrows.create(call.caller, terms, payee_must_exist=True)
    return _public(escrow) | {"auto_release_at": iso_time(escrow["auto_release_at"])}


def _agent_id(service: Service, call: Call, name: str, code: str) -> str:
    """An id as the casino gives them, or one that was made here; any other is refused before it is looked up."""
    agent_id = published.text(call, name, code)
    if not agent_id.startswith(published.AGENT_PREFIX) and service.agents.find(agent_id) is None:
        raise RefusedError(400, code, f"{name} must be in {published.AGENT_PREFIX}xxx format")
    return agent_id


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
    """Have the service decide."""
    return disputed(service, call, published.text(call, "reason", "invalid_request", least=0))


def disputed(service: Service, call: Call, reason: str) -> dict[str, Any]:
    """The dispute done and its answer, the same in the `kubernetes` dialect."""
    reason = reason or "No reason provided"
    escrow = service.escrows.dispute(call.path["id"], call.caller, reason, judged_status=call.judged_status)
    return {"escrow_id": escrow["id"], "status": "disputed", "reason": reason}


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
            " count(*) FILTER (WHERE status = 'released') AS released,"
            " (SELECT count(*) FROM events WHERE event = 'disputed') AS disputed,"
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


def claim(service: Service, call: Call, *, per_ip: bool) -> dict[str, Any]:
    """Grant the faucet's dollar. A code is told as tracked and pays nobody: only a registration's does, later."""
    agent_id = _agent_id(service, call, "agent_casino_id", "invalid_request")
    code = published.referral_code(call)
    return {
        "credited": 1,
        "claim_id": service.agents.claim(agent_id, call.ip, per_ip=per_ip, new_only=True),
        "agent_id": agent_id,
        "referral_tracked": service.agents.referrer_for(agent_id, code) is not None,
    }


def _claim(service: Service, call: Call) -> dict[str, Any]:
    return claim(service, call, per_ip=service.claim_per_ip)


def _faucet_stats(service: Service, _call: Call) -> dict[str, Any]:
    claims = service.agents.claims()  # one an agent, of one dollar each
    return {"total_claims": claims, "total_agents": claims, "total_value_usd": claims, "avg_per_agent": min(claims, 1)}


def _register(service: Service, call: Call) -> dict[str, Any]:
    agent_id, key = service.agents.register_new(published.referral_code(call))
    agent = service.agents.find(agent_id)
    return {"agent_id": agent_id, "api_key": key, "referral_code": agent and agent["referral_code"], "balance": 0}


def _ledger(service: Service, call: Call) -> dict[str, Any]:
    """The caller's account as the casino keeps it: its newest entries, without pages."""
    return {
        "entries": [
            {
                "id": f"led_{entry['id']}",
                "agentId": call.caller,
                "type": "credit" if entry["amount"] > 0 else "debit",
                "amount": usd(abs(entry["amount"])),
                "balanceAfter": as_floats if service.float_balances else usd(balance),
                "reason": f"{entry['kind']}:{entry['escrow_id'] or call.caller}",
                "reference": entry["escrow_id"],
                "service": "escrow" if entry["escrow_id"] else "casino",
                "createdAt": entry["at"],
                "at": iso_time(entry["at"]),
            }
            for entry, balance, as_floats in service.ledger.newest(wallet(call.caller), _LEDGER_ENTRIES)
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
            "description": _TEXT | {"minLength": 3},
            "counterparty_agent_id": _TEXT | {"minLength": 1},
            "timeout_hours": {"type": ["number", "null"]},
            "referral_code": _CODE,
        },
        required=("amount_usd", "description", "counterparty_agent_id"),
        answer={"escrow_id": "string", "status": "string", "amount_usd": "number", "auto_release_at": "string"},
        refusals=(400, 401, 402, 404, 413, 429, 500),
    ),
    _act("complete", _complete, 30, ()),
    _act("release", _release, 30, ()),
    _act("dispute", dispute, 10, (400,), request={"reason": {"type": ["string", "null"]}}),
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
        "claim", "server", "POST", "/faucet/claim", _claim, needs_key=False, per_minute=5,
        request={"agent_casino_id": _TEXT | {"minLength": 1}, "referral_code": _CODE},
        required=("agent_casino_id",), answer={"credited": "number", "claim_id": "string", "agent_id": "string"},
        refusals=(400, 403, 404, 409, 413, 429, 500),
    ),
    RestOperation(
        "stats", "server", "GET", "/faucet/stats", _faucet_stats, needs_key=False,
        answer={"total_claims": "integer", "total_value_usd": "number"},
    ),
    RestOperation(
        "register", "server", "POST", "/api/v1/auth/register", _register, success=201, needs_key=False, per_minute=10,
        request={"referral_code": _CODE}, answer={"agent_id": "string", "api_key": "string"},
        refusals=(400, 413, 429, 500),
    ),
)  # fmt: skip
