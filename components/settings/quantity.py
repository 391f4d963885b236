"""Kubernetes quantities (`250m`, `64Mi`, `1e3`) as the API server parses them."""

import re
from decimal import ROUND_UP, Context, Decimal
from typing import Final

PATTERN: Final = r"^(\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)|-0+(\.0*)?)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$"
"""What the API documentation promises. `parse` also takes what the server's parser takes beyond it, such as `.`."""

_QUANTITY = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?((?:[eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?)")
_FACTORS: Final = {
    **{
        unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_LARGEST_EXPONENT: Final = 100
_LARGEST: Final = Decimal(2**63 - 1)
_NANO: Final = Decimal("1e-9")
_EXACT: Final = Context(prec=1000)


def parse(text: str) -> Decimal:
    """The number behind a quantity, e.g. `250m` → 0.25, `64Mi` → 67108864; raises `ValueError`."""
    match = _QUANTITY.fullmatch(text) if text else None
    if match is None or len(text) > 200 or (not (match[2] or match[3]) and _needs_digits(match[4])):
        raise ValueError(f"{text[:40]!r} is no Kubernetes quantity; write e.g. '250m' or '64Mi'")
    sign, whole, fraction, unit = match[1], match[2] or "0", match[3] or "0", match[4]
    number = Decimal(f"{sign}{whole}.{fraction}")
    if unit in _FACTORS:
        number = _EXACT.multiply(number, _FACTORS[unit])
    elif abs(int(unit[1:])) > _LARGEST_EXPONENT:
        raise ValueError(f"{text[:40]!r} is beyond every machine")
    else:
        number = number.scaleb(int(unit[1:]), _EXACT)
    # Finer than a billionth is rounded away from zero, and bytes end at 63 bits, as on the server.
    number = number.quantize(_NANO, ROUND_UP, _EXACT)
    return min(number, _LARGEST) if is_binary(text) else number


def _needs_digits(unit: str) -> bool:
    """The server reads a unit alone as zero of it, but for the two largest and for less than a billionth."""
    return unit in ("Pi", "Ei") or (unit[:1] in ("e", "E") and len(unit) > 1 and int(unit[1:]) < -9)


def is_binary(text: str) -> bool:
    """Whether the unit is one of bytes: `64Mi`."""
    return text.endswith("i")
