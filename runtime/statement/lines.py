"""One account in one period as one line: where every micro-USDC of it came from and went. Pure.

For each line and so for every sum of lines

    opening + locked = paid + fee + refunded + open + disputed + review + unexplained

What nobody told is never guessed: it stands in `unexplained`, and an amount that is not known at all in no sum, but is
counted (`amount_known`). What changed hands after the period was still held at its end.
"""

from datetime import datetime
from typing import Final

import msgspec

from runtime.contract import AGENT_LABEL, REGION_LABEL, WORKERS_DEPLOYMENT, Phase, WorkKind
from runtime.kubernetes.escrow import Account, Work
from runtime.money import Usdc
from runtime.settlement.table import Outcome
from runtime.statement.period import Period

FLOWS: Final = ("paid", "fee", "refunded")
HELD: Final = ("open", "disputed", "review", "unexplained")
AMOUNTS: Final = ("opening", "locked", *FLOWS, *HELD)
"""The amounts of a line, in the order in which they are shown; `referral` is a part of `fee`."""

_BOUND: Final = (Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING)


class Line(msgspec.Struct, kw_only=True, gc=False):
    """One account in one period. Amounts are in micro-USDC.

    Args:
        locked_at: When the money was locked, by our clock.
        closed_at: When the account was closed; None while it is open.
        opening: Held when the period began.
        locked: Locked in it.
        paid: Reached the payee in it.
        fee: Kept by the service in it, the referrer's part included.
        referral: The referrer's part of it; None where the service did not tell.
        refunded: Went back to the payer in it.
        open: Held at its end, while the work goes on or is being settled.
        disputed: Held at its end, until the service decides.
        review: Held at its end, as far as is known, until a person decides.
        unexplained: Left or held by its end; the service did not tell which part of it went where.
        amount_known: False where nobody has told how much it is; then every amount is zero.
        compute: What its Job's pods cost in the period, in millionths of a dollar; None where nobody told.
    """

    namespace: str
    name: str
    uid: str
    kind: str
    work: str
    work_id: str = ""
    run: int = 1
    agent: str = ""
    payee: str = ""
    region: str = ""
    labels: dict[str, str] = {}
    dialect: str = ""
    escrow_id: str = ""
    phase: str = ""
    outcome: str = ""
    locked_at: datetime
    closed_at: datetime | None = None
    opening: int = 0
    locked: int = 0
    paid: int = 0
    fee: int = 0
    referral: int | None = 0
    refunded: int = 0
    open: int = 0
    disputed: int = 0
    review: int = 0
    unexplained: int = 0
    amount_known: bool = True
    compute: int | None = None

    @property
    def account(self) -> str:
        """Namespace and name of the Escrow."""
        return f"{self.namespace}/{self.name}"

    @property
    def held(self) -> int:
        """What was neither paid, kept nor returned by the end of the period, as far as is known."""
        return self.open + self.disputed + self.review + self.unexplained

    @property
    def margin(self) -> int | None:
        """What was paid less what the pods cost; None where either is not known."""
        if self.compute is None or not self.amount_known or self.unexplained:
            return None
        return self.paid - self.compute

    @property
    def imbalance(self) -> int:
        """What came in, less what went out and is held; anything but zero is a mistake in the account."""
        return self.opening + self.locked - self.paid - self.fee - self.refunded - self.held


def line_of(escrow: Account, period: Period) -> Line | None:
    """The account's line; None where no money of it moved or lay in the period."""
    since = locked_at(escrow)
    if since is None or since >= period.end:
        return None
    status, work, labels = escrow.status, escrow.work, escrow.metadata.labels
    line = Line(
        namespace=escrow.namespace,
        name=escrow.name,
        uid=escrow.metadata.uid,
        kind=work.kind,
        work=work.name,
        work_id=work.id or "",
        run=work.run or 1,
        agent=labels.get(AGENT_LABEL) or (status.reservation.agent if status.reservation else "") or _workers(work),
        payee=escrow.payee or "",
        region=labels.get(REGION_LABEL, ""),
        labels=labels,
        dialect=escrow.spec.dialect,
        escrow_id=escrow.escrow_id or "",
        phase=status.phase,
        outcome=status.outcome or "",
        locked_at=since,
        closed_at=status.closed_at,
    )
    facts = Facts(
        amount=_micro(escrow.amount),
        settled=status.phase is Phase.SETTLED,
        review=status.phase is Phase.NEEDS_REVIEW,
        outcome=status.outcome,
        paid=_micro(status.paid_usdc),
        fee=_micro(status.fee_usdc),
        referral=_micro(status.referral_usdc),
    )
    return line if filled(line, facts, period) else None


def _workers(work: Work) -> str:
    """Who does a Task: whichever of the workers takes it."""
    return WORKERS_DEPLOYMENT if work.kind is WorkKind.TASK else ""


def locked_at(escrow: Account) -> datetime | None:
    """Since when money is locked for the account; None where none ever was, as far as is known.

    An account that names an escrow without having bound it, because another one has it, never had any.
    """
    status = escrow.status
    closed = status.phase in (Phase.SETTLED, Phase.NEEDS_REVIEW)
    bound = (
        status.phase in _BOUND
        or status.locked_at is not None
        or status.locked_usdc is not None
        or status.claim is not None
        or (closed and escrow.work.kind is WorkKind.TASK)  # payroll binds the escrow that it creates or finds itself
    )
    if escrow.escrow_id is None or not bound:
        return None
    sent_at = status.creation.sent_at if status.creation else None
    return status.locked_at or sent_at or escrow.metadata.creation_timestamp


def in_doubt(escrow: Account) -> bool:
    """Whether a create was sent for it of which nobody knows what it locked."""
    return escrow.escrow_id is None and escrow.status.creation is not None and escrow.phase is not Phase.SETTLED


class Facts(msgspec.Struct, kw_only=True, gc=False):
    """What is known of an account's money, in micro-USDC; None is unknown.

    Args:
        settled: Whether it came to its end.
        review: Whether it waits for a person.
    """

    amount: int | None
    settled: bool
    review: bool
    outcome: Outcome | None
    paid: int | None = None
    fee: int | None = None
    referral: int | None = None


def filled(line: Line, facts: Facts, period: Period) -> bool:
    """Fill in the amounts; False where the line says nothing of this period."""
    ended = facts.settled and line.closed_at is not None and line.closed_at < period.end
    before = ended and line.closed_at is not None and line.closed_at < period.start
    if facts.amount is None:
        line.amount_known, line.referral = False, None
        return not before or facts.outcome is Outcome.DISPUTED
    if before:
        return _carried_over(line, facts, facts.amount)
    opens = line.locked_at < period.start
    line.opening, line.locked = (facts.amount, 0) if opens else (0, facts.amount)
    if ended:
        _end(line, facts, facts.amount)
    elif facts.review and line.closed_at is not None and line.closed_at < period.end:
        line.review = facts.amount
    else:
        line.open = facts.amount
    return True


def _carried_over(line: Line, facts: Facts, amount: int) -> bool:
    """What was closed before the period and still held: it lay there all the time."""
    _end(line, facts, amount)
    line.paid = line.fee = line.refunded = line.referral = 0
    line.opening = line.held
    return line.opening != 0


def _end(line: Line, facts: Facts, amount: int) -> None:
    paid, fee = facts.paid, facts.fee
    match facts.outcome:
        case Outcome.PAID:
            line.paid, line.fee = paid or 0, fee or 0
            line.referral = facts.referral
            if paid is None or fee is None:
                line.unexplained = max(0, amount - line.paid - line.fee)
        case Outcome.CANCELLED:
            line.refunded, line.fee = amount - (fee or 0), fee or 0
        case Outcome.REFUNDED if fee is not None:  # the service keeps its fee
            line.refunded, line.fee, line.referral = amount - fee, fee, facts.referral
        case Outcome.DISPUTED:
            line.disputed = amount
        case Outcome.COMPLETED:
            line.open = amount
        case _:
            line.unexplained, line.referral = amount, None


def _micro(amount: Usdc | None) -> int | None:
    return None if amount is None else amount.micro
