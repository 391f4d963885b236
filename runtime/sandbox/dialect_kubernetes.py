"""The `kubernetes` dialect: what the Kubernetes guide's listings call."""

import sqlite3
from typing import Any, Final

from runtime.contract import MINIMUM_ESCROW_USDC
from runtime.money import Usdc
from runtime.sandbox.dialect_server import disputed, usd
from runtime.sandbox.escrows import Terms
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, RestOperation, Service

_MINIMUM: Final = Usdc.parse(MINIMUM_ESCROW_USDC["kubernetes"])
_FIRST_STATUS: Final = "pending"
_ID: Final = {"type": "string", "minLength": 1, "maxLength": 200}


def word(status: str) -> str:
    """A status as the guides say it: what the published server calls `funded` is `pending` there."""
    return _FIRST_STATUS if status == "funded" else status


def _public(escrow: sqlite3.Row) -> dict[str, Any]:
    return {
        "escrow_id": escrow["id"],
        "status": word(escrow["status"]),
        "payee_id": escrow["payee_id"],
        "amount": usd(escrow["amount"]),
        "terms_hash": escrow["description"],
        "created_at": escrow["created_at"],
    }


def _create(service: Service, call: Call) -> dict[str, Any]:
    payee_id = call.text("payee_id", "invalid_counterparty")
    if payee_id == call.caller:
        raise RefusedError(400, "self_escrow", "Cannot create escrow with yourself")
    terms = Terms(payee_id, call.amount("amount", _MINIMUM), call.text("terms_hash", "invalid_description", most=1000))
    return _public(service.escrows.create(call.caller, terms, payee_must_exist=False))


def _release(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.release(call.path["id"], call.caller, fail_after_credit=call.fail_after_credit)
    return {
        "escrow_id": escrow["id"],
        "status": escrow["status"],
        "amount_released": usd(escrow["amount"] - escrow["fee"]),
        "payee_id": escrow["payee_id"],
    }


def _dispute(service: Service, call: Call) -> dict[str, Any]:
    return disputed(service, call, call.text("reason", "invalid_request", least=0, most=1000, default=""))


def _list(service: Service, call: Call) -> dict[str, Any]:
    status = call.query.get("status", _FIRST_STATUS)
    status = "funded" if status == _FIRST_STATUS else status
    rows = service.escrows.paid_by(call.caller, status, call.count("limit", -1), call.count("offset", 0))
    return {"escrows": [_public(row) for row in rows]}


def _register(service: Service, call: Call) -> dict[str, Any]:
    agent_id = call.text("agent_id", "invalid_request")
    return {"agent_id": agent_id, "registered": True, "new": service.agents.register(agent_id, call.caller)}


def _claim(service: Service, call: Call) -> dict[str, Any]:
    agent_id = call.text("agent_id", "invalid_request")
    if service.agents.find(agent_id) is not None and not service.agents.acts_for(call.caller, agent_id):
        raise RefusedError(403, "forbidden", "That agent_id belongs to another key")
    claim_id = service.agents.claim(agent_id, call.ip, per_ip=False, new_only=False)
    return {"claim_id": claim_id, "agent_id": agent_id, "amount": 1.0}


def _operation(name: str, path: str, run: Any, refusals: tuple[int, ...], **extra: Any) -> RestOperation:
    return RestOperation(name, "kubernetes", "POST", path, run, refusals=(400, 401, 413, 500, *refusals), **extra)


KUBERNETES: Final = (
    _operation(
        "create", "/api/escrow", _create, (402,),
        request={"payee_id": _ID, "terms_hash": _ID | {"maxLength": 1000},
                 "amount": {"type": "number", "minimum": 0.1}},
        required=("payee_id", "amount", "terms_hash"), answer={"escrow_id": "string", "status": "string"},
    ),
    _operation(
        "release", "/api/escrow/{id}/release", _release, (403, 404, 409),
        answer={"escrow_id": "string", "amount_released": "number", "payee_id": "string"},
    ),
    _operation(
        "dispute", "/api/escrow/{id}/dispute", _dispute, (403, 404, 409), request={"reason": _ID | {"maxLength": 1000}},
        answer={"escrow_id": "string", "status": "string"},
    ),
    RestOperation(
        "list", "kubernetes", "GET", "/api/escrows", _list, query=("status", "limit", "offset"),
        answer={"escrows": "array"}, refusals=(400, 401, 500),
    ),
    _operation(
        "register", "/api/register", _register, (403,), request={"agent_id": _ID}, required=("agent_id",),
        answer={"agent_id": "string", "registered": "boolean"},
    ),
    _operation(
        "claim", "/api/claim", _claim, (403, 404, 409), request={"agent_id": _ID}, required=("agent_id",),
        answer={"agent_id": "string", "claim_id": "string", "amount": "number"},
    ),
)  # fmt: skip
