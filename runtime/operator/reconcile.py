"""Reconciles one Job with its Escrow: does `next_step` until there is nothing left to do now.

Every step writes to the Escrow before it sends anything that moves money. So a crash anywhere is made good by the next
reconciliation, whether an event, a retry or the periodic list starts it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, NamedTuple

from runtime.contract import ESCROW_ID_ANNOTATION, Phase
from runtime.kubernetes.escrow import OPEN, Escrow
from runtime.operator.accounts import Accounts
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.funding import Funding
from runtime.operator.jobs import JobFacts, ended_as_recorded, job_of
from runtime.operator.next_step import Step, next_step
from runtime.operator.phase_cache import PhaseCache
from runtime.operator.review import ReviewRequired, require_review
from runtime.operator.settlements import Settlements

_WORK_GOES_ON: Final = (Phase.PENDING, Phase.FUNDED)

SOON_SECONDS: Final = 2.0
"""A settlement that is tried again within this time, as in its first twenty seconds, is worth its Job's wait."""


class _State(NamedTuple):
    """What is known after a step."""

    job: JobFacts
    escrow: Escrow | None
    delay_seconds: float | None = None
    """After which to go on, where the step is not done yet."""


class Reconciler:
    """Reconciles Jobs: one reconciliation at a time a Job, many Jobs at once."""

    def __init__(
        self,
        objects: ClusterObjects,
        accounts: Accounts,
        funding: Funding,
        settlements: Settlements,
        phases: PhaseCache,
        *,
        auto_release: bool,
    ) -> None:
        self._objects = objects
        self._accounts = accounts
        self._funding = funding
        self._settlements = settlements
        self._phases = phases
        self._auto_release = auto_release
        self._resumed: dict[str, int] = {}
        """UID → resource version at which a Job was resumed: what is older shows it suspended still."""
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
        """Do what is to be done about one Job; the seconds after which to reconcile it again, or None."""
        escrow = await self._objects.escrows.get(job.namespace, job.uid)
        if escrow is not None and job.gone and job.ending is None:
            job = job_of(escrow)
        state = _State(job, escrow)
        try:
            while (step := self._next(state)) not in (Step.NOTHING, Step.FORGET, Step.CLOSE):
                before, state = state, await self._do(step, state)
                # A settlement says itself when to go on. What changes nothing now would change nothing a second time.
                if step is Step.SETTLE or state.delay_seconds is not None or state == before:
                    break
        except ReviewRequired as case:
            state = _State(job, await require_review(self._objects, job, case))
        return await self._finish(state)

    def _next(self, state: _State) -> Step:
        return next_step(_as_recorded(state), state.escrow, auto_release=self._auto_release)

    async def _do(self, step: Step, state: _State) -> _State:
        job = _as_recorded(state)
        if state.escrow is None:
            return _State(job, await self._accounts.open(job))
        return await self._steps[step](job, state.escrow)

    async def _hold(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(await self._objects.jobs.hold(job), escrow)

    async def _fund(self, job: JobFacts, escrow: Escrow) -> _State:
        escrow, delay = await self._funding.fund(job, escrow)
        if escrow.phase is Phase.PENDING and job.ending and escrow.ending is None:
            # Whether money is locked for it the service does not tell yet; the Job need not wait for that.
            escrow = await self._objects.escrows.set_status(escrow, jobEnding=job.ending_status())
        return _State(job, escrow, delay)

    async def _bind(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(job, await self._accounts.bind(job, escrow, escrow.escrow_id or ""))

    async def _resume(self, job: JobFacts, escrow: Escrow) -> _State:
        """Write the escrow's id on the Job and let it run, unless what was seen of it is older than its resumption."""
        escrow_id = escrow.escrow_id or ""
        if int(job.version) < self._resumed.get(job.uid, 0):
            return _State(job, escrow)
        if job.request is not None and job.escrow_id == escrow_id:
            words = "the Job was suspended after its escrow was funded; it is resumed, for its money is locked"
            await self._objects.events.post(job, "JobResumed", words, warning=True)
        if job.escrow_id not in (None, escrow_id):
            words = f"annotation {ESCROW_ID_ANNOTATION} was changed after the escrow was bound; {escrow_id} pays"
            await self._objects.events.post(job, "EscrowAnnotationIgnored", words, warning=True)
        version = self._resumed[job.uid] = await self._objects.jobs.resume(job, escrow_id)
        suspended = job.suspended and job.queued
        return _State(replace(job, version=f"{version}", escrow_id=escrow_id, suspended=suspended), escrow)

    async def _record_ending(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(job, await self._objects.escrows.set_status(escrow, jobEnding=job.ending_status()))

    async def _review(self, _job: JobFacts, escrow: Escrow) -> _State:
        problem = "the Job vanished before its end was seen; nothing was sent"
        remedy = "Find out whether the work was done, then escrowctl resolve --release or --dispute."
        raise ReviewRequired(escrow, problem, remedy)

    async def _settle(self, job: JobFacts, escrow: Escrow) -> _State:
        return _State(job, *await self._settlements.settle(job, escrow))

    async def _finish(self, state: _State) -> float | None:
        """Remove the finalizers once the end is on record, and keep the phase."""
        job, escrow, delay = _as_recorded(state), state.escrow, state.delay_seconds
        if escrow is None:
            if job.ending:
                await self._objects.jobs.remove_finalizer(job)
            return None
        phase = escrow.phase
        self._phases.note(job.uid, phase)
        if phase is not Phase.FUNDED:
            self._resumed.pop(job.uid, None)
        if phase not in OPEN:
            await self._objects.escrows.remove_finalizer(escrow)
        on_record = phase not in _WORK_GOES_ON or escrow.ending is not None
        # Whoever waited for a Job's deletion may delete the operator's rights next: the account is better closed then.
        closes_soon = phase in OPEN and delay is not None and delay <= SOON_SECONDS
        if on_record and not closes_soon:
            await self._objects.jobs.remove_finalizer(job, settled=phase not in OPEN)
        return delay

    async def remove_finalizer_on_record(self, job: JobFacts) -> None:
        """Remove the finalizer of a Job whose end is on record: another operator closes its account."""
        escrow = await self._objects.escrows.get(job.namespace, job.uid)
        if escrow and escrow.ending:
            await self._objects.jobs.remove_finalizer(job)


def _as_recorded(state: _State) -> JobFacts:
    return state.job if state.escrow is None else ended_as_recorded(state.job, state.escrow)
