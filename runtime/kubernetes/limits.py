"""What a namespace may ask for: how much, for whom, and by which escrows. Pure.

The operator's settings say it for every namespace, and `spec` of a namespace's Budget, field by field, for that one.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Final

import msgspec

from runtime.kubernetes.escrow import Amount
from runtime.money import Usdc
from runtime.redaction import excerpt

SETTINGS: Final = "the operator's settings"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is locked: a word for the condition, and a sentence that names the rule."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be locked at one time, and in one day; None for no bound."""

    locked: Usdc | None = None
    daily: Usdc | None = None

    @property
    def is_set(self) -> bool:
        """Whether it bounds anything."""
        return self.locked is not None or self.daily is not None


class BudgetSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a Budget: what the platform says of this namespace. What it leaves out is as in the settings."""

    namespace_usdc: Amount | None = None
    namespace_daily_usdc: Amount | None = None
    agent_usdc: Amount | None = None
    agent_daily_usdc: Amount | None = None
    payee_usdc: Amount | None = None
    payee_daily_usdc: Amount | None = None
    job_usdc: Amount | None = None
    payees: tuple[str, ...] | None = None
    bring_escrows: bool | None = None
    allowed_escrows: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a namespace, each of its agents, payees and Jobs.

    Args:
        namespace: All of it.
        agent: Each agent.
        payee: Each payee.
        job: The most for one Job.
        payees: Who may be paid; `*` stands for any characters.
        bring_escrows: Whether Jobs may bring an escrow that somebody made for them.
        allowed_escrows: Escrows that a Job may bring although their terms do not name it: `ID` for any Job,
            `ID=NAMESPACE/WORK` for one, by its name or work id; with `*`, too.
        zone: Whose days they are.
        where: Who says so, for people.
    """

    namespace: Limit = Limit()
    agent: Limit = Limit()
    payee: Limit = Limit()
    job: Usdc | None = None
    payees: tuple[str, ...] = ("*",)
    bring_escrows: bool = True
    allowed_escrows: tuple[str, ...] = ()
    zone: tzinfo = UTC
    where: str = SETTINGS

    def day(self, moment: datetime) -> str:
        """The date on which a moment counts."""
        return moment.astimezone(self.zone).date().isoformat()

    @property
    def are_set(self) -> bool:
        """Whether a sum has to be kept."""
        return any(limit.is_set for limit in (self.namespace, self.agent, self.payee))

    def refusal(self, payee: str | None, amount: Usdc | None) -> Refusal | None:
        """Why one Job may not have this paid to this payee, whatever else is locked. What is unknown is refused."""
        if not any(matches(pattern, payee or "") for pattern in self.payees):
            words = (
                f"payee {payee or 'unknown'} is none of those that may be paid ({excerpt(', '.join(self.payees), 400)})"
            )
            return Refusal("PayeeNotAllowed", f"{words}: payees in {self.where}")
        if self.job is not None and amount is None:
            return Refusal("AmountUnknown", f"the service does not tell how much it holds: jobUsdc in {self.where}")
        if self.job is not None and amount is not None and amount > self.job:
            words = f"{amount} USDC are more than the {self.job} that one Job may have locked"
            return Refusal("OverJobLimit", f"{words}: jobUsdc in {self.where}")
        return None

    def allow_escrow(self, escrow_id: str, works: Collection[str]) -> bool:
        """Whether a Job of one of these names, `NAMESPACE/NAME`, may bring this escrow whatever its terms say."""
        for entry in self.allowed_escrows:
            pattern, tied, work = entry.partition("=")
            if matches(pattern, escrow_id) and (not tied or any(matches(work, one) for one in works)):
                return True
        return False

    def overridden(self, spec: BudgetSpec, where: str) -> "Limits":
        """The same with what a Budget says of its namespace."""
        said = {name: value for name in BudgetSpec.__struct_fields__ if (value := getattr(spec, name)) is not None}
        if not said:
            return self
        names = ("namespace", "agent", "payee")
        sums = {
            name: Limit(
                said.get(f"{name}_usdc", getattr(self, name).locked),
                said.get(f"{name}_daily_usdc", getattr(self, name).daily),
            )
            for name in names
        }
        return replace(
            self,
            **sums,
            job=said.get("job_usdc", self.job),
            payees=said.get("payees", self.payees),
            bring_escrows=said.get("bring_escrows", self.bring_escrows),
            allowed_escrows=said.get("allowed_escrows", self.allowed_escrows),
            where=f"{where} and {self.where}",
        )


def matches(pattern: str, text: str) -> bool:
    """Whether the text is as the pattern says, in which `*` stands for any characters and all else for itself."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
