"""What is known of the published tools. They carry no annotations, so every other tool counts as unsafe to repeat."""

import hashlib
import json
from decimal import Decimal
from typing import Any, Final

from runtime.errors import AmountError
from runtime.money import Usdc

KEY_ARGUMENT: Final = "casino_api_key"

SAFE: Final = frozenset({"get_escrow", "escrow_stats"})
"""May be sent again, whatever became of the first time."""

TAKES_KEY: Final = frozenset({"create_escrow", "mark_complete", "release_escrow", "dispute_escrow"})
"""Before a list has said so."""

SPENDS: Final = frozenset({"create_escrow"})
"""Lock money of the key's owner."""

SPENDS_NOTHING: Final = SAFE | {"claim_faucet", "mark_complete", "release_escrow", "dispute_escrow"}
"""Known to lock no further money. A tool in neither set may: no budget lets it pass."""

_AMOUNTS: Final = ("amount_usd", "amount_usdc", "amount")
_PAYEES: Final = ("counterparty_agent_id", "payee_wallet", "payee_id")


def agents_own(arguments: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments without a key that the agent gave, in whatever case."""
    return {name: value for name, value in arguments.items() if name.casefold() != KEY_ARGUMENT}


def amount_of(arguments: dict[str, Any]) -> Usdc:
    """What a spending call would lock.

    Raises:
        AmountError: There is no amount, there are several, or it is no number of USDC.
    """
    named = [name for name in _AMOUNTS if name in arguments]
    if len(named) != 1:
        raise AmountError(f"expected one amount, as {_AMOUNTS[0]}")
    value = arguments[named[0]]
    # A text is no number to the published server, and "5.00x" is one to others.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AmountError(f"{named[0]} is not a number")
    amount = Usdc.parse(Decimal(repr(value)))  # the text that is sent on, exactly
    if amount.micro == 0:
        raise AmountError(f"{named[0]} is zero")
    return amount


def payee_of(arguments: dict[str, Any]) -> str | None:
    """Who would be paid; None where that is not said, or said twice."""
    named = [arguments[name] for name in _PAYEES if name in arguments]
    return named[0] if len(named) == 1 and isinstance(named[0], str) else None


def fingerprint(server: str, tool: str, arguments: dict[str, Any]) -> str:
    """By which the same call is known again. The key is left out: it may be rotated in between."""
    said = {name: value for name, value in arguments.items() if name != KEY_ARGUMENT}
    text = json.dumps([server, tool, said], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def without_key(tool: Any) -> Any:
    """A listed tool, without the key among its arguments."""
    if not takes_key(tool):
        return tool
    schema = tool["inputSchema"]
    properties = {name: value for name, value in schema["properties"].items() if name != KEY_ARGUMENT}
    changed = schema | {"properties": properties}
    if isinstance(schema.get("required"), list):
        changed["required"] = [name for name in schema["required"] if name != KEY_ARGUMENT]
    return tool | {"inputSchema": changed}


def takes_key(tool: Any) -> bool:
    """Whether a listed tool asks for the key."""
    schema = tool.get("inputSchema") if isinstance(tool, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return isinstance(properties, dict) and KEY_ARGUMENT in properties
