"""One run: read, plan, do. Each escrow has one account, which the API server creates once, and one claim; it is settled
through the one `Settler`, whose journal is that account. So whatever else runs, it is paid once, or waits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.contract import Phase
from runtime.errors import PurpleFleaError
from runtime.kubernetes.claims import Claims, ReviewRequired
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError, MalformedObject, WriteConflict
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.escrow_journals import SettlementJournal, read_record
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.new_escrow import new_task_escrow
from runtime.kubernetes.shape import Json, stamp, stamp_now
from runtime.kubernetes.task_claims import TaskClaims
from runtime.money import Usdc
from runtime.payments import Operation, PaymentsClient, Timeouts
from runtime.payroll.bounded import for_each
from runtime.payroll.evidence import Evidence, read_claims, read_pods
from runtime.payroll.ledger import Ledger, closed_by, read_jobs, read_ledger
from runtime.payroll.plan import Action, Step, plan
from runtime.payroll.settings import Settings
from runtime.redaction import excerpt
from runtime.settlement.driver import Policy, Settler, intent_after
from runtime.settlement.reading import CLOSED_BY_OTHERS, Reader, closed_by_others
from runtime.settlement.record import Case, CaseMismatch, JournalConflict, Settlement
from runtime.settlement.table import Intent, Outcome
from runtime.trace import tracing

AT_ONCE: Final = 400
"""Escrows that are worked on at one time. Where there are only lists those at work share one reading of them, so that
more of them are fewer readings."""

CONNECTIONS: Final = 40
"""To the API server, which refuses what is more than its fair share."""

TIMEOUTS: Final = Timeouts(pool_seconds=20.0)
"""So many wait for the client's connections; an act that waits longer was not sent, and is tried again."""

PATIENCE_SECONDS: Final = 120.0
"""For what is not settled at once; the next run goes on with what is not settled then."""

SURELY_UNLISTED: Final = timedelta(hours=1)
"""After a task's end: no worker has a list any more that shows its escrow as open."""

POLICY: Final = Policy(prompt=timedelta.max)
"""An intent is first written down with the note that it is being sent: here no Job is held until it is on record."""

REMEDY: Final = "Look at the evidence, then pay or refuse it: kubectl purpleflea resolve"

_log = logging.getLogger("runtime.payroll")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step, by its account as last written; or why nothing did.

    The account itself is not kept: of ten thousand that is a fifth of the memory that a run has.

    Args:
        phase: None where the next run is to go on with it, for the reason in `failure`.
        outcome: Once it is settled.
        paid: Once it is paid: what reached the payee, as far as it is known.
        evidence: For whom it waits.
        already: It was closed before this run came to it.
    """

    step: Step
    phase: Phase | None = None
    outcome: Outcome | None = None
    paid: Usdc | None = None
    evidence: str = ""
    failure: str = ""
    already: bool = False

    @classmethod
    def of(cls, step: Step, account: Escrow, *, already: bool = False) -> "Done":
        """What the account says."""
        reached = account.amount if account.paid is None else account.paid
        return cls(
            step,
            account.phase,
            account.status.outcome,
            reached if account.status.outcome is Outcome.PAID else None,
            account.status.evidence if account.phase is Phase.NEEDS_REVIEW else "",
            already=already,
        )


class Run:
    """One run over one namespace."""

    def __init__(self, settings: Settings, api: KubernetesApi, client: PaymentsClient, namespace: str) -> None:
        self._settings = settings
        self._api = api
        self._client = client
        self._namespace = namespace
        self._escrows = EscrowObjects(api)
        self._claims = Claims(api, self._escrows, namespace)
        self._tasks = TaskClaims(api, namespace, "payroll")
        self._journal = SettlementJournal(self._escrows)
        self._settler = Settler(client, self._journal, policy=POLICY)
        self._reader = Reader(client)
        self.evidence = Evidence()
        self.ledger = Ledger(None)

    async def plan(self) -> list[Step]:
        """Read everything, change nothing. Raises what API server and service raise."""
        self.ledger = ledger = await read_ledger(self._api, self._namespace, self._client)
        # What is locked and done from here on is the next run's.
        self.evidence = Evidence(await closed_by(self._api, self._namespace, ledger))
        if self._settings.has_work_log:
            await read_pods(self._api, self._namespace, self._settings.token_file, self.evidence)
        await read_claims(self._tasks, self.evidence)  # also by age: what is known to have failed is not paid
        await read_jobs(self._api, self._namespace, ledger)
        if ledger.listed is None and self._client.supports(Operation.READ):
            await self._read_reported()
        return plan(self.ledger, self.evidence, self._settings, datetime.now(UTC))

    async def _read_reported(self) -> None:
        """Where there is no list: ask for each escrow that somebody has reported, or that has an account."""
        found = {}

        async def read(escrow_id: str) -> None:
            try:
                escrow = await self._client.read_escrow(escrow_id)
            except PurpleFleaError as error:
                self.evidence.problems.append(f"escrow {excerpt(escrow_id, 60)} cannot be read: {error}")
                return
            if escrow.status.value in ("locked", "completed"):
                found[escrow_id] = escrow

        await for_each({*self.evidence.reports, *self.ledger.accounts}, read, AT_ONCE)
        self.ledger.listed = found

    async def do(self, steps: list[Step]) -> list[Done]:
        """Do them, those first that the service refunds first; then drop what claims need not keep any more."""
        deadline, done = asyncio.get_running_loop().time() + PATIENCE_SECONDS, list[Done]()

        async def one(step: Step) -> None:
            with tracing(namespace=self._namespace, escrow=step.escrow):
                done.append(await self._one(step, deadline))

        await for_each((step for step in steps if step.action is not Action.LEAVE), one, AT_ONCE)
        await self._forget(done)
        return done

    async def _one(self, step: Step, deadline: float) -> Done:
        try:
            account = step.account or await self._open(step)
            if account.phase in (Phase.SETTLED, Phase.NEEDS_REVIEW):
                return Done.of(step, account, already=True)
            return Done.of(step, await self._act(step, account, deadline))
        except (KubernetesError, ApiUnreachable, JournalConflict, CaseMismatch, MalformedObject) as error:
            _log.warning("left for the next run: %s", error)
            return Done(step, failure=str(error))

    async def _open(self, step: Step) -> Escrow:
        """Its account: whichever run creates it, there is one."""
        body = new_task_escrow(
            self._namespace,
            step.escrow,
            dialect=self._client.dialect.name.value,
            payee=step.payee,
            amount=step.amount,
        )
        return await self._escrows.create(body)

    async def _act(self, step: Step, account: Escrow, deadline: float) -> Escrow:
        try:
            if (
                account.escrow_id != step.escrow
                or step.amount not in (None, account.amount)
                or (step.payee not in (None, account.payee))
            ):
                raise ReviewRequired(account, "the service and this account differ in amount or payee", REMEDY)
            held = await self._claims.hold(account)
            if step.action is Action.REVIEW:
                raise ReviewRequired(account, step.why, REMEDY)
        except ReviewRequired as case:
            return await self._review(case)
        if step.action is Action.LOOK:
            return await self._look(step, account, held)
        locked = {} if account.status.locked_at else self._locked(step)
        if step.action is Action.HAND_OUT:
            if account.phase is not Phase.PENDING:
                return account
            return await self._escrows.set_status(account, phase=Phase.FUNDED.value, **held, **locked)
        return await self._settle(step, account, held | locked, deadline)

    def _locked(self, step: Step) -> Json:
        known = {
            "lockedUsdc": None if step.amount is None else str(step.amount),
            "payee": step.payee,
            "lockedAt": stamp(step.since) if step.since else stamp_now(),
            "autoReleaseAt": stamp(step.refund_at) if step.refund_at else None,
        }
        return {key: value for key, value in known.items() if value is not None}

    async def _settle(self, step: Step, account: Escrow, extra: Json, deadline: float) -> Escrow:
        record = read_record(account)
        case = _again(record) if record else self._case(step, account)
        loop = asyncio.get_running_loop()
        with self._journal.opened(account, extra) as entry:
            while True:
                progress = await self._settler.settle(case)
                wait = progress.retry_after_seconds
                if wait is None or loop.time() + wait > deadline:
                    return entry.escrow
                await asyncio.sleep(wait)

    async def _look(self, step: Step, account: Escrow, held: Json) -> Escrow:
        """Record what somebody else, or its time-out, did to an escrow; nothing is sent."""
        now = datetime.now(UTC)
        case = Case(account.work.key, step.escrow, Intent.RELEASE, "looked at", account.amount, account.spec.payee)
        seen = await self._reader.read(Settlement.decided(case, now))
        if seen.escrow is None or seen.escrow.status not in CLOSED_BY_OTHERS:
            _log.warning("escrow %s is open here, and at the service: %s", step.escrow, seen.note)
            return account
        reason = f"found {seen.escrow.status} at the payment service, and payroll had sent nothing"
        record = closed_by_others(account.work.key, seen.escrow, reason, now)
        with self._journal.opened(account, held) as entry:
            await self._journal.write(record)
            return entry.escrow

    def _case(self, step: Step, account: Escrow) -> Case:
        return Case(
            key=account.work.key,
            escrow_id=step.escrow,
            intent=intent_after(self._client, succeeded=step.action is Action.PAY),
            reason=excerpt(step.why, 1000),
            locked=account.amount,
            payee=account.spec.payee,
        )

    async def _review(self, case: ReviewRequired) -> Escrow:
        status = {"evidence": excerpt(case.problem, 4096), "remedy": case.remedy, "closedAt": stamp_now()}
        return await self._escrows.set_status(case.escrow, phase=Phase.NEEDS_REVIEW.value, **status)

    async def _forget(self, done: list[Done]) -> None:
        """What claims keep is dropped an hour after it ended, once its account is closed or was closed before."""
        open_now = {*(self.ledger.listed or ()), *self.ledger.accounts}
        open_now -= {one.step.escrow for one in done if one.phase is Phase.SETTLED}
        if self.ledger.listed is None:
            return
        long_ago = datetime.now(UTC) - SURELY_UNLISTED
        old = {e.escrow for e in self.evidence.kept if e.escrow and e.finished and e.finished < long_ago}
        await _best_effort(lambda: self._tasks.forget(old - open_now))


async def _best_effort(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except (KubernetesError, ApiUnreachable, WriteConflict) as error:
        _log.warning("claims keep what is settled until the next run: %s", error)


def _again(record: Settlement) -> Case:
    return Case(record.key, record.escrow_id, record.intent, record.reason, record.locked, record.payee)
