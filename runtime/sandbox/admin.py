"""`/admin`: what only whoever runs the sandbox may do. It exists only when an admin token is set."""

import hmac
import json
from typing import Any, Final

from starlette.routing import Route

from runtime.money import ZERO, Usdc
from runtime.sandbox.faults import Fault
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, Endpoint, RestOperation, Service

_MAX_ADVANCE_SECONDS: Final = 10 * 366 * 24 * 60 * 60


def admin_routes(service: Service, token: str) -> list[Route]:
    """The routes, each guarded by `Authorization: Bearer <token>`."""
    return [
        Route(op.path, _Guarded(service, op, token), methods=[op.method], name=f"admin-{op.name}") for op in _OPERATIONS
    ]


class _Guarded(Endpoint):
    def __init__(self, service: Service, operation: RestOperation, token: str) -> None:
        super().__init__(service, operation)
        self._expected = f"Bearer {token}".encode()

    def admit(self, authorization: str | None) -> str | None:
        if not hmac.compare_digest((authorization or "").encode(), self._expected):
            raise RefusedError(401, "unauthorized", "The admin token is required")
        return None


def _add_fault(service: Service, call: Call) -> dict[str, Any]:
    try:
        document = json.loads(json.dumps(call.body, default=float))  # a fault's numbers are no money: plain floats
        return service.faults.add(Fault.read(document)).summary()
    except (TypeError, ValueError) as error:
        raise RefusedError(400, "invalid_fault", str(error)) from None


def _faults(service: Service, _call: Call) -> dict[str, Any]:
    faults = service.faults
    return {
        "rules": [r.summary() for r in faults.rules],
        "injected": faults.injected_total,
        "recent": list(faults.recent),
    }


def _clear_faults(service: Service, _call: Call) -> dict[str, Any]:
    service.faults.clear()
    return {"rules": []}


def _clock(service: Service, call: Call) -> dict[str, Any]:
    seconds = call.body.get("advance_seconds", 0)
    if not isinstance(seconds, int) or not 0 <= seconds <= _MAX_ADVANCE_SECONDS:
        raise RefusedError(
            400, "invalid_request", f"advance_seconds is a whole number from 0 to {_MAX_ADVANCE_SECONDS}"
        )
    if not isinstance(sweep := call.body.get("sweep", True), bool):
        raise RefusedError(400, "invalid_request", "sweep is true or false")
    now = service.clock.advance(seconds)
    return {"now": now, "refunded": service.escrows.refund_due() if sweep else 0}


def _deposit(service: Service, call: Call) -> dict[str, Any]:
    agent_id = call.text("agent_id", "invalid_request")
    amount = call.amount("amount_usdc", ZERO)
    if not amount:
        raise RefusedError(400, "invalid_amount", "amount_usdc is more than 0")
    service.deposit(agent_id, amount)
    return {"agent_id": agent_id, "amount_usdc": str(Usdc(amount))}


def _issue_key(service: Service, call: Call) -> dict[str, Any]:
    agent_id = call.text("agent_id", "invalid_request")
    return {"agent_id": agent_id, "api_key": service.agents.issue_key(agent_id, call.optional_text("api_key"))}


def _revoke_key(service: Service, call: Call) -> dict[str, Any]:
    return {"revoked": service.agents.revoke_key(call.text("api_key", "invalid_request"))}


def _resolve(service: Service, call: Call) -> dict[str, Any]:
    outcome = call.body.get("outcome")
    if outcome not in ("release", "refund"):
        raise RefusedError(400, "invalid_request", "outcome is release or refund")
    return {"status": service.escrows.resolve(call.path["id"], release=outcome == "release")["status"]}


def _operation(name: str, method: str, path: str, run: Any) -> RestOperation:
    return RestOperation(name, "admin", method, f"/admin/{path}", run, needs_key=False)


_OPERATIONS: Final = (
    _operation("add-fault", "POST", "faults", _add_fault),
    _operation("list-faults", "GET", "faults", _faults),
    _operation("clear-faults", "DELETE", "faults", _clear_faults),
    _operation("clock", "POST", "clock", _clock),
    _operation("deposit", "POST", "deposits", _deposit),
    _operation("issue-key", "POST", "keys", _issue_key),
    _operation("revoke-key", "POST", "keys/revoke", _revoke_key),
    _operation("resolve", "POST", "escrows/{id}/resolve", _resolve),
)
