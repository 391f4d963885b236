"""Lines added up, by whatever they are grouped by. Exact: whole micro-USDC, without a bound."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Final

from runtime.contract import WorkKind
from runtime.errors import BadInput
from runtime.statement.lines import AMOUNTS, Line
from runtime.statement.period import Period

GROUPS: Final = {
    "account": lambda line: line.account,
    "agent": lambda line: line.agent,
    "kind": lambda line: line.kind,
    "namespace": lambda line: line.namespace,
    "outcome": lambda line: line.outcome or line.phase,
    "payee": lambda line: line.payee,
    "region": lambda line: line.region,
    "work": lambda line: f"{line.namespace}/{line.work}",
}
"""What lines can be grouped by, beside `label:KEY`; a work is a Job or a Task."""

_LABEL: Final = "label:"
NONE: Final = "(none)"
"""Stands for what a line does not have, e.g. an agent."""

Key = Callable[[Line], str]


def grouping(words: str) -> Key:
    """What one line belongs to, for `agent`, `label:team`, or several with commas between.

    Raises:
        BadInput: An unknown word.
    """
    keys = [_key(word.strip()) for word in words.split(",")]
    if len(keys) == 1:
        return lambda line: keys[0](line) or NONE
    return lambda line: " ".join(key(line) or NONE for key in keys)


def _key(word: str) -> Key:
    if word.startswith(_LABEL) and (label := word.removeprefix(_LABEL)):
        return lambda line: line.labels.get(label, "")
    if word not in GROUPS:
        raise BadInput(f"--by {word}: there are {', '.join(GROUPS)} and label:KEY")
    return GROUPS[word]


class Sums:
    """What several lines come to, in micro-USDC."""

    __slots__ = (
        *(*AMOUNTS, "accounts", "amounts_unknown", "referral", "referrals_unknown"),
        *("compute", "computed", "computes_unknown", "margin", "margins", "margins_unknown"),
    )

    def __init__(self) -> None:
        self.accounts = self.amounts_unknown = self.referral = self.referrals_unknown = 0
        self.opening = self.locked = self.paid = self.fee = self.refunded = 0
        self.open = self.disputed = self.review = self.unexplained = 0
        self.compute = self.computed = self.computes_unknown = 0  # of how many Jobs, and of how many nobody told
        self.margin = self.margins = self.margins_unknown = 0

    def add(self, line: Line) -> None:
        """One line more."""
        self.accounts += 1
        self.opening += line.opening
        self.locked += line.locked
        self.paid += line.paid
        self.fee += line.fee
        self.refunded += line.refunded
        self.open += line.open
        self.disputed += line.disputed
        self.review += line.review
        self.unexplained += line.unexplained
        if line.referral is None:
            self.referrals_unknown += 1
        else:
            self.referral += line.referral
        self.amounts_unknown += not line.amount_known
        if line.kind == WorkKind.JOB:
            self._add_compute(line)

    def _add_compute(self, line: Line) -> None:
        if line.compute is None:
            self.computes_unknown += 1
            self.margins_unknown += 1
            return
        self.compute += line.compute
        self.computed += 1
        if (margin := line.margin) is None:
            self.margins_unknown += 1
        else:
            self.margin += margin
            self.margins += 1

    def join(self, other: "Sums") -> None:
        """Other lines more."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def amount(self, name: str) -> int:
        """The sum of one of the amounts."""
        return getattr(self, name)


@dataclass
class Statement:
    """All lines of a period, added up as they come.

    Args:
        by: What each line belongs to.
        doubts: Accounts for which a create was sent, and nobody knows what it locked.
        notes: What a reader should know besides, a sentence each.
        flaws: What makes this statement incomplete or wrong, a sentence each; empty for one that adds up.
    """

    period: Period
    by: Key
    words: str = "namespace"
    groups: dict[str, Sums] = field(default_factory=dict)
    agents: dict[str, int] = field(default_factory=dict)
    """What each agent's accounts paid, in micro-USDC."""
    days: dict[date, int] = field(default_factory=dict)
    """What was paid on each day, in micro-USDC."""
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)

    @property
    def total(self) -> Sums:
        """All groups together."""
        total = Sums()
        for group in self.groups.values():
            total.join(group)
        return total

    def add(self, line: Line) -> None:
        """One line more; what does not add up in it becomes a flaw."""
        key = self.by(line)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Sums()
        group.add(line)
        if line.paid and line.closed_at is not None:
            day, agent = self.period.day(line.closed_at), line.agent or NONE
            self.days[day] = self.days.get(day, 0) + line.paid
            self.agents[agent] = self.agents.get(agent, 0) + line.paid
        if line.imbalance:
            came, went = line.opening + line.locked, line.paid + line.fee + line.refunded
            self.flaws.append(
                f"{line.account}: {shown(came)} came in, {shown(went)} went out and {shown(line.held)} is held;"
                f" {shown(line.imbalance)} USDC apart"
            )


@lru_cache(maxsize=4096)  # of a hundred thousand most are one of a few
def shown(micro: int) -> str:
    """Micro-USDC as decimal text with all six decimals, so that no reader rounds: `0.100000`, `-0.000001`."""
    whole, part = divmod(abs(micro), 1_000_000)
    return f"{'-' if micro < 0 else ''}{whole}.{part:06d}"
