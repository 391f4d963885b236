"""The periodic pass over everything: what a watch or a crash missed, what others did, and the sums for the metrics."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.contract import Phase
from runtime.kubernetes.client import Forbidden, Json, KubernetesApi
from runtime.kubernetes.escrow import NOT_SETTLED, OPEN, phase_of, stamp
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events
from runtime.kubernetes.watch import jobs_path
from runtime.money import MICRO, ZERO, Usdc
from runtime.operator.comparison import Funded
from runtime.operator.jobs import Ending, JobFacts, absent_job, job_of, read_job
from runtime.operator.known import KnownPhases
from runtime.operator.listing import ListedEscrow, ListedJob
from runtime.operator.metrics import Metrics
from runtime.operator.queue import NORMAL, WorkQueue

REFUND_MARGIN: Final = timedelta(hours=1)
"""An escrow that the service refunds within this time is looked at first, and warned about."""

_log = logging.getLogger(__name__)


@dataclass
class _Pass:
    """What one pass finds."""

    now: datetime
    phases: dict[str, Phase] = field(default_factory=dict)
    locked: Usdc = ZERO
    review: Usdc = ZERO
    in_review: int = 0
    expiring: dict[str, tuple[JobFacts, datetime]] = field(default_factory=dict)
    """Open Escrows that the service refunds soon, and when."""
    oldest_ended: datetime | None = None
    funded: list[Funded] = field(default_factory=list)
    unknown: list[JobFacts] = field(default_factory=list)
    """Jobs that have no Escrow yet."""
    orphans: dict[str, str] = field(default_factory=dict)
    """Namespaces of the open Escrows, by the UIDs of their Jobs, until these turn up."""

    def priority(self, uid: str) -> float:
        """What the service refunds soon goes first."""
        return self.expiring[uid][1].timestamp() if uid in self.expiring else NORMAL


class Resync:
    """Runs passes; `listed` is called after each complete one, with the Escrows that it found funded."""

    def __init__(
        self,
        api: KubernetesApi,
        known: KnownPhases,
        queue: WorkQueue[str, JobFacts],
        events: Events,
        metrics: Metrics,
        listed: Callable[[list[Funded]], None],
    ) -> None:
        self._api = api
        self._escrows = EscrowObjects(api)
        self._known = known
        self._queue = queue
        self._events = events
        self._metrics = metrics
        self._listed = listed
        self._warned: set[str] = set()
        self._missing: set[str] = set()
        """UIDs of Jobs that the last pass did not find either."""

    async def run(self, namespaces: Sequence[str]) -> dict[str, str]:
        """One pass over the namespaces; the version of the Jobs in each, to watch from there.

        Raises what the API raises; the next pass starts anew.
        """
        found, versions = _Pass(datetime.now(UTC)), dict[str, str]()
        self._known.listing()
        for namespace in namespaces:
            async for escrow in self._escrows.list(namespace, ListedEscrow, fieldSelector=NOT_SETTLED):
                self._note(found, escrow)
        self._known.listed(found.phases)
        for namespace in namespaces:
            listing = self._api.list(jobs_path(namespace), ListedJob)
            async for job in listing:
                self._see(found, read_job(job))
            versions[namespace] = listing.version
        for job in sorted(found.unknown, key=lambda job: job.created_at):
            self._queue.add(job.uid, job)  # of two that name one escrow the older is bound to it
        self._look_at_orphans(found)
        self._publish(found)
        await self._warn(found)
        self._listed(found.funded)
        return versions

    async def ending(self, namespaces: Sequence[str]) -> list[JobFacts]:
        """The Jobs we hold that are being deleted, by themselves or because their namespace terminates.

        And of a namespace that terminates the open Escrows whose Job is let go of already: they hold it as well.
        """
        held: dict[str, JobFacts] = {}
        for namespace in namespaces:
            terminating = await self._terminates(namespace)
            if terminating:
                held |= {
                    (job := job_of(escrow)).uid: job
                    async for escrow in self._escrows.list(namespace, ListedEscrow, fieldSelector=NOT_SETTLED)
                    if phase_of(escrow) in OPEN
                }
            async for job in self._api.list(jobs_path(namespace), ListedJob):
                facts = read_job(job)
                if (terminating and facts.concerned) or (facts.deleting and facts.finalizer):
                    held[facts.uid] = facts if facts.ending else _ended_by_its_namespace(facts)
        return [*held.values()]

    async def _terminates(self, namespace: str) -> bool:
        """Asked with the rights we have: a namespace that terminates refuses every create, even a rehearsed one."""
        rehearsal = {"metadata": {"generateName": "rehearsal-"}, "involvedObject": {"namespace": namespace}}
        try:
            await self._api.rehearse(f"/api/v1/namespaces/{namespace}/events", rehearsal)
        except Forbidden as error:
            return error.terminating
        return False

    def _note(self, found: _Pass, escrow: Json) -> None:
        uid, phase, status = escrow["spec"]["job"]["uid"], phase_of(escrow), escrow.get("status") or {}
        found.phases[uid] = phase
        amount = Usdc.parse(status.get("lockedUsdc") or escrow["spec"].get("amountUsdc") or "0")
        if phase is Phase.NEEDS_REVIEW:
            found.review, found.in_review = found.review + amount, found.in_review + 1
        if phase not in OPEN:
            return
        found.locked += amount
        if refund := status.get("autoReleaseAt"):
            refund_at = datetime.fromisoformat(refund)
            if refund_at - found.now < REFUND_MARGIN:
                found.expiring[uid] = (job_of(escrow), refund_at)
        if ended := status.get("jobEnding"):
            ended_at = datetime.fromisoformat(ended["time"])
            found.oldest_ended = min(found.oldest_ended or ended_at, ended_at)
        if phase is Phase.FUNDED:
            found.funded.append(Funded.of(escrow))
        found.orphans[uid] = sys.intern(escrow["metadata"]["namespace"])  # one text for thousands

    def _see(self, found: _Pass, job: JobFacts) -> None:
        found.orphans.pop(job.uid, None)
        self._known.still_there(job)
        if self._known.idle(job):
            return
        if self._known.get(job.uid):
            self._queue.add(job.uid, job, found.priority(job.uid))
        else:
            found.unknown.append(job)

    def _look_at_orphans(self, found: _Pass) -> None:
        """Go on with what was decided; an undecided one waits a pass: the watch may yet tell how its Job ended."""
        for uid, namespace in found.orphans.items():
            decided = found.phases[uid] in (Phase.DECIDED, Phase.VERIFYING)
            if (decided or uid in self._missing) and uid not in self._queue:
                self._queue.add(uid, absent_job(namespace, uid), found.priority(uid))
        self._missing = set(found.orphans)

    async def _warn(self, found: _Pass) -> None:
        """Say once for each Job that runs into the service's time-out: even work that is done is refunded there."""
        for uid, (job, refund) in found.expiring.items():
            if uid not in self._warned:
                words = f"escrow {job.escrow_id} is refunded by the service at {stamp(refund)}, done or not"
                await self._events.post(job, "EscrowExpiring", words, warning=True)
        self._warned = set(found.expiring)

    def _publish(self, found: _Pass) -> None:
        metrics = self._metrics
        metrics.locked.set(found.locked.micro / MICRO)
        metrics.review.set(found.review.micro / MICRO)
        metrics.in_review.set(found.in_review)
        metrics.expiring.set(len(found.expiring))
        metrics.oldest.set((found.now - found.oldest_ended).total_seconds() if found.oldest_ended else 0)
        metrics.last_list.set(time.time())


def _ended_by_its_namespace(job: JobFacts) -> JobFacts:
    """A Job that will be deleted next, as if it was already."""
    words = "its namespace was deleted before it had ended"
    return replace(job, ending=Ending.DELETED, ending_message=words, deleting=True)
