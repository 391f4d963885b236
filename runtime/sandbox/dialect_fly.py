"""The `fly` dialect: what the Fly.io guide's listings call."""

import json
from typing import Any, Final

from runtime.contract import MINIMUM_ESCROW_USDC
from runtime.money import Usdc
from runtime.sandbox.dialect_kubernetes import word
from runtime.sandbox.dialect_server import usd
from runtime.sandbox.escrows import Terms
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, RestOperation, Service

_MINIMUM: Final = Usdc.parse(MINIMUM_ESCROW_USDC["fly"])
_METADATA_BYTES: Final = 4096
_ID: Final = {"type": "string", "minLength": 1, "maxLength": 200}


def _create(service: Service, call: Call) -> dict[str, Any]:
    """The key's owner pays: nobody can spend from a wallet whose key they do not hold.

    `payer_wallet` is kept and echoed, as the account to bill. The guide's listing bills itself this way (its own key,
    its own wallet as payee), so that is allowed here, and the statement shows that the caller paid nothing.
    """
    payer_wallet = call.text("payer_wallet", "invalid_request")
    payee_wallet = call.text("payee_wallet", "invalid_counterparty")
    description = call.text("description", "invalid_description", most=1000)
    metadata = call.body.get("metadata", {})
    if not isinstance(metadata, dict):
        raise RefusedError(400, "invalid_request", "metadata is an object")
    try:
        kept = json.dumps({"payer_wallet": payer_wallet, "metadata": metadata}, default=float, allow_nan=False)
    except ValueError:
        kept = ""
    if not 0 < len(kept) <= _METADATA_BYTES:
        raise RefusedError(400, "invalid_request", f"metadata has at most {_METADATA_BYTES} bytes")
    terms = Terms(payee_wallet, call.amount("amount_usdc", _MINIMUM), description, kept)
    escrow = service.escrows.create(call.caller, terms, payee_must_exist=False)
    return {
        "escrow_id": escrow["id"],
        "status": word(escrow["status"]),
        "payer_wallet": payer_wallet,
        "payee_wallet": payee_wallet,
        "amount_usdc": usd(escrow["amount"]),
    }


def _release(service: Service, call: Call) -> dict[str, Any]:
    escrow_id = call.text("escrow_id", "invalid_request")
    if not isinstance(call.body.get("auto_release", False), bool):
        raise RefusedError(400, "invalid_request", "auto_release is true or false")
    escrow = service.escrows.release(escrow_id, call.caller, fail_after_credit=call.fail_after_credit)
    return {
        "escrow_id": escrow["id"],
        "status": escrow["status"],
        "amount_released": usd(escrow["amount"] - escrow["fee"]),
        "payee_wallet": escrow["payee_id"],
    }


def _cancel(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.cancel(call.text("escrow_id", "invalid_request"), call.caller)
    return {"escrow_id": escrow["id"], "status": escrow["status"], "amount_refunded": usd(escrow["amount"])}


def _operation(name: str, run: Any, refusals: tuple[int, ...], **extra: Any) -> RestOperation:
    refusals = (400, 401, 413, 500, *refusals)
    return RestOperation(name, "fly", "POST", f"/api/escrow/{name}", run, refusals=refusals, **extra)


_ANSWER: Final = {"escrow_id": "string", "status": "string"}

FLY: Final = (
    _operation(
        "create", _create, (402,),
        request={"payer_wallet": _ID, "payee_wallet": _ID, "description": _ID | {"maxLength": 1000},
                 "amount_usdc": {"type": "number", "minimum": 0.001},
                 "metadata": {"type": "object"}},
        required=("payer_wallet", "payee_wallet", "amount_usdc", "description"), answer=_ANSWER,
    ),
    _operation(
        "release", _release, (403, 404, 409), request={"escrow_id": _ID, "auto_release": {"type": "boolean"}},
        required=("escrow_id",), answer=_ANSWER,
    ),
    _operation("cancel", _cancel, (403, 404, 409), request={"escrow_id": _ID}, required=("escrow_id",), answer=_ANSWER),
)  # fmt: skip
