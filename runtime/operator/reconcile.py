"""Reconciles one Job with its Escrow: does `next_step` until there is nothing left to do now.

Every step writes to the Escrow before it sends anything that moves money. So after a crash at any point the next
reconciliation goes on from what is on record, whether an event, a retry or the periodic list starts it.

The order of the steps is what keeps the money safe: the account is opened before the Job is held, the Job is held
before money is locked, the escrow is bound before the Job runs, its end is recorded before its finalizer goes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, NamedTuple

from runtime.contract import ESCROW_ID_ANNOTATION, Phase
from runtime.kubernetes.claims import ReviewRequired
from runtime.kubernetes.escrow import OPEN, Escrow
from runtime.operator.accounts import Accounts
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.funding import Funding
from runtime.operator.jobs import JobFacts, ended_as_recorded, job_of
from runtime.operator.kueue import Kueue
from runtime.operator.next_step import Step, next_step
from runtime.operator.phase_cache import PhaseCache
from runtime.operator.review import require_review
from runtime.operator.served import Serving, is_marked, with_mark
from runtime.operator.settlements import Settlements
from runtime.operator.works import Works

_WORK_GOES_ON: Final = (Phase.PENDING, Phase.FUNDED)

SOON_SECONDS: Final = 2.0
"""A Job keeps its finalizer while its settlement is retried within this time, as it is for its first twenty seconds."""


class _State(NamedTuple):
    """Job and Escrow as they are known after a step."""

    job: JobFacts
    escrow: Escrow | None
    delay_seconds: float | None = None
    """When to reconcile again; None where the step is complete."""
    first: Escrow | None = None
    """The account of its work's first run, where that is another Job's."""


class Reconciler:
    """Reconciles Jobs: one reconciliation at a time a Job, many Jobs at once."""

    def __init__(
        self,
        objects: ClusterObjects,
        works: Works,
        accounts: Accounts,
        funding: Funding,
        settlements: Settlements,
        phases: PhaseCache,
        serving: Serving,
        kueue: Kueue,
        *,
        auto_release: bool,
    ) -> None:
        self._objects = objects
        self._works = works
        self._accounts = accounts
        self._funding = funding
        self._settlements = settlements
        self._phases = phases
        self._serving = serving
        self._kueue = kueue
        self._auto_release = auto_release
        self._resumed: dict[str, int] = {}
        """UID → resource version at which a Job was resumed.

        A watch event from before that still shows it suspended. Without this the operator would take that for somebody
        else's suspension, post a warning and resume the Job a second time.
        """
        self._steps: dict[Step, Callable[[JobFacts, Escrow], Awaitable[_State]]] = {
            Step.HOLD: self._hold,
            Step.FUND: self._fund,
            Step.BIND: self._bind,
            Step.RESUME: self._resume,
            Step.RECORD_ENDING: self._record_ending,
            Step.REVIEW: self._review,
            Step.SETTLE: self._settle,
        }

    async def reconcile(self, job: JobFacts) -> float | None:
        """Reconcile one Job.

        Returns the seconds after which to reconcile it again; None where the next change of the Job starts it.
        """
        # Read from the API server, never from a cache: a phase that is out of date could send an act twice.
        standing = await self._works.find(job)
        if standing.account is not None and job.gone and job.ending is None:
            job = job_of(standing.account)
        account = standing.account
        if account is not None and (account := await self._ours(job, account)) is None:
            return await self._kueue.answer(job, standing.account, None)  # asked again with each pass
        state = _State(job, account, first=standing.first)
        try:
            while (step := self._next(state)) not in (Step.NOTHING, Step.FORGET, Step.CLOSE):
                before, state = state, await self._do(step, state)
                # A settlement returns its own delay. A step that changed nothing would change nothing again, e.g. for
                # a Job as it was before it was resumed: without this the loop would not end.
                if step is Step.SETTLE or state.delay_seconds is not None or state == before:
                    break
        except ReviewRequired as case:
            state = _State(job, await require_review(self._objects, job, case))
        delay = await self._finish(state)
        return await self._kueue.answer(_as_recorded(state), state.escrow, delay)

    async def _ours(self, job: JobFacts, account: Escrow) -> Escrow | None:
        """The account, if it is this operator's to act on. Else it says so, and its Job stays as it is."""
        why = self._serving.foreign(account) if account.is_open else None
        if account.never_sent and (job.ending or job.gone):  # it holds nothing anywhere
            why = None
        if why is None and is_marked(account):
            return await self._objects.escrows.set_status(account, conditions=with_mark(account, None))
        if why is None:
            return account
        if not is_marked(account, why):
            await self._objects.escrows.set_status(account, conditions=with_mark(account, why))
            await self._objects.events.post(job, why.reason, f"Escrow {account.name}: {why.message}", warning=True)
        return None

    def _next(self, state: _State) -> Step:
        return next_step(_as_recorded(state), state.escrow, auto_release=self._auto_release, first=state.first)

    async def _do(self, step: Step, state: _State) -> _State:
        job = _as_recorded(state)
        if state.escrow is not None:
            delay = self._kueue.waits(job, state.escrow) if step in (Step.FUND, Step.BIND) else None
            if delay is not None:
                return _State(job, await self._funding.wait_for_quota(state.escrow), delay)
            return await self._steps[step](job, state.escrow)
        if step is Step.WITHHOLD and state.first is not None:
            job, first = await self._works.withhold(job, state.first)
            return _State(job, None, first=first)
        return await self._open(job, state.first)

    async def _open(self, job: JobFacts, first: Escrow | None) -> _State:
        escrow = await self._accounts.open(job, first)
        if escrow is not None and escrow.work.uid != job.uid:  # another Job of the work was faster
            return _State(job, None, first=escrow)
        return _State(job, escrow)

    async def _hold(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(await self._objects.jobs.hold(job), escrow)

    async def _fund(self, job: JobFacts, escrow: Escrow) -> _State:
        return await self._perhaps_ended(job, *await self._funding.fund(job, escrow))

    async def _bind(self, job: JobFacts, escrow: Escrow) -> _State:
        return await self._perhaps_ended(job, *await self._accounts.bind(job, escrow, escrow.escrow_id or ""))

    async def _perhaps_ended(self, job: JobFacts, escrow: Escrow, delay: float | None) -> _State:
        """Whether money is locked may take long to learn: once its ending is on record the Job may be deleted.

        The Escrow alone is enough to settle or to cancel later.
        """
        if escrow.phase is Phase.PENDING and job.ending and escrow.ending is None:
            escrow = await self._objects.escrows.set_status(escrow, jobEnding=job.ending_status())
        return _State(job, escrow, delay)

    async def _resume(self, job: JobFacts, escrow: Escrow) -> _State:
        """Write the escrow's id on the Job and resume it, unless this state of the Job is older than its resumption."""
        escrow_id = escrow.escrow_id or ""
        if int(job.version) < self._resumed.get(job.uid, 0):
            return _State(job, escrow)
        answered = job.request is not None and job.escrow_id == escrow_id  # by a version that wrote no more on it
        if job.suspended and not job.queued and (job.funded or answered):
            words = "the Job was suspended after its escrow was funded; it is resumed, for its money is locked"
            await self._objects.events.post(job, "JobResumed", words, warning=True)
        if job.escrow_id not in (None, escrow_id):
            words = f"annotation {ESCROW_ID_ANNOTATION} was changed after the escrow was bound; {escrow_id} pays"
            await self._objects.events.post(job, "EscrowAnnotationIgnored", words, warning=True)
        version = self._resumed[job.uid] = await self._objects.jobs.resume(job, escrow_id)
        suspended = job.suspended and job.queued
        now = replace(job, version=f"{version}", escrow_id=escrow_id, suspended=suspended, funded=True, withheld="")
        return _State(now, escrow)

    async def _record_ending(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(job, await self._objects.escrows.set_status(escrow, jobEnding=job.ending_status()))

    async def _review(self, _job: JobFacts, escrow: Escrow) -> _State:
        problem = f"the Job vanished before its end was seen; {escrow.what_was_sent}"
        remedy = "Find out whether the work was done, then escrowctl resolve --release or --dispute."
        raise ReviewRequired(escrow, problem, remedy)

    async def _settle(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(job, *await self._settlements.settle(job, escrow))

    async def _finish(self, state: _State) -> float | None:
        """Remember the phase, and remove the finalizers once the end is on record."""
        job, escrow, delay = _as_recorded(state), state.escrow, state.delay_seconds
        if escrow is None:
            if job.ending:  # it never had an account, or its namespace ends and none can be created any more
                await self._objects.jobs.remove_finalizer(job)
            return None
        phase = escrow.phase
        self._phases.note(job.uid, phase, escrow.name)
        if phase is not Phase.FUNDED:
            self._resumed.pop(job.uid, None)
        # The Escrow first, the Job last. After a crash between the two the Job is still held, and the next operator
        # that sees it comes back here. The other way round nothing would lead back to the Escrow's finalizer.
        # One in review is held for as long as money may be locked for it: a person closes it, and that is on record.
        if phase is Phase.SETTLED or (phase is Phase.NEEDS_REVIEW and not escrow.holds_money):
            returned = await self._objects.budgets.close(escrow)
            await self._objects.escrows.remove_finalizer(escrow, returned=returned)
            if returned:
                self._objects.budgets.forget(escrow)
        on_record = phase not in _WORK_GOES_ON or escrow.ending is not None
        # Whoever waits for the Job's deletion may delete the operator's Role next, and an account that is still open
        # then stays open. So a settlement that is about to succeed keeps the Job a little longer.
        closes_soon = phase in OPEN and delay is not None and delay <= SOON_SECONDS
        if on_record and not closes_soon:
            await self._objects.jobs.remove_finalizer(job, settled=phase not in OPEN)
        return delay

    async def remove_finalizer_on_record(self, job: JobFacts) -> None:
        """On shutdown: remove the finalizer of a Job whose end is on record; the next operator settles its Escrow."""
        escrow = (await self._works.find(job)).account
        if escrow and escrow.ending:
            await self._objects.jobs.remove_finalizer(job)


def _as_recorded(state: _State) -> JobFacts:
    return state.job if state.escrow is None else ended_as_recorded(state.job, state.escrow)
