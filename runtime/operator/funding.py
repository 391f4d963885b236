"""Locks the money for Jobs that ask for it: one escrow a Job, within the namespace's budget."""

import asyncio
import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import stamina

from runtime.contract import Phase
from runtime.errors import Final as FinalError
from runtime.errors import Rejected, Retryable, Unauthorized, Unsupported
from runtime.kubernetes.client import Json, KubernetesApi, Unreachable, WriteConflict
from runtime.kubernetes.escrow import NOT_SETTLED, phase_of, stamp
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events
from runtime.money import ZERO, Usdc
from runtime.operator.claims import Claims
from runtime.operator.config import OperatorConfig
from runtime.operator.jobs import JobFacts
from runtime.operator.listing import ListedEscrow
from runtime.operator.metrics import Metrics
from runtime.operator.review import ForAPerson
from runtime.payments import DialectName, EscrowRequest, PaymentsClient
from runtime.payments.creation import GRACE, Created, Creation, NeedsReview, create_once

NO_FUNDS_SECONDS: Final = 60.0
"""How often a Job that waits for funds or budget is looked at again."""

INSUFFICIENT: Final = "insufficient_balance"
"""The service's word for a payer without funds; 402 says the same."""

_log = logging.getLogger(__name__)


class Funding:
    """Creates escrows for Jobs."""

    def __init__(
        self,
        api: KubernetesApi,
        client: PaymentsClient,
        claims: Claims,
        events: Events,
        metrics: Metrics,
        config: OperatorConfig,
    ) -> None:
        self._escrows = EscrowObjects(api)
        self._client = client
        self._claims = claims
        self._events = events
        self._metrics = metrics
        self._config = config
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def default_amount(self) -> Usdc:
        """What is locked for a Job that names no amount."""
        return self._config.default_budget

    async def fund(self, job: JobFacts, escrow: Json) -> tuple[Json, float | None]:
        """Have the escrow of a pending Escrow object created, once; the object, and when to come back."""
        begun = "creation" in (escrow.get("status") or {})
        if not begun and job.ending:
            return await self._nothing_locked(job, escrow), None
        journal = _CreationJournal(self._escrows, escrow)
        if begun and (delay := await self._perhaps_under_way(escrow)):
            return escrow, delay
        try:
            async with self._locks[job.namespace]:
                if not begun and (reason := await self._over_budget(escrow)):
                    return await self._wait(job, escrow, "OverBudget", reason), NO_FUNDS_SECONDS
                created = await create_once(self._client, journal, self._order(job, escrow))
        except (Retryable, Unauthorized) as error:
            delay = getattr(error, "delay_seconds", None) or NO_FUNDS_SECONDS
            return await self._wait(job, journal.escrow, "PaymentServiceUnavailable", str(error)), delay
        except FinalError as error:
            if isinstance(error, Rejected) and (error.status == 402 or error.code == INSUFFICIENT):
                return await self._wait(job, journal.escrow, "InsufficientBalance", str(error)), NO_FUNDS_SECONDS
            remedy = "Nothing was locked. Create the Job anew with what the service accepts, then close this one."
            self._metrics.funded.labels("review").inc()
            raise ForAPerson(journal.escrow, str(error), remedy) from error
        if isinstance(created, NeedsReview):
            remedy = f"Look for an escrow that carries {created.token} at the payment service, then escrowctl resolve."
            self._metrics.funded.labels("review").inc()
            raise ForAPerson(journal.escrow, created.reason, remedy)
        return await self._funded(job, journal.escrow, created), None

    async def _perhaps_under_way(self, escrow: Json) -> float:
        """Seconds until a create that nobody can look for is surely over: another operator may be at it right now."""
        left = GRACE - (datetime.now(UTC) - datetime.fromisoformat(escrow["status"]["creation"]["sentAt"]))
        if left <= timedelta(0):
            return 0.0
        try:
            await self._client.find_escrow(escrow["spec"]["token"])
        except (Unsupported, Retryable):
            return left.total_seconds()
        return 0.0

    def _order(self, job: JobFacts, escrow: Json) -> EscrowRequest:
        spec = escrow["spec"]
        server = self._client.dialect.name is DialectName.SERVER
        return EscrowRequest(
            payee=spec["payee"],
            amount=Usdc.parse(spec["amountUsdc"]),
            token=spec["token"],
            description=f"Job {job.namespace}/{job.name}",
            payer=self._config.payer if self._client.dialect.name is DialectName.FLY else None,
            timeout_hours=self._config.timeout_hours if server else None,
        )

    async def _over_budget(self, wanted: Json) -> str:
        """Why one more escrow would be too much; empty when it is not. Reads every Escrow, so it is exact."""
        bound, daily = self._config.namespace_budget, self._config.daily_budget
        if bound is None and daily is None:
            return ""
        amount, today = Usdc.parse(wanted["spec"]["amountUsdc"]), stamp(datetime.now(UTC))[:10]
        locked = spent = ZERO
        selectors = {} if daily else {"fieldSelector": NOT_SETTLED}  # what was spent today may be settled by now
        async for escrow in self._escrows.list(wanted["metadata"]["namespace"], ListedEscrow, **selectors):
            status = escrow.get("status") or {}
            since = status.get("lockedAt") or status.get("creation", {}).get("sentAt")
            if since is None:
                continue
            held = Usdc.parse(status.get("lockedUsdc") or escrow["spec"].get("amountUsdc") or "0")
            locked += held if phase_of(escrow) is not Phase.SETTLED else ZERO
            spent += held if since.startswith(today) else ZERO
        if bound is not None and locked + amount > bound:
            return f"{locked} USDC are locked; {amount} more would exceed the namespace's {bound} at one time"
        if daily is not None and spent + amount > daily:
            return f"{spent} USDC were locked today; {amount} more would exceed the namespace's {daily} a day"
        return ""

    async def _funded(self, job: JobFacts, escrow: Json, created: Created) -> Json:
        found = created.escrow
        status: Json = {
            "phase": Phase.FUNDED.value,
            **await self._claims.hold(escrow),
            "lockedUsdc": escrow["spec"]["amountUsdc"],
            "payee": escrow["spec"]["payee"],
            "lockedAt": stamp(datetime.now(UTC)),
            "conditions": [_condition(True, "Created", f"escrow {created.escrow_id}")],
        }
        if found and found.auto_release_at:
            status["autoReleaseAt"] = stamp(found.auto_release_at)
        escrow = await self._escrows.set_status(escrow, **status)
        self._metrics.funded.labels("created").inc()
        words = f"escrow {created.escrow_id} holds {status['lockedUsdc']} USDC for {status['payee']}"
        await self._events.post(job, "EscrowFunded", words)
        return escrow

    async def _wait(self, job: JobFacts, escrow: Json, reason: str, message: str) -> Json:
        """The Job stays suspended; a condition and, the first time, an event say why."""
        before = (escrow.get("status") or {}).get("conditions") or [{}]
        if before[0].get("reason") == reason:
            return escrow
        self._metrics.funded.labels(reason).inc()
        await self._events.post(job, reason, f"{message}; the Job waits and goes on by itself", warning=True)
        return await self._escrows.set_status(
            escrow, phase=Phase.PENDING.value, conditions=[_condition(False, reason, message)]
        )

    async def _nothing_locked(self, job: JobFacts, escrow: Json) -> Json:
        """The Job ended before anything was sent for it."""
        now = stamp(datetime.now(UTC))
        return await self._escrows.set_status(
            escrow,
            phase=Phase.SETTLED.value,
            outcome="Cancelled",
            reason=f"Job {job.name} ended before anything was locked for it",
            jobEnding=job.ending_status(),
            closedAt=now,
        )


class _CreationJournal:
    """`payments.creation`'s journal: the create in `status.creation`, the escrow's id in the spec, set once."""

    def __init__(self, escrows: EscrowObjects, escrow: Json) -> None:
        self._escrows = escrows
        self.escrow = escrow

    async def read(self, token: str) -> Creation | None:
        creation = (self.escrow.get("status") or {}).get("creation")
        return creation and Creation(
            token=token,
            fingerprint=creation["fingerprint"],
            sent_at=datetime.fromisoformat(creation["sentAt"]),
            attempts=creation["attempts"],
            escrow_id=self.escrow["spec"].get("escrowId"),
        )

    async def write(self, creation: Creation) -> None:
        if creation.escrow_id:
            await self._bind(creation.escrow_id)
            return
        noted: dict[str, Any] = {
            "fingerprint": creation.fingerprint,
            "sentAt": stamp(creation.sent_at),
            "attempts": creation.attempts,
        }
        self.escrow = await self._escrows.set_status(self.escrow, phase=Phase.PENDING.value, creation=noted)

    async def clear(self, token: str) -> None:
        self.escrow = await self._escrows.set_status(self.escrow, creation=None)

    async def _bind(self, escrow_id: str) -> None:
        """Write the id down whatever else is written meanwhile: a dialect without a list could not find it again."""
        async for attempt in stamina.retry_context(on=(Unreachable, WriteConflict), attempts=20, timeout=25.0):
            with attempt:
                if attempt.num > 1:
                    job_uid = self.escrow["spec"]["job"]["uid"]
                    self.escrow = await self._escrows.get(self.escrow["metadata"]["namespace"], job_uid) or self.escrow
                self.escrow = await self._escrows.set_spec(self.escrow, escrowId=escrow_id)


def _condition(status: bool, reason: str, message: str) -> Json:
    return {
        "type": "Funded",
        "status": str(status),
        "reason": reason,
        "message": message[:1024],
        "lastTransitionTime": stamp(datetime.now(UTC)),
    }
