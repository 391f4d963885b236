"""What is written down about one settlement: enough to go on after any crash, and to explain it years later."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final, Protocol

from runtime.contract import Phase
from runtime.money import Usdc
from runtime.settlement.table import ActResult, Intent, Outcome

CLOSED: Final = (Phase.SETTLED, Phase.NEEDS_REVIEW)
"""Phases in which nothing is sent any more."""


class JournalConflict(Exception):
    """Somebody else wrote the record first: stop, read it again, go on from there."""


class CaseMismatch(Exception):
    """A case's key was used before for another escrow, amount, payee or intent: a mistake of the caller."""


@dataclass(frozen=True, slots=True)
class Case:
    """One piece of work whose escrow is to be settled.

    Args:
        key: Identity of the work, e.g. the Job's UID; one settlement a key, for ever.
        escrow_id: The escrow that pays for it.
        intent: What the end of the work calls for.
        reason: Why, in words; sent along with a dispute.
        locked: The agreed amount; None where only the service knows it.
        payee: The agreed payee; None where only the service knows it.
    """

    key: str
    escrow_id: str
    intent: Intent
    reason: str
    locked: Usdc | None = None
    payee: str | None = None


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """The answer to our last act.

    Args:
        kind: What it amounts to.
        at: When it was noted, UTC.
        status: HTTP status; None without an answer.
        code: The service's or our word for what was wrong, e.g. `invalid_status`, `timeout`.
        digest: First 16 hex digits of the SHA-256 of the answer as understood; tells two answers apart.
    """

    kind: ActResult
    at: datetime
    status: int | None = None
    code: str = ""
    digest: str = ""

    @property
    def is_note(self) -> bool:
        """Whether it only says that an act was about to be sent: no answer to it is on record."""
        return self.kind in (ActResult.SENT, ActResult.UNKNOWN) and not self.digest


@dataclass(frozen=True, slots=True)
class Settlement:
    """The record of one settlement. Amounts that the service has not told are None, never zero.

    Args:
        key: The case's key.
        escrow_id: The escrow.
        intent: What was decided; fixed but for `resolve`.
        phase: Decided, Verifying, Settled or NeedsReview.
        reason: Why it was decided.
        decided_at: When, UTC.
        locked: Agreed or read amount.
        payee: Agreed or read payee.
        attempts: Acts sent whose answer was not a plain yes.
        answer: The last answer.
        outcome: How it ended; only when Settled.
        drift: It did not end as intended, by another's act or the time-out.
        paid: What the payee received, net of fee.
        fee: What Purple Flea kept.
        referral: The referrer's part of the fee.
        refund_at: When the service refunds by itself (`auto_release_at`).
        evidence: What is known, for a person.
        remedy: What a person should do; only in NeedsReview.
        closed_at: When it became Settled or NeedsReview, UTC.
        version: The journal's mark for compare-and-swap; empty before the first write.
    """

    key: str
    escrow_id: str
    intent: Intent
    phase: Phase
    reason: str
    decided_at: datetime
    locked: Usdc | None = None
    payee: str | None = None
    attempts: int = 0
    answer: LastAnswer | None = None
    outcome: Outcome | None = None
    drift: bool = False
    paid: Usdc | None = None
    fee: Usdc | None = None
    referral: Usdc | None = None
    refund_at: datetime | None = None
    evidence: str = ""
    remedy: str = ""
    closed_at: datetime | None = None
    version: str = ""

    @classmethod
    def decided(cls, case: Case, now: datetime) -> "Settlement":
        """Return the first record of a case: the intent, before anything is sent."""
        return cls(case.key, case.escrow_id, case.intent, Phase.DECIDED, case.reason, now, case.locked, case.payee)

    def check(self, case: Case) -> None:
        """Raise `CaseMismatch` unless this is the record of that very case."""
        for name in ("escrow_id", "intent", "locked", "payee"):
            ours, asked = getattr(self, name), getattr(case, name)
            if asked is not None and ours is not None and asked != ours:
                raise CaseMismatch(
                    f"settlement {self.key}: {name} is {ours} since {self.decided_at:%Y-%m-%d %H:%M} and cannot become "
                    f"{asked}; only a person's resolve changes an intent"
                )


class Journal(Protocol):
    """Where records are kept. The operator's is the Escrow object, the demo's and the Fly agent's is SQLite."""

    async def load(self, key: str) -> Settlement | None:
        """Return the record as last written, with its version."""
        ...

    async def write(self, record: Settlement) -> Settlement:
        """Write durably if the stored version is still `record.version` (none yet: empty); return it with the new one.

        Raises:
            JournalConflict: It is not: somebody else wrote first, and nothing was written now.
        """
        ...


def resolve(
    record: Settlement,
    *,
    by: str,
    why: str,
    now: datetime,
    intent: Intent | None = None,
    outcome: Outcome | None = None,
) -> Settlement:
    """Return the record after a person's act on a NeedsReview: try again (perhaps with another intent) or close it.

    Args:
        record: The record under review.
        by: Who decides.
        why: Their reason; it stays in the evidence.
        now: The time, UTC.
        intent: Try again with this one; None keeps the recorded intent.
        outcome: Close it with this outcome on the person's word instead of trying again.

    Raises:
        ValueError: The record is not under review, or nobody or no reason is named.
    """
    if record.phase is not Phase.NEEDS_REVIEW:
        raise ValueError(f"settlement {record.key} is {record.phase.value}, only a NeedsReview can be resolved")
    if not by.strip() or not why.strip():
        raise ValueError("a resolution names who decides and why")
    act = f"closed as {outcome}" if outcome else f"to be tried again: {intent or record.intent}"
    evidence = f"{record.evidence}\n{now:%Y-%m-%dT%H:%M:%SZ} {by}: {act}: {why}"
    if outcome:
        return replace(record, phase=Phase.SETTLED, outcome=outcome, evidence=evidence, remedy="", closed_at=now)
    return replace(
        record,
        phase=Phase.DECIDED,
        intent=intent or record.intent,
        attempts=0,
        answer=None,
        evidence=evidence,
        remedy="",
        closed_at=None,
    )


def to_json(record: Settlement) -> dict[str, Any]:
    """Return the record as plain JSON values: amounts as decimal text, times in ISO 8601; without its version."""
    return {f.name: _plain(getattr(record, f.name)) for f in fields(record) if f.name != "version"}


def _plain(value: Any) -> Any:
    if isinstance(value, LastAnswer):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Usdc) else value


def from_json(data: dict[str, Any], version: str) -> Settlement:
    """Read what `to_json` wrote."""
    values: dict[str, Any] = dict(data)
    for name in ("locked", "paid", "fee", "referral"):
        values[name] = data[name] and Usdc.parse(data[name])
    for name in ("decided_at", "refund_at", "closed_at"):
        values[name] = _time(data[name])
    for name, kind in (("intent", Intent), ("phase", Phase), ("outcome", Outcome)):
        values[name] = data[name] and kind(data[name])
    if answer := data["answer"]:
        values["answer"] = LastAnswer(**answer | {"kind": ActResult(answer["kind"]), "at": _time(answer["at"])})
    return Settlement(**values, version=version)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
