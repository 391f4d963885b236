"""Which call goes wrong, and how: rules that a test or an administrator sets."""

import random
import threading
from collections import deque
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

_REMEMBERED: Final = 50


class Kind(StrEnum):
    """What happens to the call."""

    DELAY = "delay"
    """Wait `seconds`, then go on: before the operation, or between it and its answer."""
    RESET = "reset"
    """The connection is reset (TCP RST) instead of an answer."""
    HALF = "half"
    """The head and half of the body, then the connection closes."""
    STATUS = "status"
    """Another answer: `status` (500), `body` (an error object), `headers`."""
    CONTENT_TYPE = "content_type"
    """The right bytes, called `text/plain`."""
    HTML = "html"
    """A proxy's page with `status` (502)."""
    DUPLICATE = "duplicate"
    """The whole answer twice on the wire."""
    EMPTY = "empty"
    """`status` (200) and nothing in the body."""
    REPLACE = "replace"
    """The answer's JSON with the fields of `body` put over its own."""
    LARGE = "large"
    """The answer's JSON with ten megabytes of padding."""


class Moment(StrEnum):
    """When, as seen from the ledger."""

    BEFORE = "before"
    """Nothing is done."""
    BETWEEN = "between"
    """A release: the payee is credited, the status is not changed; without another kind the answer is 500.

    A dispute: it is judged by the status that the escrow has when its head comes, then waits for `seconds` and its
    body; a release that is carried out meanwhile stands, and both are answered as done.
    """
    AFTER = "after"
    """All is done; only the answer suffers."""


@dataclass
class Fault:
    """One rule. Without `nth`, `every` and `probability` it hits every call that matches, at most `times`.

    Args:
        operation: `create`, `release`, …, or `*`.
        dialect: Only this dialect's calls.
        nth: Only the nth matching call from now on, counted from 1.
        every: Each nth matching call.
        probability: Each matching call with this chance, drawn from `seed`.
        seconds: How long a delay lasts.
    """

    operation: str
    kind: Kind = Kind.STATUS
    moment: Moment = Moment.BEFORE
    dialect: str | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    seed: int = 0
    times: int | None = None
    seconds: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seen: int = field(default=0, init=False)
    injected: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.kind, self.moment = Kind(self.kind), Moment(self.moment)
        if self.moment is Moment.BETWEEN and self.operation not in ("release", "dispute"):
            raise ValueError("only a release and a dispute have a moment between")
        for name, low, high in (
            ("nth", 1, None),
            ("every", 1, None),
            ("times", 1, None),
            ("seconds", 0, 600),
            ("probability", 0, 1),
            ("status", 200, 599),
        ):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and low <= value <= (high or value)):
                raise ValueError(f"{name} is {value!r}, not a number from {low}" + (f" to {high}" if high else ""))
        if self.kind is Kind.REPLACE and not isinstance(self.body, dict):
            raise ValueError("replace needs a body, an object whose fields go over the answer's")
        if not isinstance(self.headers, dict) or not all(isinstance(value, str) for value in self.headers.values()):
            raise ValueError("headers is an object of texts")
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Fault":
        """From JSON. Raises ValueError with the wrong field's name."""
        known = {f.name for f in fields(cls) if f.init}
        if unknown := sorted(set(document) - known):
            raise ValueError(f"unknown field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        if not isinstance(document.get("operation"), str):
            raise ValueError("operation is missing")
        return cls(**document)

    def hits(self, operation: str, dialect: str) -> bool:
        """Count a call and say whether it is to go wrong."""
        if self.operation not in ("*", operation) or self.dialect not in (None, dialect):
            return False
        self.seen += 1
        if self.times is not None and self.injected >= self.times:
            return False
        wanted = (
            (self.nth is None or self.seen == self.nth)
            and (self.every is None or self.seen % self.every == 0)
            and (self.probability is None or self._random.random() < self.probability)
        )
        self.injected += wanted
        return wanted

    def summary(self) -> dict[str, Any]:
        """The rule and its counts as JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


class Faults:
    """The rules in force and what they have done; kept in memory only, a restart is healthy again."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.rules: list[Fault] = []
        self.injected_total = 0
        self.recent: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        with self._mutex:
            self.rules.append(fault)
        return fault

    def clear(self) -> None:
        """Drop every rule; the record of what was injected stays."""
        with self._mutex:
            self.rules.clear()

    def pick(self, operation: str, dialect: str, now: int) -> Fault | None:
        """The first rule that hits this call, noted down; every rule counts the call."""
        with self._mutex:
            hits = [rule for rule in self.rules if rule.hits(operation, dialect)]
            if not hits:
                return None
            self.injected_total += 1
            self.recent.appendleft(
                {"at": now, "operation": operation, "dialect": dialect, "kind": hits[0].kind, "moment": hits[0].moment}
            )
            return hits[0]
