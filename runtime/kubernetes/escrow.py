"""The Escrow custom resource: the account of one piece of work, as everybody reads it. No I/O.

An `Escrow` is frozen and typed: amounts are `Usdc`, times are `datetime`, and what is not known is None, never zero.
Reading one whose content cannot be understood, e.g. a time that the API server let through, raises `MalformedObject`.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from runtime.contract import (
    BUDGET_LABEL,
    ESCROW_KIND,
    Phase,
    WorkKind,
)
from runtime.kubernetes.shape import Json, LabelledMetadata, Moment, Shape, stamp, stamp_now
from runtime.money import Usdc
from runtime.settlement.table import ActResult, Intent, Outcome

A = TypeVar("A", bound="Account")

OPEN: Final = (Phase.PENDING, Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING)
"""Phases in which somebody still has something to do."""

BOUND: Final = (Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING)
"""Those in which an escrow pays for it."""

NOT_SETTLED: Final = f"status.phase!={Phase.SETTLED}"
"""Field selector of the Escrows that somebody still has to do with: the settled ones only ever become more."""


class Ending(StrEnum):
    """How a Job ended."""

    COMPLETE = "Complete"
    FAILED = "Failed"
    DELETED = "Deleted"
    """Deleted before it had ended: nobody will ever set a terminal condition."""


if TYPE_CHECKING:
    Amount = Usdc
else:

    class _IsUsdc(type):
        def __instancecheck__(cls, value: object) -> bool:
            return type(value) is Usdc

    class Amount(metaclass=_IsUsdc):
        """A `Usdc`, under a name that msgspec asks our hook about: a dataclass it reads as an object with fields."""


class Work(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The piece of work that an Escrow pays for.

    Args:
        kind: A Job or a Task.
        name: The Job's name, or the task's for a person.
        uid: The Job's UID; a Job that is created anew under its name has another.
        task_id: The task's id in its worker's log.
        id: The work's identity, which stays when its object is created anew; None where nobody gave it one.
        run: Which run of the work it is, from 2 on; None for the first.
    """

    kind: WorkKind
    name: str
    uid: str | None = None
    task_id: str | None = None
    id: str | None = None
    run: int | None = None

    @property
    def key(self) -> str:
        """What tells it from every other work of its kind: the Job's UID, the task's id."""
        return (self.uid if self.kind is WorkKind.JOB else self.task_id) or ""


class _Job(msgspec.Struct, frozen=True):
    name: str
    uid: str


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`spec`: what was agreed. `payee` and `amount_usdc` are None where only the service knows them."""

    dialect: str
    token: str
    work: Work | None = None
    job: _Job | None = None
    """The Job, in an Escrow of a version that knew no other work."""
    escrow_id: str | None = None
    payee: str | None = None
    amount_usdc: Amount | None = None
    payer: str | None = None
    """Who pays, as the operator that opened it knew them; None where it did not."""
    service: str | None = None
    """URL of the payment service."""


class JobEnding(msgspec.Struct, frozen=True):
    """How the Job ended, as recorded."""

    type: Ending
    time: Moment
    message: str = ""


class CreationNote(msgspec.Struct, frozen=True, rename="camel"):
    """The create that was sent, or is about to be."""

    fingerprint: str
    sent_at: Moment
    attempts: int
    sender: str = ""
    """Digest of the key that it was sent with."""


class AnswerNote(msgspec.Struct, frozen=True):
    """What the payment service last said."""

    kind: ActResult
    time: Moment
    status: int | None = None
    code: str = ""
    digest: str = ""


FUNDED: Final = "Funded"
"""Type of the condition that says whether the money is locked, and why not."""


SETTLED: Final = "Settled"
"""Type of the condition that says why a settlement waits; only on those that had to."""


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One of `status.conditions`."""

    type: str
    status: str
    reason: str
    last_transition_time: Moment | None = None
    message: str = ""

    def as_written(self) -> Json:
        """The same as a field of `status`; of now, unless it says since when."""
        found = {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": stamp(self.last_transition_time) if self.last_transition_time else stamp_now(),
        }
        return {key: value for key, value in found.items() if value}


class Act(msgspec.Struct, frozen=True):
    """One manual decision."""

    who: str
    when: str
    what: str
    reason: str


class EarlierActs(msgspec.Struct, frozen=True):
    """The manual decisions before those that are listed: how many, and who did what when."""

    count: int
    text: str


class LatestRun(msgspec.Struct, frozen=True):
    """The latest run of the work after the first, and the UID of the one Job that it is for."""

    number: int
    uid: str


class Reservation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was reserved for it in the namespace's Budget.

    Args:
        id: Of this reservation, because another attempt has another.
        amount_usdc: How much.
        day: The date on which it was locked, by the time zone of the operator's budgets.
        agent: The Job's agent; empty where it has no label.
        payee: Who is to be paid; empty where only the service knows.
    """

    id: str
    amount_usdc: Amount
    day: str
    agent: str = ""
    payee: str = ""

    def as_written(self) -> Json:
        """As an object has it."""
        known = {"id": self.id, "amountUsdc": str(self.amount_usdc), "day": self.day}
        return {**known, "agent": self.agent, "payee": self.payee}


class Booked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of `status` what tells where the money is."""

    phase: Phase = Phase.PENDING
    outcome: Outcome | None = None
    claim: str | None = None
    payee: str | None = None
    locked_usdc: Amount | None = None
    paid_usdc: Amount | None = None
    fee_usdc: Amount | None = None
    referral_usdc: Amount | None = None
    locked_at: Moment | None = None
    closed_at: Moment | None = None
    creation: CreationNote | None = None
    reservation: Reservation | None = None
    """Counts in the Budget for as long as the label says so."""


class Status(Booked, frozen=True, kw_only=True, rename="camel"):
    """`status`: what happened. An Escrow without one is Pending."""

    intent: Intent | None = None
    attempts: int = 0
    drift: bool = False
    decided_at: Moment | None = None
    auto_release_at: Moment | None = None
    """When the service refunds by itself."""
    reason: str = ""
    evidence: str = ""
    remedy: str = ""
    job_ending: JobEnding | None = None
    last_answer: AnswerNote | None = None
    conditions: tuple[Condition, ...] = ()
    acts: tuple[Act, ...] = ()
    earlier_acts: EarlierActs | None = None
    run: LatestRun | None = None
    """Only in the account of a work's first run."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An Escrow as far as the books need it: of a hundred thousand, at two thirds of the time."""

    metadata: LabelledMetadata
    spec: Spec
    status: Booked = Booked()

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.metadata.namespace

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def work(self) -> Work:
        """What it pays for. One that was stored by an earlier version pays for a Job."""
        if self.spec.work is not None:
            return self.spec.work
        job = self.spec.job
        assert job is not None, "checked when it was read"  # noqa: S101 - see `_checked`
        return Work(kind=WorkKind.JOB, name=job.name, uid=job.uid)

    @property
    def escrow_id(self) -> str | None:
        """The escrow at the payment service; None before one is bound."""
        return self.spec.escrow_id

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        return self.status.phase

    @property
    def amount(self) -> Usdc | None:
        """The amount: as the service says it is locked, else as agreed; None while unknown."""
        return self.spec.amount_usdc if self.status.locked_usdc is None else self.status.locked_usdc

    @property
    def payee(self) -> str | None:
        """Who is paid: as agreed, else by the service's word."""
        return self.spec.payee or self.status.payee


class Escrow(Account, frozen=True, kw_only=True):
    """One account, as last read or written."""

    status: Status = Status()

    @property
    def is_open(self) -> bool:
        """True until it is Settled or NeedsReview."""
        return self.status.phase in OPEN

    @property
    def locked(self) -> Usdc | None:
        """The amount that the service says it holds; None until it has said so."""
        return self.status.locked_usdc

    @property
    def paid(self) -> Usdc | None:
        """The amount that reached the payee; None until the service has said so."""
        return self.status.paid_usdc

    def next_run(self, uid: str) -> Json:
        """`status.run` that gives one more run of its work to the Job of that UID."""
        return {"number": self.status.run.number + 1 if self.status.run else 2, "uid": uid}

    @property
    def counts(self) -> bool:
        """Whether it takes part in its namespace's Budget, and was not returned yet."""
        return BUDGET_LABEL in self.metadata.labels

    @property
    def never_sent(self) -> bool:
        """True if no escrow was bound to it, and none was asked for."""
        return self.escrow_id is None and self.status.creation is None

    @property
    def holds_money(self) -> bool:
        """Whether money may be locked for it: one was asked for, or its claim on an escrow is on record."""
        return self.status.creation is not None or self.status.claim is not None

    def with_condition(self, condition: Condition) -> list[Json]:
        """`status.conditions` with this one in the place of the one of its type."""
        others = [one.as_written() for one in self.status.conditions if one.type != condition.type]
        return [*others, condition.as_written()]

    def condition(self, of_type: str) -> Condition | None:
        """The condition of that type."""
        return next((one for one in self.status.conditions if one.type == of_type), None)

    @property
    def what_was_sent(self) -> str:
        """What was sent for it, as far as that is on record: `nothing was sent`, or what and when."""
        creation, answer, attempts = self.status.creation, self.status.last_answer, self.status.attempts
        sent = [f"a create was sent at {stamp(creation.sent_at)}"] if creation else []
        if attempts or answer:
            sent.append(f"{attempts} acts were sent" + (f", the last at {stamp(answer.time)}" if answer else ""))
        elif sent:
            sent.append("no act since")
        return ", ".join(sent) or "nothing was sent"

    @property
    def ending(self) -> JobEnding | None:
        """How its Job ended, once that is on record."""
        return self.status.job_ending

    @property
    def acts(self) -> tuple[Act, ...]:
        """Manual decisions, oldest first."""
        return self.status.acts


def usdc_hook(kind: type, value: Any) -> Any:
    """msgspec's `dec_hook` for amounts."""
    if kind is Amount:
        return Usdc.parse(value)
    raise NotImplementedError(f"{kind} has no reading")


def _checked(escrow: A, _gone: bool) -> A:
    if escrow.spec.job is None and (escrow.spec.work is None or not escrow.spec.work.key):
        raise ValueError("it does not say what it pays for: expected a Job's uid or a Task's taskId - at `$.spec.work`")
    if escrow.phase in BOUND and escrow.escrow_id is None:
        raise ValueError(f"it is {escrow.phase} without an escrow - at `$.spec.escrowId`")
    if isinstance(escrow, Escrow) and escrow.status.intent is not None and escrow.status.decided_at is None:
        raise ValueError("it has an intent, but not since when - at `$.status.decidedAt`")
    return escrow


ESCROW: Final[Shape[Escrow]] = Shape.of(ESCROW_KIND, Escrow, usdc_hook).then(_checked)
"""How an Escrow is read."""

ACCOUNT: Final[Shape[Account]] = Shape.of(ESCROW_KIND, Account, usdc_hook).then(_checked)
"""How the books read one."""
