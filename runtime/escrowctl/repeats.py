"""Jobs whose work another Job's account has: what is known of one, and running it again on a person's word."""

from datetime import UTC, datetime

from runtime.contract import RUN_AGAIN_ANNOTATION, Phase
from runtime.errors import BadInput
from runtime.escrowctl.accounts import Accounts
from runtime.escrowctl.resolution import acts_with
from runtime.kubernetes.errors import ObjectNotFound
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.events import one_line
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.new_escrow import work_account
from runtime.kubernetes.shape import NAMED
from runtime.operator.jobs import JOB, JobFacts, jobs_path


class Repeats:
    """The Jobs of one namespace beside the accounts of their works."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def job(self, name: str) -> JobFacts | None:
        """The Job of that name; None where there is none, or a Job cannot have that name."""
        if "/" in name:
            return None
        try:
            return await self._accounts.api.get(f"{jobs_path(self._accounts.namespace)}/{name}", JOB)
        except ObjectNotFound:
            return None

    async def account_name(self, name: str) -> str:
        """Name of the account of the Job's work; empty where there is no such Job, or it has no work id."""
        job = await self.job(name)
        return work_account(job.work_id) if job and job.work_id else ""

    async def withheld(self, name: str) -> JobFacts | None:
        """The Job of that name, if it waits because another Job's account has its work."""
        job = await self.job(name)
        return job if job and job.withheld and not job.funded else None

    async def run_again(self, name: str, reason: str) -> str:
        """Give a Job the next run of its work; who and why stands in the account of the first run, and on the Job.

        Raises:
            BadInput: There is nothing to run again, or the last run has not ended.
        """
        if not reason.strip():
            raise BadInput("say why: --reason 'why the same work is paid once more'")
        job, first = await self._first(name)
        latest = await self._accounts.escrows.latest_run(first)
        if latest is None and (given := await self._named(first)):
            raise BadInput(f"the next run of the work was given to Job {given} already")
        if latest is not None and latest.phase is not Phase.SETTLED:
            raise BadInput(_unfinished(latest))
        who, run = await self._accounts.whoami(), first.next_run(job.uid)
        what = one_line(f"run {run['number']} of the work, by Job {job.name}", 128)
        acts = acts_with(first, by=who, what=what, why=reason.strip(), now=datetime.now(UTC))
        await self._accounts.escrows.set_status(first, run=run, **acts)  # of two people that ask at once one gets it
        note = one_line(f"run {run['number']}, by {who}: {reason}", 500)
        await self._accounts.api.merge_patch(
            job.path, {"metadata": {"uid": job.uid, "annotations": {RUN_AGAIN_ANNOTATION: note}}}
        )
        return f"Job {job.name}: {what}; the operator funds it now. On record in Escrow {first.name}"

    async def _named(self, first: Escrow) -> str:
        """Name of the Job that the latest run was given to; empty where it is gone."""
        uid = first.status.run.uid if first.status.run else ""
        jobs = Listing(self._accounts.api, jobs_path(first.namespace), NAMED, only_metadata=True)
        return next((job.metadata.name for job in [job async for job in jobs] if job.metadata.uid == uid), "")

    async def _first(self, name: str) -> tuple[JobFacts, Escrow]:
        job = await self.job(name)
        if job is None:
            raise BadInput(f"there is no Job {name} in namespace {self._accounts.namespace}")
        if job.work_id is None:
            raise BadInput(f"Job {name} has no work id that can be used: each Job is a work of its own; create it anew")
        if job.ending:
            raise BadInput(f"Job {name} has ended or is being deleted: create it anew, then run that")
        first = await self._accounts.escrows.get(job.namespace, work_account(job.work_id))
        run = first.status.run if first else None
        if first is None or job.uid in (first.work.uid, run and run.uid):
            raise BadInput(f"Job {name} is not withheld: nobody else has the work {job.work_id}")
        return job, first


def words_about(job: JobFacts) -> str:
    """Why a Job is withheld."""
    return f"Job {job.name} (UID {job.uid}) is withheld: {job.withheld}"


def _unfinished(latest: Escrow) -> str:
    hint = "end the review first, with resolve" if latest.phase is Phase.NEEDS_REVIEW else "wait until it has ended"
    return f"the work's last run is {latest.phase} (Escrow {latest.name}): {hint}"
