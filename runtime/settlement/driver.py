"""The driver around `decide`: read, record the intent and that it is being sent, act, verify by reading, record.

One round sends at most one act and never sleeps: where time is needed it returns the seconds after which to try again.
It may be killed after any step and started again from the journal.

The order matters. *Read before acting*: the escrow may be closed already, by an earlier act whose answer was lost.
*Write before sending*: after a crash the record must say that the act may have happened, or it would be sent as if for
the first time. *Read after acting*: a plain 200 is the service's claim, the status is the fact.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from runtime.contract import Phase
from runtime.errors import Conflict, OutcomeUnknown, PurpleFleaError, Retryable, Unauthorized
from runtime.payments import Escrow, Operation, PaymentsClient, Receipt
from runtime.redaction import redact
from runtime.settlement.reading import Observation, Reader
from runtime.settlement.record import CLOSED, Case, Journal, JournalConflict, LastAnswer, Settlement
from runtime.settlement.table import Action, ActResult, Decision, Facts, Intent, Outcome, Seen, decide

_DOUBTFUL: Final = (ActResult.SENT, ActResult.UNKNOWN)


class Step(StrEnum):
    """The points of a round, in order; `observe` is told of each."""

    DECIDED = "decided"
    READ = "read"
    SENDING = "sending"
    ANSWERED = "answered"
    VERIFIED = "verified"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long an unclear outcome is retried before it needs a manual decision.

    Args:
        max_attempts: Acts sent for one settlement before it is `NeedsReview`.
        patience: How long the escrow may still read open after the service accepted the act; and, where the dialect
            cannot read, how long an act without an answer may still arrive. Longer than the client's own time-outs.
        flight: How long an act that was noted, and has no answer on record, may still arrive: nothing is sent again
            before. Longer than the client's whole exchange.
        prompt: How long the first read may take before the intent is written down without waiting for it.
        first_delay: Shortest time between two rounds.
        longest_delay: Longest time between two rounds, unless the service asks for more.
    """

    max_attempts: int = 5
    patience: timedelta = timedelta(seconds=90)
    flight: timedelta = timedelta(seconds=40)
    prompt: timedelta = timedelta(seconds=1)
    first_delay: timedelta = timedelta(seconds=2)
    longest_delay: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a round left the settlement.

    Args:
        record: As last written, with what this round learned.
        retry_after_seconds: When to start the next round; None once it is Settled or NeedsReview.
        error: What the service said, or did not say, in place of an answer that could be used; None where it goes on.
    """

    record: Settlement
    retry_after_seconds: float | None
    error: PurpleFleaError | None = None


def intent_after(client: PaymentsClient, *, succeeded: bool) -> Intent:
    """Return what the end of a piece of work calls for: release, else dispute, or cancel where there is no dispute."""
    if succeeded:
        return Intent.RELEASE
    return Intent.DISPUTE if client.supports(Operation.DISPUTE) else Intent.CANCEL


class _NotSent(Exception):
    """The act did not happen, by the class of the error; the note of it was taken back."""

    def __init__(self, record: Settlement, error: PurpleFleaError) -> None:
        super().__init__(str(error))
        self.record = record
        self.error = error


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(_step: Step, _record: Settlement) -> None: ...


class Settler:
    """Settles cases through one client and one journal. Share it: several cases may be settled at the same time.

    Args:
        client: Speaks for the payer (for `complete`: the payee).
        journal: Where the records are kept.
        policy: Limits on attempts and waiting.
        now: The clock, UTC.
        observe: Told of every step, for logs and metrics.
    """

    def __init__(
        self,
        client: PaymentsClient,
        journal: Journal,
        *,
        policy: Policy | None = None,
        now: Callable[[], datetime] = _utc_now,
        observe: Callable[[Step, Settlement], None] = _ignore,
    ) -> None:
        self._client = client
        self._journal = journal
        self._policy = policy or Policy()
        self._now = now
        self._observe = observe
        self._reader = Reader(client)

    async def settle(self, case: Case) -> Progress:
        """Bring one case as far as possible now, in one round. Safe to call again at any time.

        Raises:
            CaseMismatch: The key is on record for another escrow, amount, payee or intent.
        """
        try:
            return await self._round(case)
        except JournalConflict:
            # Another settler wrote first. It goes on and this one stops, or both would act on the same reading and send
            # two acts where one is recorded.
            latest = await self._journal.load(case.key)
            if latest is None:
                raise
            return self._progress(latest)

    async def _round(self, case: Case) -> Progress:
        record = await self._journal.load(case.key) or Settlement.decided(case, self._now())
        record.check(case)
        self._observe(Step.DECIDED, record)
        if record.phase in CLOSED:
            return self._progress(record)
        observed, record = await self._first_read(record)
        decision = self._decide(record, observed)
        if decision.action is not Action.ACT:
            return await self._conclude(record, decision, observed)
        try:
            acted, receipt = await self._act(record)
        except _NotSent as nothing:
            return self._progress(nothing.record, getattr(nothing.error, "delay_seconds", None), nothing.error)
        observed = await self._reader.read(acted)
        acted = self._learned(acted, observed, Step.VERIFIED)
        return await self._conclude(acted, self._decide(acted, observed), observed, receipt)

    async def _first_read(self, record: Settlement) -> tuple[Observation, Settlement]:
        """Read the escrow. A new intent is written together with what follows from it: one write instead of two.

        If the answer takes long the intent is written without waiting for it: then the Job's end is on record, and the
        Job need not be held for a slow service.
        """
        if not self._reader.asks:
            observed = await self._reader.read(record)
            return observed, self._learned(record, observed, Step.READ)
        reading = asyncio.create_task(self._reader.read(record))
        try:
            if (
                not record.version
                and not (await asyncio.wait({reading}, timeout=self._policy.prompt.total_seconds()))[0]
            ):
                record = await self._journal.write(record)
            observed = await reading
        finally:
            reading.cancel()
        return observed, self._learned(record, observed, Step.READ)

    def _learned(self, record: Settlement, observed: Observation, step: Step) -> Settlement:
        # Amount and payee on record win over what is read: a read that disagrees is evidence, never a new amount.
        if observed.escrow and observed.seen is not Seen.DISAGREES:
            record = replace(
                record,
                locked=observed.escrow.amount if record.locked is None else record.locked,
                payee=record.payee or observed.escrow.payee,
                refund_at=observed.escrow.auto_release_at or record.refund_at,
            )
        self._observe(step, record)
        return record

    def _decide(self, record: Settlement, observed: Observation) -> Decision:
        answer, now, policy = record.answer, self._now(), self._policy
        facts = Facts(
            observed.seen,
            answer.kind if answer else ActResult.NONE,
            attempts_left=record.attempts < policy.max_attempts,
            patience_left=answer is None or now - answer.at < policy.patience,
            in_flight=answer is not None and answer.is_note and now - answer.at < policy.flight,
            repeat_pays_once=self._client.dialect.repeat_pays_once,
        )
        return decide(record.intent, facts)

    async def _act(self, before: Settlement) -> tuple[Settlement, Receipt | None]:
        """Record that the act is being sent, send it once, record the answer.

        Returns the record, and the receipt of a plain yes. Raises `_NotSent`.
        """
        # Once an answer was unclear the note stays UNKNOWN until a yes: SENT would forget that doubt.
        in_doubt = before.answer is not None and before.answer.kind in _DOUBTFUL
        note = LastAnswer(ActResult.UNKNOWN if in_doubt else ActResult.SENT, self._now())
        noted = replace(before, phase=Phase.VERIFYING, attempts=before.attempts + 1, answer=note)
        noted = await self._journal.write(noted)
        self._observe(Step.SENDING, noted)
        try:
            receipt = await self._send(noted)
        except (Retryable, Unauthorized) as error:
            # Nothing happened; the class of the error says so. Take the note back, or a rate limit would use up the
            # attempts. The phase stays, because a phase never goes back.
            undone = replace(noted, attempts=before.attempts, answer=before.answer)
            raise _NotSent(await self._journal.write(undone), error) from error
        except PurpleFleaError as error:
            kind = ActResult.CONFLICT if isinstance(error, Conflict) else ActResult.REFUSED
            if in_doubt or isinstance(error, OutcomeUnknown):
                # A refusal of this act says nothing about an earlier one that may have happened: the doubt stays.
                kind = ActResult.UNKNOWN
            answer = LastAnswer(kind, self._now(), error.status, error.code or error.problem or "", _digest(str(error)))
            # A later answer takes its place on record, and this one may be what tells a person that the payee was paid.
            evidence = _joined(noted.evidence, f"attempt {noted.attempts}: {_told(answer)}")
            noted = await self._journal.write(replace(noted, answer=answer, evidence=evidence))
            self._observe(Step.ANSWERED, noted)
            return noted, None
        answer = LastAnswer(ActResult.ACCEPTED, self._now(), 200, receipt.status, _digest(repr(receipt)))
        # Not written yet: it goes into one write with what the verifying read says. After a crash before that, the note
        # above is on record, and the escrow is read before anything else is sent.
        noted = replace(noted, answer=answer)
        self._observe(Step.ANSWERED, noted)
        return noted, receipt

    async def _send(self, record: Settlement) -> Receipt:
        match record.intent:
            case Intent.RELEASE:
                return await self._client.release(record.escrow_id, record.locked, record.payee)
            case Intent.DISPUTE:
                return await self._client.dispute(record.escrow_id, record.reason)
            case Intent.CANCEL:
                return await self._client.cancel(record.escrow_id)
            case Intent.COMPLETE:
                return await self._client.complete(record.escrow_id)

    async def _conclude(
        self, record: Settlement, decision: Decision, observed: Observation, receipt: Receipt | None = None
    ) -> Progress:
        wrong = ""
        if decision.outcome is Outcome.PAID:
            record, wrong = _with_money(record, observed.escrow, receipt)
        if wrong:  # released, but the amounts do not add up: a manual decision, never a corrected figure
            decision = replace(decide(record.intent, Facts(Seen.DISAGREES)), reason=wrong)
        if decision.action in (Action.SETTLE, Action.REVIEW):
            record = replace(
                record,
                phase=Phase.SETTLED if decision.action is Action.SETTLE else Phase.NEEDS_REVIEW,
                outcome=decision.outcome,
                drift=decision.drift,
                evidence=_evidence(record, decision.reason, observed),
                remedy=decision.remedy,
                closed_at=self._now(),
            )
        elif receipt is None and record.version:  # to wait, with nothing new to write down
            return self._progress(record, observed.delay_seconds, observed.error)
        try:
            record = await self._journal.write(record)
        except JournalConflict:
            if receipt is None:
                raise
            record = await self._add_money(record.key, receipt)
        self._observe(Step.RECORDED, record)
        return self._progress(record, observed.delay_seconds, observed.error)

    async def _add_money(self, key: str, receipt: Receipt) -> Settlement:
        """Add what our act was told to the record of whoever read its effect and wrote first: nobody else knows it."""
        latest = await self._journal.load(key)
        if latest is None or latest.outcome is not Outcome.PAID or latest.paid is not None:
            raise JournalConflict(key)
        told, wrong = _with_money(latest, None, receipt)
        return latest if wrong else await self._journal.write(told)

    def _progress(
        self, record: Settlement, delay_seconds: float | None = None, error: PurpleFleaError | None = None
    ) -> Progress:
        """Return the round's result; the delay is a tenth of the settlement's age, or what the service asks for."""
        now, policy = self._now(), self._policy
        delay = max(min((now - record.decided_at) / 10, policy.longest_delay), policy.first_delay).total_seconds()
        if record.phase in CLOSED:
            return Progress(record, None)
        return Progress(record, max(delay_seconds or 0.0, delay), error)


def _with_money(record: Settlement, escrow: Escrow | None, receipt: Receipt | None) -> tuple[Settlement, str]:
    """Add what was paid, as far as the service told; the second value says what does not add up."""
    paid = receipt.amount if receipt else None
    fee = receipt.fee if receipt else None
    if fee is None:
        fee = escrow.fee if escrow else None
    locked = record.locked
    # A payment of all that was locked may be the amount before the fee: that tells neither.
    if locked is not None and paid != locked:
        told = [amount for amount in (paid, fee) if amount is not None]
        if any(amount > locked for amount in told) or (paid is not None and fee is not None and paid + fee != locked):
            return record, f"{paid} USDC were paid and {fee} kept, of {locked} locked"
        if paid is None and fee is not None:
            paid = locked - fee  # what left the escrow is either the payee's or the fee
        elif paid is not None:
            fee = locked - paid
    return replace(record, paid=paid, fee=fee, referral=receipt.referral if receipt else None), ""


def _evidence(record: Settlement, reason: str, observed: Observation) -> str:
    """Everything a person needs to see at once, below what is already there."""
    answer = record.answer
    lines = [record.evidence, f"{record.reason}: {reason}", f"attempts: {record.attempts}; read: {observed.note}"]
    if answer:
        lines.append(f"last answer: {_told(answer)}")
    return _joined(*lines)


def _told(answer: LastAnswer) -> str:
    what = " ".join(str(part) for part in (answer.kind, answer.status, answer.code) if part)
    return f"{what} at {answer.at:%Y-%m-%dT%H:%M:%SZ}"


def _joined(*lines: str) -> str:
    return redact("\n".join(line for line in lines if line))[-2000:]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
