"""The one amount type: a whole number of micro-USDC (six decimals), never a float, never negative."""

import json
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Final, NoReturn

from runtime.contract import FEE_RATE, REFERRAL_RATE
from runtime.errors import AmountError
from runtime.redaction import redact

MICRO: Final = 1_000_000
"""Micro-USDC in one USDC."""

MAX_MICRO: Final = 10**15 - 1
"""Just under a billion USDC. Fifteen digits are what a double carries exactly, so no JSON reader alters one."""

_STEP: Final = Decimal(1).scaleb(-6)
_TEXT: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_USUAL: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?")
"""What needs no look at its bounds or its last decimal: nearly every amount there is."""


@dataclass(frozen=True, order=True, slots=True, repr=False)
class Usdc:
    """An amount of USDC.

    Args:
        micro: The amount in micro-USDC, 0 to `MAX_MICRO`.

    Raises:
        AmountError: Not an int, negative, or above the bound.
    """

    micro: int

    def __post_init__(self) -> None:
        if type(self.micro) is not int:
            raise AmountError(f"an amount is held in whole micro-USDC, not as {type(self.micro).__name__}")
        if not 0 <= self.micro <= MAX_MICRO:
            raise AmountError(f"{self.micro} micro-USDC is not between 0 and {MAX_MICRO}")

    @classmethod
    def parse(cls, value: object) -> "Usdc":
        """Read `"0.10"`, a `Decimal` or a whole number of USDC.

        Raises:
            AmountError: A float, a bool, NaN, infinity, a sign, a seventh decimal, or no number at all.
        """
        if type(value) is str:
            return _parsed(value)
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise AmountError(f"an amount is a decimal text or number, not {_shown(value)}; floats drift")
        if isinstance(value, Decimal) and not value.is_finite():  # one that signals has not even a hash
            raise AmountError(f"{_shown(value)} USDC is not between 0 and a billion")
        return _parsed(value)

    @classmethod
    def _parse(cls, value: str | int | Decimal) -> "Usdc":
        if isinstance(value, str) and (usual := _USUAL.fullmatch(value)):
            whole, part = usual.groups("")
            return cls(int(whole) * MICRO + int(part.ljust(6, "0")))
        if isinstance(value, str) and not _TEXT.fullmatch(value):
            raise AmountError(f"{_shown(value)} is not an amount of USDC such as 0.10")
        number = Decimal(value)
        # Bounds first: scaling a number such as 1e999999999 would eat all memory.
        if not 0 <= number <= MAX_MICRO // MICRO + 1:
            raise AmountError(f"{_shown(value)} USDC is not between 0 and a billion")
        if not number:
            return cls(0)
        # The same for 1e-999999999; and a ratio, because Decimal's own arithmetic rounds silently after 28 digits.
        numerator, denominator = number.as_integer_ratio() if number.adjusted() >= -6 else (1, 2 * MICRO)
        if numerator * MICRO % denominator:
            raise AmountError(f"{_shown(value)} USDC is finer than the six decimals USDC has")
        return cls(numerator * MICRO // denominator)

    def fee(self) -> "Usdc":
        """Return Purple Flea's fee: 1 % of the amount, to six decimals as the published server rounds."""
        return self._share(FEE_RATE)

    def referral(self) -> "Usdc":
        """Return the referrer's part of the fee on this amount: 15 % of the fee, rounded likewise."""
        return self.fee()._share(REFERRAL_RATE)

    def net(self) -> "Usdc":
        """Return what the payee receives: the amount less the fee."""
        return self - self.fee()

    def _share(self, rate: str) -> "Usdc":
        # The published server multiplies doubles and rounds the *binary* product half up (`toFixed(6)`). Exact decimal
        # arithmetic differs by one micro-USDC at some ties (0.10045 -> 0.001004, not 0.001005), and its books are the
        # ones that count. So this line, and only this one, computes as it does; the amount itself stays an integer.
        product = Decimal(self.to_json_number() * float(rate))
        return Usdc.parse(product.quantize(_STEP, ROUND_HALF_UP))

    def __add__(self, other: "Usdc") -> "Usdc":
        return Usdc(self.micro + other.micro) if isinstance(other, Usdc) else NotImplemented

    def __sub__(self, other: "Usdc") -> "Usdc":
        return Usdc(self.micro - other.micro) if isinstance(other, Usdc) else NotImplemented

    def __bool__(self) -> NoReturn:
        # Else `amount or default` takes an amount of zero for one that was not given.
        raise TypeError("an amount has no truth value: ask `is None`, or compare it with ZERO")

    def __str__(self) -> str:
        """Canonical decimal text with two to six decimals: `0.10`, `1.00`, `0.00015`."""
        whole, micro = divmod(self.micro, MICRO)
        digits = f"{micro:06d}".rstrip("0")
        return f"{whole}.{digits:0<2}"

    def __repr__(self) -> str:
        return f"Usdc('{self}')"

    def to_json_number(self) -> float:
        """Return the number for a JSON body. Exact: its text reads back as this amount (see `MAX_MICRO`)."""
        return self.micro / MICRO


ZERO: Final = Usdc(0)
"""For sums: `sum(amounts, ZERO)`."""


def loads(text: str | bytes | bytearray) -> Any:
    """Read JSON with every fraction as `Decimal`.

    Raises:
        ValueError: Not JSON, NaN or infinity in it, or nested or long beyond any reason.
    """
    try:
        if not isinstance(text, str):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_parsed: Final = lru_cache(maxsize=4096, typed=True)(Usdc._parse)  # of a hundred thousand most are one of a few

_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)
"""One for all: `json.loads` makes a new one each time it is told how to read a fraction, at four times the cost."""


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number of so many digits"  # Python refuses to print the very long ones
    shown = redact(repr(value))
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
