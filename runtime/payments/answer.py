"""Reading an answer's JSON field by field: absent is None, of another kind is an error, and nothing is guessed."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from runtime.errors import AmountError, BadInput, Problem
from runtime.money import Usdc, loads
from runtime.payments.model import EscrowStatus, checked_escrow_id
from runtime.redaction import excerpt

STATUS_WORDS: Final[Mapping[str, EscrowStatus]] = {
    "pending": EscrowStatus.LOCKED,
    "funded": EscrowStatus.LOCKED,
    "locked": EscrowStatus.LOCKED,
    "completed": EscrowStatus.COMPLETED,
    "released": EscrowStatus.RELEASED,
    "disputed": EscrowStatus.DISPUTED,
    "refunded": EscrowStatus.REFUNDED,
    "cancelled": EscrowStatus.CANCELLED,
    "auto_released": EscrowStatus.AUTO_RELEASED,
}
"""Every status word of every dialect."""

T = TypeVar("T")

_TOKEN_AT_END: Final = re.compile(r"\[([A-Za-z0-9._/@-]{3,400})\]\s*\Z")
"""Ours, and `NAMESPACE/JOB` as a person writes it."""


class _Identified(msgspec.Struct):
    escrow_id: str | None = None


_IDENTIFIED: Final = msgspec.json.Decoder(_Identified)
_ENTRY: Final = msgspec.json.Decoder(float_hook=Decimal)
"""As `loads`, in a third of the time."""


class AnswerProblem(Exception):
    """An answer that cannot be believed. The client turns it into the error whose class fits the operation."""

    def __init__(self, problem: Problem, message: str, escrow_id: str | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message
        self.escrow_id = escrow_id


class Answer(msgspec.Struct, frozen=True):
    """A JSON object that came with a success, the service's clock (`Date`) if it told, and our id of the request."""

    body: Mapping[str, Any]
    server_time: datetime | None = None
    request_id: str | None = None

    def text(self, name: str) -> str | None:
        """Return a text field; None when absent, null or without a name."""
        value = self.body.get(name) if name else None
        if value is not None and not isinstance(value, str):
            raise AnswerProblem(Problem.MALFORMED, f"{name} is {_kind(value)}, not a text")
        return value

    def amount(self, name: str) -> Usdc | None:
        """Return an amount, which the service sends as a JSON number or a decimal text."""
        value = self.body.get(name) if name else None
        try:
            return None if value is None else Usdc.parse(value)
        except AmountError as error:
            raise AnswerProblem(Problem.WRONG_AMOUNT, f"{name}: {error.message}") from None

    def count(self, name: str) -> int:
        """Return a whole number that has to be there."""
        value = self.body.get(name)
        if type(value) is not int or value < 0:
            raise AnswerProblem(Problem.MISSING_FIELD, f"{name} is {_kind(value)}, not a count")
        return value

    def instant(self, name: str) -> datetime | None:
        """Return a time, which comes as ISO 8601 or as seconds since 1970, in UTC."""
        value = self.body.get(name) if name else None
        try:
            if isinstance(value, str):
                moment = datetime.fromisoformat(value)
                return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            if isinstance(value, int | Decimal) and not isinstance(value, bool):
                return datetime.fromtimestamp(float(value), UTC)
        except (ValueError, OverflowError, OSError):
            raise AnswerProblem(Problem.MALFORMED, f"{name} is not a time") from None
        if value is None:
            return None
        raise AnswerProblem(Problem.MALFORMED, f"{name} is {_kind(value)}, not a time")

    def escrow_id(self) -> str | None:
        """Return the id of the escrow that the answer speaks of."""
        value = self.text("escrow_id")
        try:
            return None if value is None else checked_escrow_id(value)
        except BadInput as error:
            raise AnswerProblem(Problem.MALFORMED, error.message) from None

    def status(self) -> EscrowStatus | None:
        """Return the escrow's status in our words."""
        word = self.text("status")
        if word is not None and word not in STATUS_WORDS:
            raise AnswerProblem(Problem.UNKNOWN_STATUS, f"{excerpt(word, 40)!r} is no known status of an escrow")
        return None if word is None else STATUS_WORDS[word]

    def token(self, name: str) -> str | None:
        """Return the token that a create left in this field, bare or in brackets at its end."""
        text = self.text(name) or ""
        found = _TOKEN_AT_END.search(text)
        return found[1] if found else text or None

    def entries(self, name: str, among: Collection[str] | None = None) -> Iterator["Answer"]:
        """Yield the objects of a list that has to be there.

        Of a list of escrows each is read when its turn comes: a hundred thousand at once are 90 MB of Python objects.

        Args:
            among: Of a list of escrows, those that are wanted whole; of any other its id alone, at a tenth of the time.
        """
        values = self.body.get(name)
        if isinstance(values, msgspec.Raw):
            return self._each(name, values, among)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise AnswerProblem(Problem.MISSING_FIELD, f"{name} is {_kind(values)}, not a list of objects")
        return (Answer(value, self.server_time, self.request_id) for value in values)

    def _each(self, name: str, raw: msgspec.Raw, among: Collection[str] | None) -> Iterator["Answer"]:
        try:
            for each in msgspec.json.decode(raw, type=list[msgspec.Raw]):
                if among is not None and (escrow_id := _IDENTIFIED.decode(each).escrow_id) not in among:
                    yield Answer({"escrow_id": escrow_id}, self.server_time, self.request_id)
                    continue
                value = _entry(each)
                if not isinstance(value, dict):
                    raise AnswerProblem(Problem.MISSING_FIELD, f"{name} has {_kind(value)}, not only objects")
                yield Answer(value, self.server_time, self.request_id)
        except ValueError:
            raise AnswerProblem(Problem.MISSING_FIELD, f"{name} is no list of objects") from None


def _entry(raw: msgspec.Raw) -> Any:
    try:
        return _ENTRY.decode(raw)
    except msgspec.DecodeError:  # it takes no half of a surrogate, which harms nobody
        return loads(bytes(raw))


def required(value: T | None, name: str) -> T:
    """Return the value, or fail naming the field that is missing."""
    if value is None:
        raise AnswerProblem(Problem.MISSING_FIELD, f"the answer has no {name}")
    return value


def _kind(value: object) -> str:
    return "missing" if value is None else f"a JSON {type(value).__name__}"
