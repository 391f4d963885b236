"""One Job, one look: from what is seen of a Job and its Escrow to the next thing done about them.

Every path writes to the Escrow before it sends anything that moves money, so a crash anywhere is made good by the next
look, whether an event, a retry or the periodic list brings it.
"""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from runtime.contract import ESCROW_ID_ANNOTATION, Phase
from runtime.errors import Permanent, PurpleFleaError
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import Forbidden
from runtime.kubernetes.escrow import OPEN, Escrow, new_escrow
from runtime.kubernetes.escrow_journals import SettlementJournal, read_record
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events
from runtime.kubernetes.shape import Json, stamp
from runtime.money import MICRO
from runtime.operator.claims import Claims
from runtime.operator.funding import Funding
from runtime.operator.job_objects import JobObjects
from runtime.operator.jobs import (
    AnnotationError,
    Ending,
    JobFacts,
    ended_as_recorded,
    failure_reason,
    job_of,
    parse_escrow_id,
    parse_request,
)
from runtime.operator.metrics import Metrics
from runtime.operator.phase_cache import PhaseCache
from runtime.operator.review import ReviewRequired, command, require_review
from runtime.payments import Escrow as FoundEscrow
from runtime.payments import EscrowStatus, Operation, PaymentsClient, escrow_token
from runtime.settlement.driver import Progress, Settler, intent_after
from runtime.settlement.record import Case, Settlement
from runtime.settlement.table import ActResult, Intent, Outcome

_log = logging.getLogger(__name__)

_CLOSED_BY_OTHERS: Final = {
    EscrowStatus.RELEASED: (Intent.RELEASE, Outcome.PAID),
    EscrowStatus.DISPUTED: (Intent.DISPUTE, Outcome.DISPUTED),
    EscrowStatus.REFUNDED: (Intent.CANCEL, Outcome.REFUNDED),
    EscrowStatus.CANCELLED: (Intent.CANCEL, Outcome.CANCELLED),
}

_NOT_HELD: Final = (
    "the Job was not suspended when it was first seen, so it runs before its money is locked: the job gate was not in"
    " force when it was created"
)

_WORK_GOES_ON: Final = (Phase.PENDING, Phase.FUNDED)

SOON_SECONDS: Final = 2.0
"""A settlement that is tried again within this time, as in its first twenty seconds, is worth its Job's wait."""


class Reconciler:
    """Looks at Jobs: one look at a time a Job, many Jobs at once."""

    def __init__(
        self,
        api: KubernetesApi,
        client: PaymentsClient,
        funding: Funding,
        claims: Claims,
        known: PhaseCache,
        events: Events,
        metrics: Metrics,
        *,
        auto_release: bool,
    ) -> None:
        self._client = client
        self._jobs = JobObjects(api)
        self._escrows = EscrowObjects(api)
        self._journal = SettlementJournal(self._escrows)
        self._settler = Settler(client, self._journal)
        self._funding = funding
        self._events = events
        self._metrics = metrics
        self._auto_release = auto_release
        self._claims = claims
        self._known = known
        self._resumed: dict[str, int] = {}
        """UID → resource version at which a Job was resumed: what is older shows it suspended still."""

    async def look(self, job: JobFacts) -> float | None:
        """Do the next thing about one Job; the seconds after which to look again, or None."""
        delay: float | None = None
        try:
            escrow = await self._escrows.get(job.namespace, job.uid) or await self._adopt(job)
            if escrow is None:
                if job.ending:
                    await self._jobs.remove_finalizer(job)
                return None
            absent = job.gone and job.ending is None
            job = ended_as_recorded(job_of(escrow) if absent else job, escrow)
            if escrow.phase is Phase.PENDING:
                if not job.ending:
                    job = await self._jobs.hold(job)
                escrow, delay = await self._bind(job, escrow)
            if escrow.phase is Phase.PENDING and job.ending:
                # Whether money is locked for it the service does not tell yet; the Job need not wait for that.
                escrow = await self._escrows.set_status(escrow, jobEnding=job.ending_status())
            if escrow.phase is Phase.FUNDED:
                await self._prepare_job(job, escrow)
            if escrow.phase in (Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING):
                escrow, delay = await self._settle(job, escrow)
        except ReviewRequired as case:
            escrow = await require_review(self._escrows, self._events, job, case)
        phase = escrow.phase
        self._known.note(job.uid, phase)
        if phase is not Phase.FUNDED:
            self._resumed.pop(job.uid, None)
        if phase not in OPEN:
            await self._escrows.remove_finalizer(escrow)
        on_record = phase not in _WORK_GOES_ON or escrow.ending is not None
        # Whoever waited for a Job's deletion may delete the operator's rights next: the account is better closed then.
        closes_soon = phase in OPEN and delay is not None and delay <= SOON_SECONDS
        if on_record and not closes_soon:
            await self._jobs.remove_finalizer(job, settled=phase not in OPEN)
        return delay

    async def let_go_on_record(self, job: JobFacts) -> None:
        """Let go of a Job whose end is on record, though its account is open: another operator closes it."""
        escrow = await self._escrows.get(job.namespace, job.uid)
        if escrow and escrow.ending:
            await self._jobs.remove_finalizer(job)

    async def _adopt(self, job: JobFacts) -> Escrow | None:
        """The Escrow of a Job that has none yet; None when the Job asks for nothing or its namespace ends."""
        if job.escrow_id is None and job.request is None:
            return None
        escrow_id, payee, amount, problem = None, None, None, ""
        try:
            if job.escrow_id is not None:
                escrow_id = parse_escrow_id(job.escrow_id)
            else:
                request = parse_request(job.request or "")
                payee, amount = request.payee, self._funding.amount(request)
                if not (job.suspended or job.ending):
                    problem = _NOT_HELD
        except AnnotationError as error:
            problem = str(error)
        wanted = new_escrow(
            job.namespace,
            job.name,
            job.uid,
            dialect=self._client.dialect.name,
            token=escrow_token(job.uid),
            escrow_id=escrow_id,
            payee=payee,
            amount=amount,
        )
        try:
            escrow = await self._escrows.create(wanted)
        except Forbidden as error:
            if not job.deleting:
                raise
            _log.warning("no Escrow for Job %s/%s: %s", job.namespace, job.name, error)  # the namespace terminates
            return None
        if problem and escrow.phase is Phase.PENDING:
            remedy = (
                "Nothing was sent. Create the Job anew with a right annotation, then close this with escrowctl resolve."
            )
            raise ReviewRequired(escrow, problem, remedy)
        return escrow

    async def _bind(self, job: JobFacts, escrow: Escrow) -> tuple[Escrow, float | None]:
        """From Pending to Funded: take the escrow that the annotation names, or have one created."""
        if escrow.escrow_id is None:
            return await self._funding.fund(job, escrow)
        claim = await self._claims.hold(escrow)
        return await self._escrows.set_status(escrow, **claim, **await self._first_look(job, escrow.escrow_id)), None

    async def _first_look(self, job: JobFacts, escrow_id: str) -> Json:
        """Status of a newly bound Escrow, with what the service tells of it where it can be read one by one."""
        status: Json = {"phase": Phase.FUNDED.value, "lockedAt": stamp(datetime.now(UTC))}
        if not self._client.supports(Operation.READ):
            return status
        try:
            found = await self._client.read_escrow(escrow_id)
        except Permanent as error:
            words = f"escrow {escrow_id} cannot be confirmed: {error}"
            await self._events.post(job, "EscrowNotConfirmed", words, warning=True)
        except PurpleFleaError as error:
            _log.warning("escrow %s not read yet: %s", escrow_id, error)
        else:
            if found.amount is not None:
                status["lockedUsdc"] = str(found.amount)
            if found.auto_release_at is not None:
                status["autoReleaseAt"] = stamp(found.auto_release_at)
        return status

    async def _prepare_job(self, job: JobFacts, escrow: Escrow) -> None:
        """While the work goes on: the finalizer stands, a funded Job is told its escrow and resumed, once."""
        escrow_id = escrow.escrow_id
        if job.ending or job.gone or escrow_id is None:
            return
        if job.waits_for_us:
            if int(job.version) < self._resumed.get(job.uid, 0):
                return
            if not job.unanswered and job.request is not None:
                words = "the Job was suspended after its escrow was funded; it is resumed, for its money is locked"
                await self._events.post(job, "JobResumed", words, warning=True)
            self._resumed[job.uid] = await self._jobs.resume(job, escrow_id)
        if job.escrow_id not in (None, escrow_id):
            words = f"annotation {ESCROW_ID_ANNOTATION} was changed after the escrow was bound; {escrow_id} pays"
            await self._events.post(job, "EscrowAnnotationIgnored", words, warning=True)
        await self._jobs.hold(job)

    async def _settle(self, job: JobFacts, escrow: Escrow) -> tuple[Escrow, float | None]:
        """Act on the end of the Job, or go on with what was decided before."""
        record = read_record(escrow)
        recorded = escrow.ending is not None
        if record is None and job.ending is None and not job.gone:
            return escrow, None
        if record is None and job.gone and job.ending in (None, Ending.DELETED) and not recorded:
            problem = "the Job vanished before its end was seen; nothing was sent"
            remedy = "Find out whether the work was done, then escrowctl resolve --release or --dispute."
            raise ReviewRequired(escrow, problem, remedy)
        extra = {} if record or recorded else {"jobEnding": job.ending_status()}
        if record is None and job.ending is Ending.COMPLETE and not self._auto_release:
            if not recorded:
                escrow = await self._escrows.set_status(escrow, **extra)
            return escrow, None
        extra |= await self._claims.hold(escrow)  # bound by an earlier version, or retried by a person
        case = _case_again(record) if record else await self._case(job, escrow)
        with self._journal.opened(escrow, extra) as entry:
            progress = await self._settler.settle(case)
        await self._report(job, record, progress)
        return entry.escrow, progress.retry_after_seconds

    async def _case(self, job: JobFacts, escrow: Escrow) -> Case:
        succeeded = job.ending is Ending.COMPLETE
        return Case(
            key=job.uid,
            escrow_id=escrow.escrow_id or "",
            intent=intent_after(self._client, succeeded=succeeded),
            reason=f"Job {job.name} completed" if succeeded else failure_reason(job, await self._jobs.pods(job)),
            locked=escrow.amount,
            payee=escrow.spec.payee,
        )

    async def _report(self, job: JobFacts, before: Settlement | None, progress: Progress) -> None:
        """Tell of an end, once: metrics and an event."""
        record = progress.record
        if (
            record.answer
            and record.answer.kind is not ActResult.ACCEPTED
            and record.answer != (before and before.answer)
        ):
            self._metrics.api_errors.labels("payments", record.answer.kind).inc()
        if record.phase in OPEN or (before and before.phase not in OPEN):
            return
        self._metrics.settlements.labels(record.intent, record.outcome or Phase.NEEDS_REVIEW).inc()
        if record.outcome is Outcome.PAID and record.paid is not None:
            self._metrics.paid.inc(record.paid.micro / MICRO)
        if job.ended_at and record.closed_at:
            self._metrics.settlement_seconds.observe(max(0.0, (record.closed_at - job.ended_at).total_seconds()))
        if record.phase is Phase.NEEDS_REVIEW:
            words = f"escrow {record.escrow_id}: {record.remedy} {command(job)}"
            await self._events.post(job, "EscrowNeedsReview", words, warning=True)
            return
        amount = record.locked if record.paid is None else record.paid
        words = f"escrow {record.escrow_id}: {'an unknown amount' if amount is None else f'{amount} USDC'}"
        words += f" to {record.payee or 'its payee'}" if record.outcome is Outcome.PAID else f"; {record.reason}"
        await self._events.post(job, f"Escrow{record.outcome}", words, warning=record.outcome is not Outcome.PAID)

    async def closed_by_others(self, escrow: Escrow, found: FoundEscrow) -> None:
        """Record of a funded Escrow how another closed it at the service. Raises `JournalConflict`."""
        intent, outcome = _CLOSED_BY_OTHERS[found.status]
        job = job_of(escrow)
        try:
            claim = await self._claims.hold(escrow)
        except ReviewRequired as case:
            await require_review(self._escrows, self._events, job, case)
            self._known.note(job.uid, Phase.NEEDS_REVIEW)
            return
        now = datetime.now(UTC)
        reason = f"found {found.status} at the payment service, and the operator had sent nothing"
        case = Case(job.uid, found.id, intent, reason, found.amount, found.payee)
        record = replace(
            Settlement.decided(case, now),
            phase=Phase.SETTLED,
            outcome=outcome,
            drift=True,
            evidence=reason,
            closed_at=now,
        )
        with self._journal.opened(escrow, claim):
            await self._journal.write(record)
        self._known.note(job.uid, Phase.SETTLED)
        self._metrics.settlements.labels("none", outcome).inc()
        await self._events.post(job, "EscrowDrift", f"escrow {found.id}: {reason}", warning=True)


def _case_again(record: Settlement) -> Case:
    return Case(record.key, record.escrow_id, record.intent, record.reason, record.locked, record.payee)
