"""Opens the Escrow of a Job, and binds it to the escrow that the Job brought."""

import logging
from datetime import UTC, datetime
from typing import Final, NamedTuple

from runtime.contract import AGENT_LABEL, REGION_LABEL, Phase
from runtime.kubernetes.claims import ReviewRequired
from runtime.kubernetes.errors import Forbidden
from runtime.kubernetes.escrow import FUNDED, Escrow, Reservation
from runtime.kubernetes.limits import Refusal
from runtime.kubernetes.new_escrow import new_escrow
from runtime.kubernetes.shape import Json, stamp_now
from runtime.money import Usdc
from runtime.operator import brought
from runtime.operator.annotations import AnnotationError, parse_escrow_id, parse_request
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.funding import Funding
from runtime.operator.jobs import JobFacts
from runtime.operator.served import Serving
from runtime.operator.waits import reason_of, seconds_until_next_try
from runtime.operator.work_ids import service_token
from runtime.payments import PaymentsClient
from runtime.settlement.reading import Reader
from runtime.settlement.record import Case, Settlement
from runtime.settlement.table import Intent, Seen

_log = logging.getLogger(__name__)

_NOT_HELD: Final = (
    "the Job was not suspended when it was first seen, so it runs before its money is locked: the job gate was not in"
    " force when it was created"
)

_REMEDY: Final = (
    "Nothing was sent. Create the Job anew with a right annotation, then close this with escrowctl resolve."
)


class _Terms(NamedTuple):
    """What the Job's annotations say, or what is wrong with them."""

    escrow_id: str | None = None
    payee: str | None = None
    amount: Usdc | None = None
    problem: str = ""


class Accounts:
    """Opens and binds the Escrows of Jobs.

    Args:
        serving: For whom, and at which service.
    """

    def __init__(self, objects: ClusterObjects, client: PaymentsClient, funding: Funding, serving: Serving) -> None:
        self._objects = objects
        self._client = client
        self._funding = funding
        self._serving = serving
        self._reader = Reader(client)

    async def open(self, job: JobFacts, first: Escrow | None) -> Escrow | None:
        """The Escrow of a Job that asks for one; None where its namespace ends, and nothing can be created in it.

        Another Job's where that was faster with the same work. `first` is the account of the work's first run, if the
        Job may run the work again.

        Raises:
            ReviewRequired: What the Job asks for cannot be done; the Escrow says why.
        """
        terms = self._terms(job)
        run = first.status.run.number if first and first.status.run else None
        belongs = {AGENT_LABEL: job.agent, REGION_LABEL: job.region}  # what a statement groups by
        wanted = new_escrow(
            job.namespace,
            job.name,
            job.uid,
            dialect=self._client.dialect.name,
            token=service_token(job.namespace, job.uid, job.work_id, run),
            escrow_id=terms.escrow_id,
            payee=terms.payee,
            amount=terms.amount,
            work_id=job.work_id,
            run=run,
            payer=self._serving.payer,
            service=self._serving.service,
            counts=self._objects.budgets.are_kept(job.namespace),
            labels={label: value for label, value in belongs.items() if value},
        )
        try:
            escrow = await self._objects.escrows.create(wanted)
        except Forbidden as error:
            if not job.deleting:
                raise
            _log.warning("no Escrow for Job %s/%s: %s", job.namespace, job.name, error)
            return None
        if terms.problem and escrow.phase is Phase.PENDING and escrow.work.uid == job.uid:
            raise ReviewRequired(escrow, terms.problem, _REMEDY)
        return escrow

    def _terms(self, job: JobFacts) -> _Terms:
        try:
            if job.work_id_problem:
                raise AnnotationError(job.work_id_problem)
            if job.escrow_id is not None:
                return _Terms(escrow_id=parse_escrow_id(job.escrow_id))
            request = parse_request(job.request or "")
            problem = "" if job.suspended or job.ending else _NOT_HELD
            return _Terms(payee=request.payee, amount=self._funding.amount(request), problem=problem)
        except AnnotationError as error:
            return _Terms(problem=str(error))

    async def bind(self, job: JobFacts, escrow: Escrow, escrow_id: str) -> tuple[Escrow, float | None]:
        """From Pending to Funded, by the escrow that the Job brought; the object, and the seconds until the next try.

        The service is asked first: the Job runs only for money that was seen, open, the payer's own, and that whoever
        locked it meant for this work. Of two Jobs that may name one escrow the claim lets one have it.

        Raises:
            ReviewRequired: It is no such escrow.
        """
        limits, ours = await self._objects.budgets.limits(job.namespace), brought.is_ours(escrow)
        allowed = ours or limits.allow_escrow(escrow_id, brought.names_of(escrow))
        if not (allowed or limits.bring_escrows):
            words = f"Jobs of this namespace may not bring escrows: bringEscrows in {limits.where}"
            return await self._refused(job, escrow, Refusal("EscrowNotAllowed", words))
        agreed = Case(escrow.work.key, escrow_id, Intent.RELEASE, "", escrow.spec.amount_usdc, escrow.spec.payee)
        observed = await self._reader.read(Settlement.decided(agreed, datetime.now(UTC)))
        if observed.seen is Seen.SILENT:
            waiting = await self._funding.wait(job, escrow, reason_of(observed.error), observed.note)
            return waiting, observed.delay_seconds or seconds_until_next_try(waiting, FUNDED)
        problem = brought.unusable(observed, self._serving.payer)
        if problem := problem or ("" if allowed else brought.unnamed(escrow, observed.escrow)):
            await self._objects.claims.refuse_taken(escrow)
            raise ReviewRequired(escrow, f"escrow {escrow_id}: {problem}", brought.remedy(escrow))
        if not ours and (refusal := brought.forbidden(limits, escrow, observed.escrow)):
            return await self._refused(job, escrow, refusal)
        # The claim comes last: whoever names an escrow that is not for them never holds it.
        claim = await self._objects.claims.hold(escrow)
        return await self._bound(job, escrow, claim | brought.told(observed.escrow))

    async def _bound(self, job: JobFacts, escrow: Escrow, news: Json) -> tuple[Escrow, float | None]:
        """Within the budgets, Funded."""
        status = {"phase": Phase.FUNDED.value, "lockedAt": stamp_now(), **news}
        budgets = self._objects.budgets
        # What a Job that has ended brought is only ended with it: nothing begins that a budget could hold back.
        if budgets.are_kept(job.namespace) and job.ending:
            status["reservation"] = budgets.nothing(escrow).as_written()
        elif budgets.are_kept(job.namespace):
            found = await self._funding.reserve_brought(job, escrow, status)
            if not isinstance(found, Reservation):
                return found
            status["reservation"] = found.as_written()
        escrow = await self._objects.escrows.set_status(escrow, **status)
        budgets.confirm(escrow)
        return escrow, None

    async def _refused(self, job: JobFacts, escrow: Escrow, refusal: Refusal) -> tuple[Escrow, float | None]:
        """A rule of the platform's forbids it: the Job waits; one that has ended leaves the escrow to a person."""
        if job.ending:
            raise ReviewRequired(escrow, f"escrow {escrow.escrow_id}: {refusal.message}", brought.remedy(escrow))
        return await self._funding.held_back(job, escrow, refusal)
