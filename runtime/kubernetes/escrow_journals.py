"""The Escrow objects as the journals of settlements and creates: what is written down before anything is sent."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import stamina

from runtime.contract import Phase
from runtime.kubernetes.errors import ObjectNotFound, WriteConflict, is_transient
from runtime.kubernetes.escrow import AnswerNote, Escrow, Reservation
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.shape import Json, stamp
from runtime.payments.creation import Creation
from runtime.redaction import excerpt
from runtime.settlement.record import JournalConflict, LastAnswer, Settlement

_AMOUNTS: Final = {"locked": "lockedUsdc", "paid": "paidUsdc", "fee": "feeUsdc", "referral": "referralUsdc"}
_TIMES: Final = {"decided_at": "decidedAt", "refund_at": "autoReleaseAt", "closed_at": "closedAt"}
_TEXTS: Final = {"reason": 1024, "evidence": 4096, "remedy": 1024}


def status_of(record: Settlement, phase: Phase) -> Json:
    """The part of `status` that holds a settlement. Unknown amounts are absent, never zero.

    `phase` is the object's so far: it never goes back from Verifying, even when an act turns out not to have left.
    """
    answer = record.answer
    status: Json = {
        "phase": (phase if phase is Phase.VERIFYING and record.phase is Phase.DECIDED else record.phase).value,
        "intent": record.intent.value,
        "attempts": record.attempts,
        "drift": record.drift,
        "payee": record.payee,
        "outcome": record.outcome.value if record.outcome else None,
        "lastAnswer": answer
        and {
            "kind": answer.kind.value,
            "time": stamp(answer.at),
            "status": answer.status,
            "code": excerpt(answer.code, 128) or None,
            "digest": answer.digest or None,
        },
    }
    for field, key in _AMOUNTS.items():
        amount = getattr(record, field)
        status[key] = None if amount is None else str(amount)
    for field, key in _TIMES.items():
        moment = getattr(record, field)
        status[key] = moment and stamp(moment)
    for field, limit in _TEXTS.items():
        text = getattr(record, field)
        status[field] = (text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}") or None
    return status


def read_record(escrow: Escrow) -> Settlement | None:
    """The settlement in an Escrow's status, or None before anything was decided."""
    status, decided_at = escrow.status, escrow.status.decided_at
    if status.intent is None or decided_at is None or escrow.escrow_id is None:
        return None
    return Settlement(
        key=escrow.work.key,
        escrow_id=escrow.escrow_id,
        intent=status.intent,
        phase=status.phase,
        reason=status.reason,
        decided_at=decided_at,
        locked=status.locked_usdc,
        payee=escrow.payee,
        attempts=status.attempts,
        answer=None if status.last_answer is None else _read_answer(status.last_answer),
        outcome=status.outcome,
        drift=status.drift,
        paid=status.paid_usdc,
        fee=status.fee_usdc,
        referral=status.referral_usdc,
        refund_at=status.auto_release_at,
        evidence=status.evidence,
        remedy=status.remedy,
        closed_at=status.closed_at,
        version=escrow.metadata.resource_version,
    )


def _read_answer(note: AnswerNote) -> LastAnswer:
    return LastAnswer(kind=note.kind, at=note.time, status=note.status, code=note.code, digest=note.digest)


@dataclass
class OpenEscrow:
    """An Escrow object while its settlement is worked on.

    Args:
        escrow: The object as last read or written; a stale one fails at the first write, and is then read anew.
        extra: Further status fields that go along with the first write.
        stale: Somebody else wrote it since.
    """

    escrow: Escrow
    extra: Json
    stale: bool = False


class SettlementJournal:
    """`runtime.settlement`'s journal on the status of the Escrow objects; the key is the work's."""

    def __init__(self, escrows: EscrowObjects) -> None:
        self._escrows = escrows
        self._open: dict[str, OpenEscrow] = {}

    @contextmanager
    def opened(self, escrow: Escrow, extra: Json) -> Generator[OpenEscrow]:
        """Work on this object within the block. Raises `JournalConflict` while another block works on it."""
        key = escrow.work.key
        if key in self._open:
            raise JournalConflict(f"the Escrow of Job {key} is being worked on")
        self._open[key] = OpenEscrow(escrow, extra)
        try:
            yield self._open[key]
        finally:
            del self._open[key]

    async def load(self, key: str) -> Settlement | None:
        """The record in the object."""
        entry = self._open[key]
        if entry.stale:
            entry.escrow = await self._escrows.get(entry.escrow.namespace, entry.escrow.name) or entry.escrow
        return read_record(entry.escrow)

    async def write(self, record: Settlement) -> Settlement:
        """Write the record into the status; raises `JournalConflict` when somebody else wrote first."""
        entry = self._open[record.key]
        status = status_of(record, entry.escrow.phase) | entry.extra
        try:
            entry.escrow = await self._escrows.set_status(entry.escrow, **status)
        except (WriteConflict, ObjectNotFound) as error:
            entry.stale = True
            raise JournalConflict(str(error)) from error
        entry.extra = {}
        return replace(record, version=entry.escrow.metadata.resource_version)


class CreationJournal:
    """`payments.creation`'s journal: the create in `status.creation`, the escrow's id in the spec, set once."""

    def __init__(
        self, escrows: EscrowObjects, escrow: Escrow, reservation: Reservation | None = None, sender: str = ""
    ) -> None:
        self._escrows = escrows
        self._sender = sender
        self.escrow = escrow
        """As last read or written."""
        self._reservation: Json = {"reservation": reservation.as_written()} if reservation else {}
        """Written down with the create, and taken back with it."""

    async def read(self, token: str) -> Creation | None:
        """The create that is on record."""
        creation = self.escrow.status.creation
        if creation is None:
            return None
        return Creation(
            token=token,
            fingerprint=creation.fingerprint,
            sent_at=creation.sent_at,
            attempts=creation.attempts,
            escrow_id=self.escrow.escrow_id,
        )

    async def write(self, creation: Creation) -> None:
        """Record it, or the escrow that it made."""
        if creation.escrow_id:
            await self._bind(creation.escrow_id)
            return
        noted: dict[str, Any] = {
            "fingerprint": creation.fingerprint,
            "sentAt": stamp(creation.sent_at),
            "attempts": creation.attempts,
            **({"sender": self._sender} if self._sender else {}),
        }
        self.escrow = await self._escrows.set_status(
            self.escrow, phase=Phase.PENDING.value, creation=noted, **self._reservation
        )

    async def clear(self, token: str) -> None:
        """Forget it."""
        gone = dict.fromkeys(self._reservation)
        self.escrow = await self._escrows.set_status(self.escrow, creation=None, **gone)

    async def _bind(self, escrow_id: str) -> None:
        """Record the escrow's id, retried through conflicts and failures.

        The money is locked by now. Without the id on record, a dialect without a list could not find it again.
        """
        async for attempt in stamina.retry_context(on=_may_bind, attempts=20, timeout=25.0):
            with attempt:
                if attempt.num > 1:
                    escrow = self.escrow
                    self.escrow = await self._escrows.get(escrow.namespace, escrow.name) or escrow
                self.escrow = await self._escrows.set_spec(self.escrow, escrowId=escrow_id)


def _may_bind(error: Exception) -> bool:
    return is_transient(error) or isinstance(error, WriteConflict)
