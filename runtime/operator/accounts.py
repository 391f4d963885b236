"""Opens the Escrow of a Job, and binds it to the escrow that the Job brought."""

import logging
from datetime import UTC, datetime
from typing import Final, NamedTuple

from runtime.contract import Phase
from runtime.errors import Permanent, PurpleFleaError
from runtime.kubernetes.errors import Forbidden
from runtime.kubernetes.escrow import Escrow, new_escrow
from runtime.kubernetes.shape import Json, stamp
from runtime.money import Usdc
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.funding import Funding
from runtime.operator.jobs import AnnotationError, JobFacts, parse_escrow_id, parse_request
from runtime.operator.review import ReviewRequired
from runtime.payments import Operation, PaymentsClient, escrow_token

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

    async def bind(self, job: JobFacts, escrow: Escrow, escrow_id: str) -> Escrow:
        """From Pending to Funded, by the escrow that the Job brought.

        The claim comes first: of two Jobs that name one escrow, whatever namespaces they are in, one gets it.
        """
        claim = await self._objects.claims.hold(escrow)
        return await self._objects.escrows.set_status(escrow, **claim, **await self._confirmed(job, escrow_id))

    async def _confirmed(self, job: JobFacts, escrow_id: str) -> Json:
        """Status of a newly bound Escrow, with what the service tells of it where it can be read one by one."""
        status: Json = {"phase": Phase.FUNDED.value, "lockedAt": stamp(datetime.now(UTC))}
        if not self._client.supports(Operation.READ):
            return status
        try:
            found = await self._client.read_escrow(escrow_id)
        except Permanent as error:
            words = f"escrow {escrow_id} cannot be confirmed: {error}"
            await self._objects.events.post(job, "EscrowNotConfirmed", words, warning=True)
        except PurpleFleaError as error:
            _log.warning("escrow %s not read yet: %s", escrow_id, error)
        else:
            if found.amount is not None:
                status["lockedUsdc"] = str(found.amount)
            if found.auto_release_at is not None:
                status["autoReleaseAt"] = stamp(found.auto_release_at)
        return status
