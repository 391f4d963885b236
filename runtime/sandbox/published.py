"""How the published server reads the fields of a body: JavaScript's conversions, where other services would refuse."""

import math
import re
from decimal import Decimal
from typing import Any, Final

from runtime.contract import MINIMUM_ESCROW_USDC
from runtime.money import MAX_MICRO, MICRO
from runtime.sandbox.escrows import DEFAULT_TIMEOUT_HOURS, MAX_TIMEOUT_HOURS
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, is_plain

AGENT_PREFIX: Final = "ag_"
_LEAST: Final = MINIMUM_ESCROW_USDC["server"]
_LEADING_NUMBER: Final = re.compile(r"\s*([+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))", re.ASCII)
_WHOLE_NUMBER: Final = re.compile(_LEADING_NUMBER.pattern + r"\s*", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"\s*0[xX][0-9a-fA-F]+\s*", re.ASCII)


def amount(call: Call) -> tuple[int, float]:
    """`amount_usd` in whole micro-USDC, what is finer cut off, and as the double that the balance is compared with.

    A number may be the start of a text or the one item of a list. One that no wallet can hold is left to the balance.
    """
    value = call.body.get("amount_usd")
    # NaN fails this comparison too.
    if not (asked := _double(value) if _is_number(value) else _parsed(value)) >= float(_LEAST):
        raise RefusedError(400, "invalid_amount", f"Minimum escrow amount is ${_LEAST}")
    if asked > MAX_MICRO // MICRO:
        return MAX_MICRO, math.inf
    return int(Decimal(repr(asked)) * MICRO), asked


def text(call: Call, name: str, code: str, least: int = 1) -> str:
    """A text of any length, without the blanks around it.

    Null or too short is refused with `code`. Another type is the published server's 500, before anything is moved.
    Control characters, which it takes, are refused: the sandbox prints its texts.
    """
    value = call.body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type()
    found = (value or "").strip()
    if len(found) < least or not is_plain(found):
        raise RefusedError(400, code, f"{name} is required" + (f" (min {least} chars)" if least > 1 else ""))
    return found


def referral_code(call: Call) -> str | None:
    """The code as it came, blanks too; None where the registered referrer counts: none given, null, or empty."""
    value = call.body.get("referral_code")
    if isinstance(value, dict | list) or value is True:
        raise wrong_type()
    return str(value) if value else None


def timeout_hours(call: Call) -> int:
    """`timeout_hours` made a number, rounded down and brought into its bounds; 24 for none or null."""
    value = call.body.get("timeout_hours")
    hours = DEFAULT_TIMEOUT_HOURS if value is None else _number(value)
    if math.isnan(hours):  # the published server takes the money, cannot write the row, and returns the money
        raise RefusedError(500, "internal_error", "Failed to create escrow record.")
    return math.floor(min(max(1, hours), MAX_TIMEOUT_HOURS))


def wrong_type() -> RefusedError:
    """What the published server answers to a field that has no such method."""
    return RefusedError(500, "internal_error")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _double(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _string(value: Any) -> str:
    """`String(value)`, as far as a number can come of it."""
    if isinstance(value, list):
        return ",".join("" if item is None else _string(item) for item in value)
    return value if isinstance(value, str) else str(_double(value)) if _is_number(value) else ""


def _parsed(value: Any) -> float:
    """`parseFloat(value)`: the number that the text begins with."""
    found = _LEADING_NUMBER.match(_string(value))
    return float(found[1]) if found else math.nan


def _number(value: Any) -> float:
    """`Number(value)`: the whole text has to be one; blank is 0."""
    if isinstance(value, bool) or _is_number(value):
        return _double(value)
    if not isinstance(value, str | list):
        return math.nan
    written = _string(value)
    if not written.strip():
        return 0.0
    if _HEXADECIMAL.fullmatch(written):
        return float(int(written, 16))
    found = _WHOLE_NUMBER.fullmatch(written)
    return float(found[1]) if found else math.nan
