"""One payment a work: finds the account of a Job, and withholds the Job whose work another Job's account has.

The account of a work's first run has a name made of the work id. So of two Jobs, or two operators, that begin a work
at one moment the API server lets one create it. That account also says which run is the latest after the first, and
for which one Job: given by a compare-and-swap, to the Job of a person's `run-again`, or of a work that never began.
"""

import logging
from typing import Final, NamedTuple

from runtime.contract import Phase
from runtime.kubernetes.escrow import Condition, Escrow
from runtime.kubernetes.events import one_line
from runtime.kubernetes.new_escrow import escrow_name, work_account
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.jobs import JobFacts
from runtime.operator.phase_cache import PhaseCache
from runtime.settlement.table import Outcome

LONGEST: Final = 1000
"""Characters of why a Job is withheld: on the Job, in the event and in the condition."""

REPEATED: Final = "Repeated"
"""Condition of an account whose work another Job asks for once more."""

_STANDS: Final = {
    Phase.SETTLED: ("WorkSettled", "is settled"),
    Phase.NEEDS_REVIEW: ("WorkInReview", "waits for a manual decision"),
}

_log = logging.getLogger(__name__)


class Standing(NamedTuple):
    """How a Job stands to its work."""

    account: Escrow | None = None
    """Its own account; None where it has none yet."""
    first: Escrow | None = None
    """The account of the first run of its work, where that is another Job's and this Job has none."""


class Works:
    """Finds accounts, and withholds Jobs.

    Args:
        rerun_failed: Whether a work whose last run was not paid runs again when its Job is created anew.
    """

    def __init__(self, objects: ClusterObjects, phases: PhaseCache, *, rerun_failed: bool) -> None:
        self._objects = objects
        self._escrows = objects.escrows
        self._phases = phases
        self._rerun_failed = rerun_failed

    async def find(self, job: JobFacts) -> Standing:
        """How the Job stands to its work. Read from the API server, never from a cache."""
        by_uid = escrow_name(job.uid)
        known = job.account or self._phases.account(job.uid)
        if known and (account := await self._escrows.get(job.namespace, known)):
            return Standing(account)
        first = await self._escrows.get(job.namespace, work_account(job.work_id)) if job.work_id else None
        if first is not None and first.work.uid == job.uid:
            return Standing(first)
        # A later run, a Job without a work id, or one whose account was opened before it got its work id.
        account = await self._escrows.get(job.namespace, by_uid)
        return Standing(account, first if account is None else None)

    async def withhold(self, job: JobFacts, first: Escrow) -> tuple[JobFacts, Escrow]:
        """Give the Job the next run of its work if that is due, else leave it as it is and say why; both as written."""
        latest = await self._escrows.latest_run(first)
        if latest is not None and self._runs_again(latest):
            first = await self._escrows.set_status(first, run=first.next_run(job.uid))
            _log.info("Job %s begins run %s of the work %s", job.name, first.status.run, job.work_id)
            return job, first
        reason, why = _why(job, first, latest)
        if job.withheld != why:
            job = await self._objects.jobs.withhold(job, why)
            await self._objects.events.post(job, reason, why, warning=True)
        if latest is not None and latest.name == first.name:
            first = await self._note(first, reason, why)
        return job, first

    def _runs_again(self, latest: Escrow) -> bool:
        """Whether a new Job of the work is due to run: nothing was ever locked for it, or nobody was paid."""
        if latest.phase is not Phase.SETTLED:
            return False
        return latest.never_sent or (self._rerun_failed and latest.status.outcome is not Outcome.PAID)

    async def _note(self, first: Escrow, reason: str, why: str) -> Escrow:
        """A condition on the account; not while its escrow is being created, for a write would get in the way."""
        told = first.condition(REPEATED)
        if first.phase is Phase.PENDING or (told and told.message == why):
            return first
        news = Condition(type=REPEATED, status="True", reason=reason, message=why)
        return await self._escrows.set_status(first, conditions=first.with_condition(news))


def _why(job: JobFacts, first: Escrow, latest: Escrow | None) -> tuple[str, str]:
    """Reason and sentence for a Job that is withheld."""
    if latest is None:
        reason, stands = "WorkUnderWay", "is given to another Job, whose account is not open yet"
        latest = first
    else:
        reason, stands = _STANDS.get(latest.phase, ("WorkUnderWay", "is under way"))
        if latest.status.outcome is not None:
            reason, stands = f"Work{latest.status.outcome}", f"ended {latest.status.outcome}"
    goes_on = (
        "To run it again on purpose: kubectl purpleflea run-again"
        f" {job.name} -n {job.namespace} --reason '...', or create the Job with another work id"
    )
    account = f"Escrow {latest.name}, of Job {latest.work.name} with UID {latest.work.uid}"
    return reason, one_line(f"the work {job.work_id} {stands} ({account}); this Job is not run. {goes_on}", LONGEST)
