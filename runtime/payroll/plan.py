"""What is to be done about each escrow: a pure decision over what is locked and what was said. No I/O."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from runtime.contract import Phase
from runtime.kubernetes.escrow import Escrow
from runtime.money import ZERO, Usdc
from runtime.payments import Escrow as FoundEscrow
from runtime.payroll.evidence import Evidence, Report, doubled
from runtime.payroll.ledger import Ledger
from runtime.payroll.settings import Settings
from runtime.work_log import TaskOutcome

CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""How far a worker's clock may be from ours and the service's."""

FAR: Final = datetime.max.replace(tzinfo=UTC)


class Action(StrEnum):
    """What payroll does about an escrow."""

    PAY = "pay"
    DISPUTE = "dispute"
    GO_ON = "go on"
    """With a settlement that a run began, or a person decided."""
    HAND_OUT = "hand out"
    """Open its account, so that a worker takes it."""
    LOOK = "look"
    """What became of it at the service, by somebody else's act."""
    REVIEW = "review"
    """A manual decision is needed."""
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Step:
    """One escrow, what is done about it, and why in words.

    Args:
        escrow: Its id.
        said: Whether a person should hear of it where nothing is done.
    """

    escrow: str
    action: Action
    why: str
    amount: Usdc | None = None
    payee: str | None = None
    refund_at: datetime | None = None
    since: datetime | None = None
    account: Escrow | None = None
    said: bool = False

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """What the service refunds first comes first."""
        return self.refund_at or FAR, self.since or FAR, self.escrow


def plan(ledger: Ledger, evidence: Evidence, settings: Settings, now: datetime) -> list[Step]:
    """Every step, in the order in which they are done."""
    twice = dict(doubled(evidence))
    listed = ledger.listed or {}
    ids = {*ledger.accounts, *evidence.reports, *(one.id for one in listed.values() if one.payee == settings.wallet)}
    steps = [_step(escrow_id, ledger, evidence, twice, settings, now) for escrow_id in ids]
    return [*_within_caps(sorted(steps, key=lambda step: step.order), settings)]


def _step(
    escrow_id: str, ledger: Ledger, evidence: Evidence, twice: dict[str, str], settings: Settings, now: datetime
) -> Step:
    account, reports = ledger.accounts.get(escrow_id), evidence.reports.get(escrow_id, [])
    found = (ledger.listed or {}).get(escrow_id)
    step = _known(escrow_id, found, account)
    if account and account.phase in (Phase.DECIDED, Phase.VERIFYING):
        return replace(step, action=Action.GO_ON, why="was begun before")
    if account and account.phase is Phase.NEEDS_REVIEW:
        return replace(step, why="waits for a manual decision")
    if escrow_id in ledger.of_jobs:
        return replace(step, why="it pays for a Job", said=bool(reports))
    if found is None and (ledger.listed is not None or account is None):
        if ledger.listed is not None and account is not None:
            return replace(step, action=Action.LOOK, why="is open here, and not at the service")
        return replace(step, why="is not open at the service any more, or is not the payer's", said=True)
    if step.payee != settings.wallet:
        return replace(step, why=f"is locked for {step.payee or 'nobody known'}, not for the workers", said=True)
    if not reports:
        clock = found.server_time if found and found.server_time else now  # ages do not depend on ours
        return _without_report(step, settings, clock)
    return _reported(step, reports, twice.get(escrow_id), found, now)


def _known(escrow_id: str, found: FoundEscrow | None, account: Escrow | None) -> Step:
    agreed, payee = (account.amount, account.payee) if account else (None, None)
    return Step(
        escrow_id,
        Action.LEAVE,
        "",
        amount=found.amount if found and found.amount is not None else agreed,
        payee=(found.payee if found else None) or payee,
        refund_at=(found.auto_release_at if found else None) or (account.status.auto_release_at if account else None),
        since=found.created_at if found else None,
        account=account,
    )


def _without_report(step: Step, settings: Settings, now: datetime) -> Step:
    if settings.has_work_log:
        if step.account is not None and step.account.phase is not Phase.PENDING:
            return replace(step, why="nobody has done it yet")
        return replace(step, action=Action.HAND_OUT, why="waits for a worker")
    if step.since is None:
        return replace(step, why="the service does not say how old it is", said=True)
    age = now - step.since
    if age < settings.release_age:
        return replace(step, why=f"is {int(age.total_seconds() // 60)} minutes old")
    return replace(step, action=Action.PAY, why=f"is {int(age.total_seconds() // 60)} minutes old: paid by age")


def _reported(
    step: Step, reports: Sequence[Report], other: str | None, found: FoundEscrow | None, now: datetime
) -> Step:
    outcomes = {report.entry.outcome for report in reports}
    for report in reports:
        if lie := _impossible(report, found, now):
            return replace(step, why=f"{report.source} says that its task {lie}", said=True)
    if other is not None:
        return replace(step, action=Action.REVIEW, why=f"its task was done before, under escrow {other}")
    if len(outcomes) > 1:
        return replace(step, action=Action.REVIEW, why="its task is said to be done and to have failed")
    last = reports[-1]
    entry, when = last.entry, f"{last.entry.finished:%Y-%m-%dT%H:%M:%SZ}"
    if entry.outcome is TaskOutcome.DONE:
        why = f"task {entry.task} was done by {when} ({last.source}), evidence {entry.evidence or 'none'}"
        return replace(step, action=Action.PAY, why=why)
    return replace(step, action=Action.DISPUTE, why=f"task {entry.task} failed ({last.source}): {entry.note}")


def _impossible(report: Report, found: FoundEscrow | None, now: datetime) -> str:
    entry = report.entry
    finished = entry.finished
    if finished is None:
        return "ended at no time"
    if finished > now + CLOCKS_DIFFER:
        return f"ends in the future, at {finished:%Y-%m-%dT%H:%M:%SZ}"
    if entry.started > finished + CLOCKS_DIFFER:
        return "ended before it began"
    if found and found.created_at and finished < found.created_at - CLOCKS_DIFFER:
        return "was done before its money was locked"
    return ""


def _within_caps(steps: Sequence[Step], settings: Settings) -> Iterator[Step]:
    """What is over a cap waits for a person; so does an amount that nobody knows, where there is a cap."""
    spent, by_payee = ZERO, defaultdict[str | None, Usdc](lambda: ZERO)
    for step in steps:
        if step.action is not Action.PAY or (settings.run_cap is None and settings.payee_cap is None):
            yield step
            continue
        if step.amount is None:
            yield replace(step, action=Action.REVIEW, why="nobody knows its amount, and there is a cap")
            continue
        run, payee = spent + step.amount, by_payee[step.payee] + step.amount
        over = [
            f"the cap of {cap} USDC for {what}"
            for cap, sum_, what in (
                (settings.run_cap, run, "one run"),
                (settings.payee_cap, payee, f"payee {step.payee} in one run"),
            )
            if cap is not None and sum_ > cap
        ]
        if over:
            yield replace(step, action=Action.REVIEW, why=f"{step.why}; over {over[0]}")
            continue
        spent, by_payee[step.payee] = run, payee
        yield step
