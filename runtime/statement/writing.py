"""What every form of a statement is written by, and the plain ones: a table, CSV and JSON."""

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TextIO

from runtime.kubernetes.shape import stamp
from runtime.statement.compute import Compute
from runtime.statement.lines import AMOUNTS, Line
from runtime.statement.reconciliation import PLACES, Findings
from runtime.statement.sums import Statement, Sums, shown


@dataclass(frozen=True)
class Result:
    """A finished statement.

    Args:
        made_at: When.
        findings: What the comparison with the payment service found; None where it was not asked for.
        compute: What Jobs cost, or why nobody knows; None where no OpenCost was asked.
    """

    statement: Statement
    made_at: datetime
    findings: Findings | None = None
    compute: Compute | None = None

    @property
    def problems(self) -> list[str]:
        """Everything that keeps it from adding up, a sentence each."""
        return [*self.statement.flaws, *(self.findings.differences if self.findings else ())]


class Writer(Protocol):
    """One form. Lines come one at a time, so that nobody has to hold them all."""

    def line(self, line: Line) -> None:
        """One line more."""

    def end(self, result: Result) -> None:
        """No more lines."""


_FACTS: Final = (
    "namespace", "name", "kind", "work", "work_id", "run", "agent", "payee", "region", "dialect", "escrow_id", "phase",
    "outcome",
)  # fmt: skip
COLUMNS: Final = (*_FACTS, "locked_at", "closed_at", *(f"{name}_usdc" for name in (*AMOUNTS, "referral")))
"""Of the CSV, and the keys of an account in the JSON."""
COMPUTE_COLUMNS: Final = ("compute_usd", "margin_usdc")
"""Further ones, where OpenCost has answered."""


def row(line: Line, *, compute: bool = False) -> dict[str, Any]:
    """A line by `COLUMNS`: amounts as decimal text with six decimals, None where nobody told."""
    found: dict[str, Any] = {name: getattr(line, name) for name in _FACTS}
    found["locked_at"] = stamp(line.locked_at)
    found["closed_at"] = stamp(line.closed_at) if line.closed_at else None
    for name in AMOUNTS:
        found[f"{name}_usdc"] = shown(getattr(line, name)) if line.amount_known else None
    found["referral_usdc"] = told(line.referral)
    if compute:
        found |= {"compute_usd": told(line.compute), "margin_usdc": told(line.margin)}
    return found


def told(micro: int | None) -> str | None:
    """An amount as text; None stays None."""
    return None if micro is None else shown(micro)


class Csv:
    """One row for each account; empty is unknown."""

    def __init__(self, out: TextIO, *, compute: bool = False) -> None:
        self._rows = csv.writer(out)
        self._rows.writerow([*COLUMNS, *(COMPUTE_COLUMNS if compute else ())])
        self._compute = compute

    def line(self, line: Line) -> None:
        """One row. A name is free text: one that begins like a formula must stay text in a spreadsheet."""
        cells = row(line, compute=self._compute)
        for name in _FACTS:
            if (text := f"{cells[name]}") and text[0] in "=+-@\t\r":
                cells[name] = f"'{text}"
        self._rows.writerow(cells.values())

    def end(self, result: Result) -> None:
        """Nothing more: sums of a column are the spreadsheet's."""


class Json:
    """One document: `accounts`, then what they come to."""

    def __init__(self, out: TextIO, *, compute: bool = False) -> None:
        self._out = out
        self._compute = compute
        self._between = '{"accounts": [\n'

    def line(self, line: Line) -> None:
        """One object of `accounts`."""
        self._out.write(self._between + json.dumps(row(line, compute=self._compute)))
        self._between = ",\n"

    def end(self, result: Result) -> None:
        """The sums, the doubts and what the comparison found."""
        statement, findings = result.statement, result.findings
        rest = {
            "period": {
                "since": stamp(statement.period.since) if statement.period.since else None,
                "until": stamp(statement.period.until) if statement.period.until else None,
            },
            "made_at": stamp(result.made_at),
            "currency": "USDC",
            "total": amounts(statement.total, compute=self._compute),
            "by": statement.words,
            "groups": {key: amounts(sums, compute=self._compute) for key, sums in sorted(statement.groups.items())},
            "paid_by_day": {f"{day}": shown(paid) for day, paid in sorted(statement.days.items())},
            "notes": statement.notes,
            "doubts": statement.doubts,
            "flaws": statement.flaws,
            "reconciliation": findings and as_json(findings),
            "compute": result.compute and {"by": result.compute.source, "why_not": result.compute.why_not or None},
            "adds_up": not result.problems,
        }
        opening = '{"accounts": [' if self._between.startswith("{") else ""
        self._out.write(f"{opening}\n], {json.dumps(rest, indent=1)[1:]}\n")


def amounts(sums: Sums, *, compute: bool = False) -> dict[str, Any]:
    """Sums as decimal texts, beside how many accounts they are of."""
    found: dict[str, Any] = {"accounts": sums.accounts, "amounts_unknown": sums.amounts_unknown}
    found |= {f"{name}_usdc": shown(sums.amount(name)) for name in (*AMOUNTS, "referral")}
    found["referrals_unknown"] = sums.referrals_unknown
    if compute:
        found |= {
            "compute_usd": told(sums.compute if sums.computed else None),
            "computes_unknown": sums.computes_unknown,
        }
        found |= {"margin_usdc": told(sums.margin if sums.margins else None), "margins_unknown": sums.margins_unknown}
    return found


def as_json(findings: Findings) -> dict[str, Any]:
    """What the comparison found."""
    places = {
        place: {"accounts_usdc": shown(findings.here[place]), "service_usdc": shown(findings.there[place])}
        for place in PLACES
    }
    return {
        "by": findings.by or None,
        "compared": findings.compared,
        "places": places,
        "differences": findings.differences,
        "notes": findings.notes,
        "unseen": findings.unseen,
    }


class Table:
    """The groups as columns, the total, and in words whether it adds up."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def line(self, line: Line) -> None:
        """Groups only: one line for each account is the CSV's."""

    def end(self, result: Result) -> None:
        """All of it."""
        statement = result.statement
        self._out.write(f"{statement.period}, in USDC\n\n")
        rows = [*sorted(statement.groups.items()), ("total", statement.total)]
        names = columns(result)
        cells = [[statement.words.upper(), "ACCOUNTS", *(name.upper() for name in names)]]
        cells += [[key, f"{sums.accounts}", *(cell(sums, name) for name in names)] for key, sums in rows]
        widths = [max(len(each[column]) for each in cells) for column in range(len(cells[0]))]
        for each in cells:
            padded = [f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(each, widths, strict=True))]
            self._out.write("  ".join(padded).rstrip() + "\n")
        self._out.write("\n" + "\n".join(words(result)) + "\n")


def columns(result: Result) -> tuple[str, ...]:
    """The amounts of a sum that are shown."""
    known = result.compute is not None and not result.compute.why_not
    return (*AMOUNTS, "referral", *(("compute", "margin") if known else ()))


def cell(sums: Sums, name: str) -> str:
    """One amount of a sum, and of how many it is not known: `0.001500+3?`. A dash where there is no Job."""
    known, unknown = {
        "referral": (1, sums.referrals_unknown),
        "compute": (sums.computed, sums.computes_unknown),
        "margin": (sums.margins, sums.margins_unknown),
    }.get(name, (1, 0))
    amount = shown(sums.amount(name)) if known else ""
    return f"{amount}+{unknown}?" if unknown else amount or "-"


def words(result: Result) -> list[str]:
    """Whether it adds up, what is in doubt, what was compared: a sentence each."""
    statement, total, findings = result.statement, result.statement.total, result.findings
    came, went = total.opening + total.locked, total.paid + total.fee + total.refunded
    held = total.open + total.disputed + total.review + total.unexplained
    lines = [
        f"opening {shown(total.opening)} + locked {shown(total.locked)} = paid {shown(total.paid)} + fee "
        f"{shown(total.fee)} + refunded {shown(total.refunded)} + held {shown(held)}"
    ]
    if came != went + held:
        lines.append(f"these are {shown(came - went - held)} apart")
    if total.amounts_unknown:
        lines.append(f"in no sum, because the service did not tell their amount: {_accounts(total.amounts_unknown)}")
    if total.referrals_unknown:
        lines.append(f"the service did not tell the referrer's part: {_accounts(total.referrals_unknown)}")
    if result.compute:
        lines.append(_computed(result.compute, total))
    lines += [*statement.notes, *(f"in doubt: {doubt}" for doubt in statement.doubts)]
    if findings:
        lines += _compared(findings)
    lines += [f"DIFFERENCE: {problem}" for problem in result.problems]
    lines.append("it does not add up" if result.problems else "it adds up")
    return lines


def _computed(compute: Compute, total: Sums) -> str:
    if compute.why_not:
        return f"no compute, no margin: {compute.why_not}"
    unknown = f"; {total.computes_unknown} have none there" if total.computes_unknown else ""
    return f"compute is what {compute.source} says of {total.computed} Jobs{unknown}; margin is paid less compute"


def _accounts(count: int) -> str:
    return f"{count} account{'' if count == 1 else 's'}"


def _compared(findings: Findings) -> list[str]:
    lines = [f"held against the service: {_accounts(findings.compared)}"] if findings.by else []
    for place in PLACES if findings.by else ():
        here, there = findings.here[place], findings.there[place]
        lines.append(f"  {place}: accounts {shown(here)}, service {shown(there)}, apart {shown(here - there)}")
    lines += [f"known: {note}" for note in findings.notes]
    return [*lines, *(f"not seen: {unseen}" for unseen in findings.unseen)]
