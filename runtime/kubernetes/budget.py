"""The Budget custom resource: what is reserved of a namespace's limits. The arithmetic alone, no I/O.

Every change is an operation on a `Book`, and each may be repeated: an entry of `pending` or `returned` tells one that
was done. The Escrow says the rest. Its label `BUDGET_LABEL` means that it takes part and was not returned yet, its
`status.reservation` that what it holds is counted here for good.

1. `reserve` adds an entry to `pending`, and the amount to what is locked and spent. Only then may anything be sent.
2. The reservation is written into the Escrow together with the note of the create; a write that meets another fails.
3. `confirm` drops the entry once the money is locked; `release` drops it and gives the amount back.
4. `give_back`, once the Escrow is settled, notes its name in `returned`; the label goes; `forget` drops the name.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from runtime.contract import (
    BUDGET_KIND,
    BUDGET_NAME,
    BUDGET_PLURAL,
    ESCROW_GROUP,
    ESCROW_VERSION,
    MOST_IN_FLIGHT,
    MOST_NAMES,
)
from runtime.kubernetes.escrow import Amount, Reservation, usdc_hook
from runtime.kubernetes.limits import BudgetSpec, Limits, Refusal
from runtime.kubernetes.shape import Json, Metadata, Moment, Shape, stamp
from runtime.money import ZERO, Usdc

BUSY: Final = "BudgetBusy"
"""Reason of a refusal that is over in a moment."""


class Line(msgspec.Struct, kw_only=True, rename="camel"):
    """What is locked, and what was locked in the book's day, of one agent or payee, or of all."""

    name: str = ""
    locked_usdc: Amount = ZERO
    spent_usdc: Amount = ZERO


class Entry(msgspec.Struct, kw_only=True, rename="camel"):
    """A reservation that nothing but the book tells of yet."""

    escrow: str
    since: Moment
    reservation: Reservation


class BudgetStatus(msgspec.Struct, kw_only=True, rename="camel"):
    """`status` of a Budget."""

    day: str = ""
    locked_usdc: Amount = ZERO
    spent_usdc: Amount = ZERO
    limit_usdc: Amount | None = None
    left_usdc: Amount | None = None
    daily_limit_usdc: Amount | None = None
    left_today_usdc: Amount | None = None
    agents: list[Line] = []
    payees: list[Line] = []
    pending: list[Entry] = []
    returned: list[str] = []


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """The object, as last read or written; without a status what is locked already was not counted yet."""

    metadata: Metadata
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus | None = None

    def limits(self, settings: Limits) -> Limits:
        """What holds in its namespace."""
        return settings.overridden(self.spec, f"Budget {self.metadata.name}")


BUDGET: Final[Shape[Budget]] = Shape.of(BUDGET_KIND, Budget, usdc_hook)
"""How a Budget is read."""


def budgets_path(namespace: str) -> str:
    """Path of a namespace's Budgets."""
    return f"/apis/{ESCROW_GROUP}/{ESCROW_VERSION}/namespaces/{namespace}/{BUDGET_PLURAL}"


def budget_path(namespace: str) -> str:
    """Path of a namespace's one Budget."""
    return f"{budgets_path(namespace)}/{BUDGET_NAME}"


@dataclass
class Book:
    """What a Budget says, to be changed and written back."""

    day: str = ""
    """Date of what is spent; it never goes back, whatever a clock or a time zone says."""
    total: Line = field(default_factory=Line)
    agents: dict[str, Line] = field(default_factory=dict)
    payees: dict[str, Line] = field(default_factory=dict)
    pending: dict[str, Entry] = field(default_factory=dict)
    returned: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, status: BudgetStatus | None) -> "Book":
        """As the object has it."""
        if status is None:
            return cls()
        return cls(
            day=status.day,
            total=Line(locked_usdc=status.locked_usdc, spent_usdc=status.spent_usdc),
            agents={line.name: line for line in status.agents},
            payees={line.name: line for line in status.payees},
            pending={entry.escrow: entry for entry in status.pending},
            returned=dict.fromkeys(status.returned),
        )

    def copy(self) -> "Book":
        """One to change."""
        return Book(
            day=self.day,
            total=copy.copy(self.total),
            agents={name: copy.copy(line) for name, line in self.agents.items()},
            payees={name: copy.copy(line) for name, line in self.payees.items()},
            pending=dict(self.pending),
            returned=dict(self.returned),
        )

    def status(self, limits: Limits) -> Json:
        """`status` of the object, with what people want to see of it."""
        found: Json = {
            "day": self.day,
            "lockedUsdc": str(self.total.locked_usdc),
            "spentUsdc": str(self.total.spent_usdc),
            "agents": _lines(self.agents.values()),
            "payees": _lines(self.payees.values()),
            "pending": [_entry(entry) for entry in self.pending.values()],
            "returned": [*self.returned],
        }
        shown = {
            "limitUsdc": limits.namespace.locked,
            "leftUsdc": _left(limits.namespace.locked, self.total.locked_usdc),
            "dailyLimitUsdc": limits.namespace.daily,
            "leftTodayUsdc": _left(limits.namespace.daily, self.total.spent_usdc),
        }
        return found | {key: None if amount is None else str(amount) for key, amount in shown.items()}

    def begin(self, day: str) -> None:
        """Begin a new day, if it is one: nothing is spent yet."""
        if day <= self.day:
            return
        self.day = day
        for line in (self.total, *self.agents.values(), *self.payees.values()):
            line.spent_usdc = ZERO

    def reserve(self, escrow: str, wanted: Reservation, limits: Limits, now: datetime) -> Reservation | Refusal:
        """Reserve for an Escrow, once: what is reserved, or why nothing is."""
        if (entry := self.pending.get(escrow)) is not None:
            return entry.reservation
        if refusal := limits.refusal(wanted.payee, wanted.amount_usdc) or self._refusal(wanted, limits):
            return refusal
        if len(self.pending) >= MOST_IN_FLIGHT:
            return Refusal(BUSY, f"{len(self.pending)} escrows are being created, and their outcome is not known")
        self.pending[escrow] = Entry(escrow=escrow, since=now, reservation=wanted)
        self._count(wanted)
        return wanted

    def adopt(self, escrow: str, counted: Reservation, now: datetime) -> Reservation:
        """Reserve what is locked already, whatever the limits say: before there was a budget, or beside it."""
        if (entry := self.pending.get(escrow)) is not None:
            return entry.reservation
        self.pending[escrow] = Entry(escrow=escrow, since=now, reservation=counted)
        self._count(counted)
        return counted

    def confirm(self, escrow: str, reservation_id: str) -> None:
        """The Escrow says it now: drop the entry. That of another attempt was counted beside it, and is taken back."""
        if (entry := self.pending.pop(escrow, None)) is not None and entry.reservation.id != reservation_id:
            self._uncount(entry.reservation, spent=True)

    def release(self, escrow: str) -> None:
        """Nothing was locked. Only once the Escrow was written since: what still went on with it stops by that."""
        if (entry := self.pending.pop(escrow, None)) is not None:
            self._uncount(entry.reservation, spent=True)

    def give_back(self, escrow: str, counted: Reservation) -> bool:
        """Its Escrow is settled: no more is locked of it, and what was spent stays spent. False: come back later."""
        if escrow in self.returned:
            return True
        if len(self.returned) >= MOST_IN_FLIGHT:
            return False
        self.confirm(escrow, counted.id)
        self.returned[escrow] = None
        self._uncount(counted, spent=False)
        return True

    def forget(self, escrow: str) -> None:
        """Its Escrow says that it was returned."""
        self.returned.pop(escrow, None)

    def add(self, counted: Reservation, *, locked: bool = True) -> None:
        """Count what is reserved already: as locked, and as spent where it is of the book's day; or as spent alone."""
        self._count(counted)
        if not locked:
            self._uncount(counted, spent=False)

    def recount(self, counted: "Book") -> None:
        """Set what is locked to what was counted; what was spent stays."""
        self.total.locked_usdc = counted.total.locked_usdc
        for lines, found in ((self.agents, counted.agents), (self.payees, counted.payees)):
            for name in {*lines, *found}:
                line = lines.setdefault(name, Line(name=name))
                line.locked_usdc = found.get(name, Line()).locked_usdc
        self._drop_empty_lines()

    def _refusal(self, wanted: Reservation, limits: Limits) -> Refusal | None:
        agent = self.agents.get(wanted.agent, Line())
        payee = self.payees.get(wanted.payee, Line())
        for what, line, limit in (
            ("the namespace", self.total, limits.namespace),
            (f"agent {wanted.agent}" if wanted.agent else "the Jobs without an agent's label", agent, limits.agent),
            (f"payee {wanted.payee}", payee, limits.payee),
        ):
            amount, locked, spent = wanted.amount_usdc, line.locked_usdc, line.spent_usdc
            if limit.locked is not None and locked + amount > limit.locked:
                bound = f"the {limit.locked} that {what} may have locked at one time"
                return Refusal("OverBudget", f"{locked} USDC are locked; {amount} more would exceed {bound}")
            if limit.daily is not None and spent + amount > limit.daily:
                bound = f"the {limit.daily} a day of {what}"
                return Refusal("OverBudget", f"{spent} USDC were locked today; {amount} more would exceed {bound}")
        for lines, name, what in ((self.agents, wanted.agent, "agents"), (self.payees, wanted.payee, "payees")):
            if name not in lines and len(lines) >= MOST_NAMES:
                return Refusal("OverBudget", f"{MOST_NAMES} {what} have something locked, or spent today; no more fit")
        return None

    def _lines(self, counted: Reservation) -> tuple[Line, Line, Line]:
        agent = self.agents.setdefault(counted.agent, Line(name=counted.agent))
        return self.total, agent, self.payees.setdefault(counted.payee, Line(name=counted.payee))

    def _count(self, counted: Reservation) -> None:
        for line in self._lines(counted):
            line.locked_usdc += counted.amount_usdc
            if counted.day == self.day:
                line.spent_usdc += counted.amount_usdc

    def _uncount(self, counted: Reservation, *, spent: bool) -> None:
        for line in self._lines(counted):
            line.locked_usdc = _less(line.locked_usdc, counted.amount_usdc)
            if spent and counted.day == self.day:
                line.spent_usdc = _less(line.spent_usdc, counted.amount_usdc)
        self._drop_empty_lines()

    def _drop_empty_lines(self) -> None:
        for lines in (self.agents, self.payees):
            for name in [name for name, line in lines.items() if line.locked_usdc == line.spent_usdc == ZERO]:
                del lines[name]


def _less(amount: Usdc, by: Usdc) -> Usdc:
    """Never below zero: somebody edited the object by hand, and the rest of it still counts."""
    return amount - by if by <= amount else ZERO


def _left(limit: Usdc | None, used: Usdc) -> Usdc | None:
    return None if limit is None else _less(limit, used)


def _lines(lines: Iterable[Line]) -> list[Json]:
    return [
        {"name": line.name, "lockedUsdc": str(line.locked_usdc), "spentUsdc": str(line.spent_usdc)} for line in lines
    ]


def _entry(entry: Entry) -> Json:
    return {"escrow": entry.escrow, "since": stamp(entry.since), "reservation": entry.reservation.as_written()}
