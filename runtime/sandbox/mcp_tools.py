"""The published tool sets of the two MCP servers: names, schemas, and which operation of the sandbox each one is.

The API key is an argument (`casino_api_key`), and what is refused is a result with `isError`, as published.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from runtime.sandbox import dialect_server
from runtime.sandbox.dialect_server import usd
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, Service

KEY_ARGUMENT: Final = "casino_api_key"

Schema = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """One tool.

    Args:
        operation: The sandbox's name for it, by which faults find it.
        properties: JSON schemas of the arguments by name.
        required: The arguments that must be there.
    """

    name: str
    operation: str
    description: str
    properties: dict[str, Schema]
    required: tuple[str, ...]
    run: Callable[[Service, Call], dict[str, Any]]

    @property
    def needs_key(self) -> bool:
        """Whether it acts for the owner of a key."""
        return KEY_ARGUMENT in self.properties

    def listed(self) -> dict[str, Any]:
        """Its entry in `tools/list`."""
        schema: Schema = {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": self.properties,
            "additionalProperties": False,
        }
        if self.required:
            schema["required"] = list(self.required)
        return {"name": self.name, "description": self.description, "inputSchema": schema}


def call_tool(service: Service, tool: Tool, arguments: dict[str, Any], call: Call) -> dict[str, Any]:
    """The result of one `tools/call`; a refusal is a result too, with `isError`."""
    try:
        if wrong := _first_mistake(tool, arguments):
            return _failed(f"MCP error -32602: Input validation error: Invalid arguments for tool {tool.name}: {wrong}")
        caller_id = None
        if tool.needs_key:
            caller_id = service.agents.authenticate(f"Bearer {arguments[KEY_ARGUMENT]}")
            if caller_id is None:
                raise RefusedError(401, "unauthorized", "Invalid casino API key.")
        path = {"id": arguments.get("escrow_id", "")}
        answer = tool.run(service, replace(call, caller_id=caller_id, path=path, body=arguments))
    except RefusedError as refusal:
        return _failed(_text(refusal.body()))
    return {"content": [{"type": "text", "text": _text(answer)}]}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, default=float)


def _failed(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _first_mistake(tool: Tool, arguments: dict[str, Any]) -> str | None:
    """The first argument that its schema refuses."""
    for name, schema in tool.properties.items():
        value = arguments.get(name)
        if name not in arguments:
            if name in tool.required:
                return f"{name}: Required"
        elif schema["type"] == "string":
            if not isinstance(value, str):
                return f"{name}: Expected string"
            if len(value) < schema.get("minLength", 0):
                return f"{name}: String must contain at least {schema['minLength']} character(s)"
        elif isinstance(value, bool) or not isinstance(value, int | Decimal):
            return f"{name}: Expected number, received {type(value).__name__}"
        elif value < schema.get("minimum", value):
            return f"{name}: Number must be greater than or equal to {schema['minimum']}"
    return None


# --- what the tools do: the `server` dialect's operations, in the words of the MCP servers


def _create(service: Service, call: Call) -> dict[str, Any]:
    created = dialect_server.create(service, call)
    escrow_id = created["escrow_id"]
    return created | {
        "next_steps": {
            "counterparty": f"Call mark_complete with escrow_id={escrow_id} when the task is done.",
            "creator": f"Call release_escrow with escrow_id={escrow_id} to release the funds.",
            "dispute": f"Call dispute_escrow with escrow_id={escrow_id} if something goes wrong.",
        }
    }


def _read(service: Service, call: Call) -> dict[str, Any]:
    """The row, with its times in epoch seconds."""
    escrow: sqlite3.Row = service.escrows.get(call.path["id"])
    return {
        "id": escrow["id"],
        "creator_id": escrow["payer_id"],
        "counterparty_id": escrow["payee_id"],
        "amount_usd": usd(escrow["amount"]),
        "commission_usd": usd(escrow["fee"]),
        "description": escrow["description"],
        "status": escrow["status"],
        "timeout_hours": escrow["timeout_hours"],
        "created_at": escrow["created_at"],
        "auto_release_at": escrow["auto_release_at"],
        "completed_at": escrow["completed_at"],
        "released_at": escrow["settled_at"],
        "disputed_at": escrow["disputed_at"],
    }


def _complete(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.complete(call.path["id"], call.caller)
    message = "Task marked complete. The creator must now call release_escrow to release the funds."
    return {"escrow_id": escrow["id"], "status": escrow["status"], "message": message}


def _release(service: Service, call: Call) -> dict[str, Any]:
    escrow = service.escrows.release(call.path["id"], call.caller, fail_after_credit=call.fail_after_credit)
    return {
        "escrow_id": escrow["id"],
        "status": escrow["status"],
        "amount_usd": usd(escrow["amount"]),
        "net_to_counterparty": usd(escrow["amount"] - escrow["fee"]),
        "commission_usd": usd(escrow["fee"]),
        "message": "Funds released to counterparty.",
    }


def _claim(service: Service, call: Call) -> dict[str, Any]:
    """Grant the faucet's dollar; unlike the REST faucet, the published MCP server has no rule about addresses.

    The Fly.io guide's `wallet_address`, which needs no registration, is understood too.
    """
    if "wallet_address" in call.body:
        agent_id = call.text("wallet_address", "invalid_request")
        service.agents.ensure(agent_id)
        claim_id = service.agents.claim(agent_id, call.ip, per_ip=False, new_only=False)
        return {"credited": 1, "claim_id": claim_id, "agent_id": agent_id, "referral_tracked": False}
    return dialect_server.claim(service, call, per_ip=False)


def _described(kind: str, description: str, **bounds: Any) -> Schema:
    return {"type": kind, **bounds, "description": description}


_KEY: Final = {KEY_ARGUMENT: _described("string", "Your casino API key.")}
_ESCROW: Final = {"escrow_id": _described("string", "The escrow's id (esc_xxx).")}
_CODE: Final = {"referral_code": _described("string", "Code (ref_xxx) of the agent who referred you.")}

ESCROW_TOOLS: Final = (
    Tool(
        "create_escrow", "create", "Lock funds of yours for another agent until you release them. 1% commission.",
        {
            **_KEY,
            "amount_usd": _described("number", "Amount in USD, at least 0.10.", minimum=Decimal("0.1")),
            "counterparty_agent_id": _described("string", "The id of the agent who is to be paid (ag_xxx)."),
            "description": _described("string", "The task or agreement.", minLength=3),
            "timeout_hours": _described("number", "Hours until the refund (24, at most 720)."),
            **_CODE,
        },
        (KEY_ARGUMENT, "amount_usd", "counterparty_agent_id", "description"), _create,
    ),
    Tool("get_escrow", "read", "Status and details of an escrow.", _ESCROW, ("escrow_id",), _read),
    Tool(
        "mark_complete", "complete", "Say that the task is done. Only the counterparty can.",
        {**_KEY, **_ESCROW}, (KEY_ARGUMENT, "escrow_id"), _complete,
    ),
    Tool(
        "release_escrow", "release", "Pay the counterparty. Only the creator can.",
        {**_KEY, **_ESCROW}, (KEY_ARGUMENT, "escrow_id"), _release,
    ),
    Tool(
        "dispute_escrow", "dispute", "Freeze the funds until a person decides. Either party can.",
        {**_KEY, **_ESCROW, "reason": _described("string", "Why, in at least 10 characters.", minLength=10)},
        (KEY_ARGUMENT, "escrow_id", "reason"), dialect_server.dispute,
    ),
    Tool("escrow_stats", "stats", "Public volume and commission figures.", {}, (), dialect_server.stats),
)  # fmt: skip

FAUCET_TOOLS: Final = (
    Tool(
        "claim_faucet", "claim", "Claim one dollar of free credit, once per agent, for a registered agent's id.",
        {"agent_casino_id": _described("string", "The agent's id (ag_xxx)."), **_CODE}, (), _claim,
    ),
)  # fmt: skip
