"""Settles the escrow of a Job that has ended, and reports it once: by metrics and by an event."""

from datetime import UTC, datetime

from runtime.contract import Phase
from runtime.kubernetes.claims import ReviewRequired
from runtime.kubernetes.escrow import OPEN, SETTLED, Ending, Escrow
from runtime.kubernetes.escrow_journals import SettlementJournal, read_record
from runtime.money import MICRO
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.jobs import JobFacts, failure_reason, job_of
from runtime.operator.metrics import Metrics
from runtime.operator.review import command, require_review
from runtime.operator.waits import Waits, condition, reason_of
from runtime.payments import Escrow as FoundEscrow
from runtime.payments import PaymentsClient
from runtime.settlement.driver import Progress, Settler, intent_after
from runtime.settlement.reading import closed_by_others
from runtime.settlement.record import Case, Settlement
from runtime.settlement.table import ActResult, Outcome


class Settlements:
    """Settles escrows through the one `Settler`, with the Escrow objects as its journal."""

    def __init__(self, objects: ClusterObjects, client: PaymentsClient, metrics: Metrics) -> None:
        self._objects = objects
        self._client = client
        self._metrics = metrics
        self._journal = SettlementJournal(objects.escrows)
        self._settler = Settler(client, self._journal)
        self._waits = Waits(objects.escrows, objects.events)

    async def settle(self, job: JobFacts, escrow: Escrow) -> tuple[Escrow, float | None]:
        """Act on the end of the Job, or continue what was decided before; the seconds until the next round, or None.

        Raises:
            ReviewRequired: Another Job holds the claim on the escrow.
        """
        record = read_record(escrow)
        extra = {} if record or escrow.ending is not None else {"jobEnding": job.ending_status()}
        extra |= await self._objects.claims.hold(escrow)  # bound by an earlier version, or retried by a person
        case = _case_again(record) if record else await self._case(job, escrow)
        with self._journal.opened(escrow, extra) as entry:
            progress = await self._settler.settle(case)
        await self._report(job, entry.escrow, record, progress)
        return await self._as_it_waits(job, entry.escrow, progress), progress.retry_after_seconds

    async def _as_it_waits(self, job: JobFacts, escrow: Escrow, progress: Progress) -> Escrow:
        """A payment that waits for the service says so, once; when it is closed it says that too."""
        if progress.error is not None and escrow.is_open:
            return await self._waits.note(job, escrow, SETTLED, reason_of(progress.error), str(progress.error))
        told = escrow.condition(SETTLED)
        if told is None or told.status == "True" or escrow.phase is not Phase.SETTLED:
            return escrow
        ended = condition(SETTLED, True, f"{escrow.status.outcome or 'Settled'}", "the payment service answered")
        return await self._objects.escrows.set_status(escrow, conditions=escrow.with_condition(ended))

    async def _case(self, job: JobFacts, escrow: Escrow) -> Case:
        succeeded = job.ending is Ending.COMPLETE
        pods = [] if succeeded else await self._objects.jobs.pods(job)
        return Case(
            key=job.uid,
            escrow_id=escrow.escrow_id or "",
            intent=intent_after(self._client, succeeded=succeeded),
            reason=f"Job {job.name} completed" if succeeded else failure_reason(job, pods),
            locked=escrow.amount,
            payee=escrow.spec.payee,
        )

    async def record_closing_by_others(self, escrow: Escrow, found: FoundEscrow) -> Phase:
        """Record that somebody else closed a funded Escrow's escrow at the service; the phase as written.

        Raises `JournalConflict`.
        """
        job = job_of(escrow)
        try:
            claim = await self._objects.claims.hold(escrow)
        except ReviewRequired as case:
            return (await require_review(self._objects, job, case)).phase
        reason = f"found {found.status} at the payment service; for it {escrow.what_was_sent}"
        record = closed_by_others(job.uid, found, reason, datetime.now(UTC))
        with self._journal.opened(escrow, claim):
            await self._journal.write(record)
        self._metrics.settlements.labels("none", record.outcome).inc()
        await self._objects.events.post(job, "EscrowDrift", f"escrow {found.id}: {reason}", warning=True)
        return Phase.SETTLED

    async def _report(self, job: JobFacts, escrow: Escrow, before: Settlement | None, progress: Progress) -> None:
        record = progress.record
        answer, told = record.answer, before and before.answer
        if progress.error is not None:
            self._metrics.api_errors.labels("payments", reason_of(progress.error)).inc()
        if answer and answer.kind is not ActResult.ACCEPTED and answer != told:
            self._metrics.api_errors.labels("payments", answer.kind).inc()
        if record.phase in OPEN or (before and before.phase not in OPEN):
            return
        self._count(job, record)
        if record.phase is Phase.NEEDS_REVIEW:
            words = f"escrow {record.escrow_id}: {record.remedy} {command(escrow)}"
            await self._objects.events.post(job, "EscrowNeedsReview", words, warning=True)
            return
        amount = record.locked if record.paid is None else record.paid
        words = f"escrow {record.escrow_id}: {'an unknown amount' if amount is None else f'{amount} USDC'}"
        paid = record.outcome is Outcome.PAID
        words += f" to {record.payee or 'its payee'}" if paid else f"; {record.reason}"
        await self._objects.events.post(job, f"Escrow{record.outcome}", words, warning=not paid)

    def _count(self, job: JobFacts, record: Settlement) -> None:
        self._metrics.settlements.labels(record.intent, record.outcome or Phase.NEEDS_REVIEW).inc()
        if record.outcome is Outcome.PAID and record.paid is not None:
            self._metrics.paid.inc(record.paid.micro / MICRO)
        if job.ended_at and record.closed_at:
            self._metrics.settlement_seconds.observe(max(0.0, (record.closed_at - job.ended_at).total_seconds()))


def _case_again(record: Settlement) -> Case:
    return Case(record.key, record.escrow_id, record.intent, record.reason, record.locked, record.payee)
