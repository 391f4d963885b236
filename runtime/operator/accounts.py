"""Opens the Escrow of a Job, and binds it to the escrow that the Job brought."""

import logging
from datetime import UTC, datetime
from typing import Final, NamedTuple

from runtime.contract import Phase
from runtime.kubernetes.errors import Forbidden
from runtime.kubernetes.escrow import FUNDED, Escrow, Reservation
from runtime.kubernetes.new_escrow import new_escrow
from runtime.kubernetes.shape import Json, stamp, stamp_now
from runtime.money import Usdc
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.funding import Funding
from runtime.operator.jobs import AnnotationError, JobFacts, parse_escrow_id, parse_request
from runtime.operator.review import ReviewRequired
from runtime.operator.waits import reason_of, seconds_until_next_try
from runtime.payments import Escrow as FoundEscrow
from runtime.payments import PaymentsClient, escrow_token
from runtime.settlement.reading import Observation, Reader
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
    """Opens and binds the Escrows of Jobs."""

    def __init__(self, objects: ClusterObjects, client: PaymentsClient, funding: Funding) -> None:
        self._objects = objects
        self._client = client
        self._funding = funding
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
        # The token comes from the work, so that the service knows it again even where the cluster has lost the account.
        identity = f"{job.namespace}/{job.work_id}" if job.work_id else job.uid
        wanted = new_escrow(
            job.namespace,
            job.name,
            job.uid,
            dialect=self._client.dialect.name,
            token=escrow_token(identity, run or 0),
            escrow_id=terms.escrow_id,
            payee=terms.payee,
            amount=terms.amount,
            work_id=job.work_id,
            run=run,
            counts=self._objects.budgets.are_set,
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

        The claim comes first: of two Jobs that name one escrow, whatever namespaces they are in, one gets it. Then the
        service is asked, where it can be: the Job runs only for money that was seen, open and the payer's own.

        Raises:
            ReviewRequired: It is no such escrow.
        """
        claim = await self._objects.claims.hold(escrow)
        agreed = Case(escrow.work.key, escrow_id, Intent.RELEASE, "", escrow.spec.amount_usdc, escrow.spec.payee)
        observed = await self._reader.read(Settlement.decided(agreed, datetime.now(UTC)))
        if observed.seen is Seen.SILENT:
            waiting = await self._funding.wait(job, escrow, reason_of(observed.error), observed.note)
            return waiting, observed.delay_seconds or seconds_until_next_try(waiting, FUNDED)
        if problem := _unusable(observed):
            raise ReviewRequired(escrow, f"escrow {escrow_id}: {problem}", _REMEDY)
        status = {"phase": Phase.FUNDED.value, "lockedAt": stamp_now(), **claim, **_told(observed.escrow)}
        budgets = self._objects.budgets
        # What a Job that has ended brought is only ended with it: nothing begins that a budget could hold back.
        if budgets.are_set and job.ending:
            status["reservation"] = budgets.nothing(escrow).as_written()
        elif budgets.are_set:
            found = await self._funding.reserve_brought(job, escrow, status)
            if not isinstance(found, Reservation):
                return found
            status["reservation"] = found.as_written()
        escrow = await self._objects.escrows.set_status(escrow, **status)
        budgets.confirm(escrow)
        return escrow, None


def _unusable(observed: Observation) -> str:
    """Why an escrow cannot pay for work that is about to begin; empty where it can, and where nobody can tell."""
    match observed.seen:
        case Seen.UNREADABLE:
            return ""
        case Seen.LOCKED | Seen.COMPLETED:
            stranger = observed.escrow is not None and observed.escrow.participant is False
            return "it is between other agents, so this payer's key cannot release it" if stranger else ""
        case Seen.NOT_FOUND | Seen.UNLISTED:
            return f"the payment service does not have it: {observed.note}"
        case Seen.DISAGREES:
            return observed.note
    return f"it was {observed.seen} before this work was bound to it, so it pays for nothing any more"


def _told(found: FoundEscrow | None) -> Json:
    """What the service says of an open escrow, as fields of `status`."""
    status: Json = {}
    if found and found.amount is not None:
        status["lockedUsdc"] = str(found.amount)
    if found and found.auto_release_at is not None:
        status["autoReleaseAt"] = stamp(found.auto_release_at)
    return status
