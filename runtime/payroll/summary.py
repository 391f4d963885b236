"""What a run says: a line for the log, an event, and before it a table of the plan."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from runtime.contract import Phase
from runtime.money import ZERO, Usdc
from runtime.payroll.evidence import Evidence
from runtime.payroll.ledger import Ledger
from runtime.payroll.plan import Action, Step
from runtime.payroll.run import Done
from runtime.redaction import excerpt
from runtime.settlement.table import Outcome

MOST_NAMED: Final = 50
"""Escrows, pods and lines that are named one by one in the log; of more the number is said."""


@dataclass
class Summary:
    """What became of a run."""

    counts: Counter[str]
    paid: Usdc
    named: list[str]
    """What a person should hear of, a line each."""
    failures: list[str]

    @property
    def text(self) -> str:
        """One line."""
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items() if count)
        return f"{self.paid} USDC paid: {counts or 'nothing was to be done'}"

    @property
    def fields(self) -> dict[str, Any]:
        """The same for whoever reads the log by machine."""
        return {"paid_usdc": str(self.paid), **{what.replace(" ", "_"): n for what, n in self.counts.items()}}

    @property
    def warns(self) -> bool:
        """Whether somebody should look."""
        return bool(self.failures or self.named or self.counts["in review"])


def said(steps: Iterable[Step], evidence: Evidence, ledger: Ledger) -> list[str]:
    """What the plan itself has to say about what it leaves."""
    lines = [f"escrow {excerpt(s.escrow, 60)} {s.why}" for s in steps if s.said and not _is_old_news(s, ledger)]
    lines += [
        f"{report.source}: task {excerpt(report.entry.task, 60)} names no escrow, so nothing is locked for it"
        for report in evidence.without_escrow
    ]
    return [*lines, *evidence.problems, *ledger.malformed]


def _is_old_news(step: Step, ledger: Ledger) -> bool:
    """Of a log that is read whole most is settled: those that nothing says anything against are counted, not named."""
    return step.account is None and step.payee is None and ledger.listed is not None


def summed_up(steps: list[Step], done: list[Done], evidence: Evidence, ledger: Ledger, missed: str) -> Summary:
    """Sum a run up."""
    counts = Counter[str]()
    paid, failures = ZERO, list[str]()
    named = [*([missed] if missed else []), *said(steps, evidence, ledger)]
    for one in done:
        if one.phase is None:
            failures.append(f"escrow {one.step.escrow}: {one.failure}")
            counts["failed"] += 1
        elif one.already:
            counts["closed already"] += 1
        elif one.phase is Phase.NEEDS_REVIEW:
            counts["in review"] += 1
            named.append(f"escrow {one.step.escrow} needs a manual decision: {one.evidence or one.step.why}")
        elif one.phase is Phase.SETTLED:
            counts[(one.outcome or Outcome.PAID).value.lower()] += 1
            if one.paid is not None:
                paid += one.paid
        else:
            counts["handed out" if one.step.action is Action.HAND_OUT else "under way"] += 1
    counts["left"] = sum(step.action is Action.LEAVE for step in steps)
    return Summary(counts, paid, named, failures)


def table(steps: Iterable[Step]) -> str:
    """The plan as a table for people."""
    head = ("ACTION", "ESCROW", "USDC", "PAYEE", "REFUND AT", "WHY")
    rows = [
        (
            step.action.value,
            step.escrow,
            "?" if step.amount is None else str(step.amount),
            step.payee or "?",
            f"{step.refund_at:%Y-%m-%d %H:%M}" if step.refund_at else "-",
            excerpt(step.why, 100),
        )
        for step in steps
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    total = sum((step.amount.micro for step in steps if step.action is Action.PAY and step.amount is not None), 0)
    return "\n".join([*lines, f"{len(rows)} escrows, {Usdc(total)} USDC to pay; nothing was changed"])
