"""Locks the money for Jobs that ask for it: one escrow a Job, within the budgets."""

from datetime import UTC, datetime
from typing import Final

from runtime.contract import ESCROW_REQUEST_ANNOTATION, MINIMUM_ESCROW_USDC, Phase
from runtime.errors import (
    Permanent,
    Rejected,
    Retryable,
    Unauthorized,
)
from runtime.kubernetes.budget import BUSY
from runtime.kubernetes.claims import ReviewRequired
from runtime.kubernetes.errors import WriteConflict
from runtime.kubernetes.escrow import FUNDED, Escrow, Reservation
from runtime.kubernetes.escrow_journals import CreationJournal
from runtime.kubernetes.limits import Refusal
from runtime.kubernetes.shape import Json, stamp, stamp_now
from runtime.money import Usdc
from runtime.operator.annotations import AnnotationError, FundingRequest, parse_request
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.config import OperatorConfig
from runtime.operator.earlier_creates import EarlierCreates, check_found
from runtime.operator.jobs import JobFacts
from runtime.operator.metrics import WAIT_ENDED, Metrics
from runtime.operator.settlements import Settlements
from runtime.operator.waits import LONGEST_SECONDS, Waits, condition, reason_of, seconds_until_next_try
from runtime.payments import DialectName, EscrowRequest, EscrowStatus, PaymentsClient
from runtime.payments import Escrow as FoundEscrow
from runtime.payments.creation import Created, NeedsReview, NotCreatedError, create_once

BUSY_SECONDS: Final = 2.0
"""Seconds between two tries while the budget itself is the hindrance."""

INSUFFICIENT: Final = "insufficient_balance"
"""The service's word for a payer without funds; 402 says the same."""

_NOTHING_SENT: Final = (
    "Nothing was sent. Create the Job anew with a right annotation, then close this with escrowctl resolve."
)


class Funding:
    """Creates escrows for Jobs."""

    def __init__(
        self,
        objects: ClusterObjects,
        client: PaymentsClient,
        metrics: Metrics,
        config: OperatorConfig,
        settlements: Settlements,
    ) -> None:
        self._objects = objects
        self._escrows = objects.escrows
        self._client = client
        self._metrics = metrics
        self._config = config
        self._settlements = settlements
        self._earlier = EarlierCreates(client)
        self._budgets = objects.budgets
        self._waits = Waits(objects.escrows, objects.events)

    def amount(self, request: FundingRequest) -> Usdc:
        """What to lock for a request; raises `AnnotationError` for less than the service takes."""
        amount = self._config.default_budget if request.amount is None else request.amount
        least = Usdc.parse(MINIMUM_ESCROW_USDC[self._client.dialect.name])
        if amount < least:
            where = f"annotation {ESCROW_REQUEST_ANNOTATION}: amountUsdc"
            raise AnnotationError(f"{where}: {amount} USDC is below the service's minimum for an escrow, {least} USDC")
        return amount

    async def fund(self, job: JobFacts, escrow: Escrow) -> tuple[Escrow, float | None]:
        """Create the escrow of a pending Escrow object, once; the object, and the seconds until the next try."""
        try:
            return await self._fund(job, escrow)
        except WriteConflict:
            await self._budgets.yield_to_others(escrow)
            raise

    async def _fund(self, job: JobFacts, escrow: Escrow) -> tuple[Escrow, float | None]:
        begun = escrow.status.creation is not None
        if not begun:
            job = await self._objects.jobs.now(job)  # the queue's may be a minute old
            if found := await self._not_due(job, escrow):
                return found
            if _wait_ended(escrow):
                await self._objects.jobs.end_unrun(job)
                return escrow, None
        if begun and (delay := await self._earlier.seconds_under_way(escrow)):
            return escrow, delay
        reserved = None if begun else await self._reserve(job, escrow)
        if isinstance(reserved, Refusal):
            return await self.held_back(job, escrow, reserved)
        journal = CreationJournal(self._escrows, escrow, reserved, self._earlier.sender)
        version = escrow.metadata.resource_version
        try:
            await self._earlier.check_sender(escrow)
            if not begun and (lost := await self._earlier.lost(escrow)):
                return await self._found_again(job, escrow, lost, reserved), None
            await self._client.ask_time()  # another operator, with another clock, may read when this was sent
            over = bool(job.ending or job.gone)
            created = await create_once(self._client, journal, self._order(job, escrow), again=not over)
        except NotCreatedError:
            await self._budgets.release(journal.escrow)
            return await self._nothing_locked(job, journal.escrow), None
        except (Retryable, Unauthorized) as error:
            waiting = await self._not_created(job, journal.escrow, version, reason_of(error), error)
            return await self._until_next_try(job, waiting, getattr(error, "delay_seconds", None))
        except Permanent as error:
            if isinstance(error, Rejected) and (error.status == 402 or error.code == INSUFFICIENT):
                waiting = await self._not_created(job, journal.escrow, version, "InsufficientBalance", error)
                return await self._until_next_try(job, waiting, LONGEST_SECONDS)
            remedy = "Nothing was locked. Create the Job anew with what the service accepts, then close this one."
            self._metrics.funded.labels("review").inc()
            raise ReviewRequired(journal.escrow, str(error), remedy) from error
        self._budgets.confirm(journal.escrow)
        if isinstance(created, NeedsReview):
            remedy = f"Look for an escrow that carries {created.token} at the payment service, then escrowctl resolve."
            self._metrics.funded.labels("review").inc()
            raise ReviewRequired(journal.escrow, created.reason, remedy)
        return await self._funded(job, journal.escrow, created), None

    async def _not_created(
        self, job: JobFacts, escrow: Escrow, reserved_at: str, reason: str, error: Exception
    ) -> Escrow:
        """The Job waits. What was reserved is returned where the Escrow says that nothing is under way any more."""
        escrow = await self.wait(job, escrow, reason, str(error))
        if escrow.status.creation is None:
            if self._budgets.are_kept(escrow.namespace) and escrow.metadata.resource_version == reserved_at:
                # Another operator may have the same reservation: its next write is to fail before that is returned.
                found = escrow.condition(FUNDED)
                again = condition(FUNDED, False, reason, str(error), found.last_transition_time if found else None)
                conditions = escrow.with_condition(again)
                escrow = await self._escrows.set_status(escrow, phase=Phase.PENDING.value, conditions=conditions)
            await self._budgets.release(escrow)
        else:
            self._budgets.confirm(escrow)
        return escrow

    async def _not_due(self, job: JobFacts, escrow: Escrow) -> tuple[Escrow, float | None] | None:
        """What there is to do instead of a first create; None where the Job is there, held, and asks for it."""
        if job.ending or job.gone:
            return await self._nothing_locked(job, escrow), None
        if not job.finalizer:
            return escrow, BUSY_SECONDS  # somebody took it off: it is held again first
        self._check_asked(job, escrow)
        return None

    def _check_asked(self, job: JobFacts, escrow: Escrow) -> None:
        """Raise `ReviewRequired` unless the Job asks for what its account says, whoever wrote that."""
        payee, amount = _agreed(escrow)
        try:
            asked = parse_request(job.request or "")
        except AnnotationError as error:
            raise ReviewRequired(escrow, str(error), _NOTHING_SENT) from error
        if asked.payee != payee or asked.amount not in (None, amount):
            words = f"it says {amount} USDC for {payee}, and its Job asks for something else"
            raise ReviewRequired(escrow, words, _NOTHING_SENT)

    async def _reserve(self, job: JobFacts, escrow: Escrow) -> Reservation | Refusal | None:
        payee, amount = _agreed(escrow)
        return await self._budgets.reserve(escrow, amount, payee, job.agent)

    async def reserve_brought(
        self, job: JobFacts, escrow: Escrow, status: Json
    ) -> Reservation | tuple[Escrow, float | None]:
        """Reserve for an escrow that the Job brought; else the Escrow that waits, and the seconds until the next try.

        Args:
            job: The Job.
            escrow: Its Escrow, still Pending.
            status: What the service told of the escrow.
        """
        locked = status.get("lockedUsdc")
        if locked is None:
            words = "the namespace has a budget, and the service does not tell how much the escrow holds"
            return await self.held_back(job, escrow, Refusal("AmountUnknown", words))
        found = await self._budgets.reserve(escrow, Usdc.parse(locked), escrow.payee or "", job.agent)
        assert found is not None, "asked only where there is a limit"  # noqa: S101
        return found if isinstance(found, Reservation) else await self.held_back(job, escrow, found)

    async def held_back(self, job: JobFacts, escrow: Escrow, refusal: Refusal) -> tuple[Escrow, float | None]:
        """The Escrow that waits because a rule refuses it, and the seconds until the next try."""
        if refusal.reason == BUSY:
            return escrow, BUSY_SECONDS
        waiting = await self.wait(job, escrow, refusal.reason, refusal.message)
        return await self._until_next_try(job, waiting, LONGEST_SECONDS)

    async def _until_next_try(
        self, job: JobFacts, escrow: Escrow, seconds: float | None
    ) -> tuple[Escrow, float | None]:
        """The seconds until money is asked for again. For a scheduled run that ends in time: its schedule goes on then.

        A suspended Job counts as active, so with `Forbid` one that waits for ever would end its schedule unseen.
        """
        delay = seconds or seconds_until_next_try(escrow, FUNDED)
        since = escrow.metadata.creation_timestamp
        if not job.scheduled or job.queued or since is None or escrow.status.creation is not None:
            return escrow, delay
        left = self._config.scheduled_wait_seconds - (datetime.now(UTC) - since).total_seconds()
        if left > 0:
            return escrow, min(delay, left)
        found = escrow.condition(FUNDED)
        words = f"no money came within {self._config.scheduled_wait_seconds} s, so this run ends without having"
        words += f" run, and its schedule goes on; the last hindrance: {found.message if found else 'unknown'}"
        escrow = await self.wait(job, escrow, WAIT_ENDED, words)
        # The condition first: an operator that is about to fund it holds an older version, and its note fails.
        await self._objects.jobs.end_unrun(job)
        return escrow, None

    async def _found_again(
        self, job: JobFacts, escrow: Escrow, found: FoundEscrow, reserved: Reservation | None
    ) -> Escrow:
        """Bind the escrow that the work has already; closed at the service, it ends the account."""
        check_found(escrow, found)
        if escrow.escrow_id is None:
            escrow = await self._escrows.set_spec(escrow, escrowId=found.id)
        if reserved is not None:
            escrow = await self._escrows.set_status(
                escrow, phase=Phase.PENDING.value, reservation=reserved.as_written()
            )
            self._budgets.confirm(escrow)
        if found.status in (EscrowStatus.LOCKED, EscrowStatus.COMPLETED):
            return await self._funded(job, escrow, Created(escrow_id=found.id, escrow=found))
        await self._settlements.record_closing_by_others(escrow, found)
        return await self._escrows.get(escrow.namespace, escrow.name) or escrow

    def _order(self, job: JobFacts, escrow: Escrow) -> EscrowRequest:
        payee, amount = _agreed(escrow)
        server = self._client.dialect.name is DialectName.SERVER
        return EscrowRequest(
            payee=payee,
            amount=amount,
            token=escrow.spec.token,
            description=f"Job {job.namespace}/{job.name}",
            payer=self._config.payer if self._client.dialect.name is DialectName.FLY else None,
            timeout_hours=self._config.timeout_hours if server else None,
        )

    async def _funded(self, job: JobFacts, escrow: Escrow, created: Created) -> Escrow:
        found, (payee, amount) = created.escrow, _agreed(escrow)
        status: Json = {
            "phase": Phase.FUNDED.value,
            **await self._objects.claims.hold(escrow),
            "lockedUsdc": str(amount),
            "payee": payee,
            "lockedAt": stamp_now(),
            "conditions": escrow.with_condition(condition(FUNDED, True, "Created", f"escrow {created.escrow_id}")),
        }
        if found and found.auto_release_at:
            status["autoReleaseAt"] = stamp(found.auto_release_at)
        escrow = await self._escrows.set_status(escrow, **status)
        self._metrics.funded.labels("created").inc()
        words = f"escrow {created.escrow_id} holds {status['lockedUsdc']} USDC for {status['payee']}"
        await self._objects.events.post(job, "EscrowFunded", words)
        return escrow

    async def wait(self, job: JobFacts, escrow: Escrow, reason: str, message: str) -> Escrow:
        """The Job stays suspended; a condition and, the first time, an event say why."""
        waiting = await self._waits.note(job, escrow, FUNDED, reason, message)
        if waiting is not escrow:
            self._metrics.funded.labels(reason).inc()
        return waiting

    async def wait_for_quota(self, escrow: Escrow) -> Escrow:
        """The Job waits in Kueue's queue; a condition says so, unless it waited for something else before."""
        if escrow.condition(FUNDED) is not None:
            return escrow
        words = "Kueue has not reserved quota for the Job yet; nothing is locked before that"
        waiting = escrow.with_condition(condition(FUNDED, False, "QuotaNotReserved", words))
        return await self._escrows.set_status(escrow, phase=Phase.PENDING.value, conditions=waiting)

    async def _nothing_locked(self, job: JobFacts, escrow: Escrow) -> Escrow:
        """The Job ended before anything was sent for it."""
        now = stamp_now()
        return await self._escrows.set_status(
            escrow,
            phase=Phase.SETTLED.value,
            outcome="Cancelled",
            reason=f"Job {job.name} ended before anything was locked for it",
            jobEnding=job.ending_status(),
            closedAt=now,
        )


def _wait_ended(escrow: Escrow) -> bool:
    found = escrow.condition(FUNDED)
    return found is not None and found.reason == WAIT_ENDED


def _agreed(escrow: Escrow) -> tuple[str, Usdc]:
    """Payee and amount that the Job asked for. Raises `ReviewRequired` where the object has lost them."""
    payee, amount = escrow.spec.payee, escrow.spec.amount_usdc
    if payee is None or amount is None:
        raise ReviewRequired(escrow, "it does not say whom to pay, or how much", _NOTHING_SENT)
    return payee, amount
