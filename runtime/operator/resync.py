"""The periodic pass over all Escrows and Jobs: finds what a watch or a crash missed, and sums up for the metrics."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.contract import ESCROW_KIND, Phase, WorkKind
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import Forbidden, ObjectNotFound
from runtime.kubernetes.escrow import NOT_SETTLED, Ending, Escrow
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.new_escrow import escrow_name
from runtime.kubernetes.shape import stamp
from runtime.money import MICRO, ZERO, Usdc
from runtime.operator.budgets import Budgets
from runtime.operator.comparison import Funded
from runtime.operator.jobs import JOB, JobFacts, absent_job, job_of, jobs_path
from runtime.operator.metrics import Metrics
from runtime.operator.phase_cache import PhaseCache
from runtime.operator.queue import NORMAL, WorkQueue
from runtime.operator.served import Serving, is_marked

REFUND_MARGIN: Final = timedelta(hours=1)
"""An escrow that the service refunds within this time is reconciled first, and an event warns about it."""

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
    waiting: Counter[str] = field(default_factory=Counter)
    """Open Escrows by the reason for which they wait."""
    escrow_ids: set[str] = field(default_factory=set)
    """Of all Escrows that are not settled, Tasks' among them."""
    foreign: int = 0
    """Open Escrows of another payer, service or dialect."""
    unmarked: set[str] = field(default_factory=set)
    """The UIDs of the Jobs of those that do not say so yet."""
    malformed: Counter[str] = field(default_factory=Counter)
    """Objects that cannot be read, by kind."""

    def priority(self, uid: str) -> float:
        """What the service refunds soon goes first."""
        return self.expiring[uid][1].timestamp() if uid in self.expiring else NORMAL


class Resync:
    """Runs passes; calls `listed` after each complete one: the funded Escrows, and the escrow ids of all unsettled."""

    def __init__(
        self,
        api: KubernetesApi,
        known: PhaseCache,
        queue: WorkQueue[str, JobFacts],
        events: Events,
        budgets: Budgets,
        metrics: Metrics,
        serving: Serving,
        listed: Callable[[list[Funded], set[str]], None],
    ) -> None:
        self._api = api
        self._escrows = EscrowObjects(api)
        self._known = known
        self._queue = queue
        self._events = events
        self._budgets = budgets
        self._metrics = metrics
        self._serving = serving
        self._listed = listed
        self._warned: set[str] = set()
        self._served: set[str] = set()
        """Namespaces that were served, or had an open Escrow when this process began."""
        self._missing: set[str] = set()
        """UIDs of Jobs that the last pass did not find either."""

    async def run(self, namespaces: Sequence[str]) -> dict[str, str]:
        """One pass over the namespaces; the version of the Jobs in each, to watch from there.

        Raises what the API raises; the next pass starts anew.
        """
        found, versions = _Pass(datetime.now(UTC)), dict[str, str]()
        self._known.listing()
        for namespace in namespaces:
            escrows = self._escrows.list(namespace, fieldSelector=NOT_SETTLED)
            async for escrow in escrows:
                self._note(found, escrow)
            found.malformed[ESCROW_KIND] += len(escrows.malformed)
        self._known.listed(found.phases)
        for namespace in namespaces:
            jobs = Listing(self._api, jobs_path(namespace), JOB)
            async for job in jobs:
                self._see(found, job)
            found.malformed[JOB.kind] += len(jobs.malformed)
            versions[namespace] = jobs.version
        for job in sorted(found.unknown, key=lambda job: job.created_at):
            self._queue.add(job.uid, job)  # of two that name one escrow the older is bound to it
        self._add_orphans(found)
        await self._note_unserved(namespaces)
        self._publish(found)
        await self._warn(found)
        for escrow in await self._budgets.tidy(namespaces):
            if escrow.work.kind is not WorkKind.JOB:
                await self._budgets.return_task(escrow)
            elif escrow.work.key not in self._queue:
                self._queue.add(escrow.work.key, job_of(escrow))
        self._listed(found.funded, found.escrow_ids)
        return versions

    async def ending(self, namespaces: Sequence[str]) -> list[JobFacts]:
        """Jobs with our finalizer that are being deleted, or whose namespace is.

        In a terminating namespace also the Jobs of open Escrows: these have the finalizer too, and block the deletion.
        """
        held: dict[str, JobFacts] = {}
        for namespace in namespaces:
            terminating = await self._terminates(namespace)
            if terminating:
                held |= {
                    (job := job_of(escrow)).uid: job
                    async for escrow in self._escrows.list(namespace, fieldSelector=NOT_SETTLED)
                    if escrow.is_open and escrow.work.kind is WorkKind.JOB
                }
            async for facts in Listing(self._api, jobs_path(namespace), JOB):
                if (terminating and facts.concerned) or (facts.deleting and facts.finalizer):
                    held[facts.uid] = facts if facts.ending else _ended_by_its_namespace(facts)
        return [*held.values()]

    async def _terminates(self, namespace: str) -> bool:
        """True if it is being deleted. Found out by a dry-run create of an event: no right on namespaces is needed."""
        event = {"metadata": {"generateName": "dry-run-"}, "involvedObject": {"namespace": namespace}}
        try:
            await self._api.dry_run_create(f"/api/v1/namespaces/{namespace}/events", event)
        except Forbidden as error:
            return error.terminating
        return False

    def _note(self, found: _Pass, escrow: Escrow) -> None:
        """Add one Escrow. All count in the sums; only those of Jobs are reconciled."""
        amount = ZERO if escrow.amount is None else escrow.amount
        if escrow.escrow_id is not None:
            found.escrow_ids.add(escrow.escrow_id)
        if escrow.phase is Phase.NEEDS_REVIEW:
            found.review, found.in_review = found.review + amount, found.in_review + 1
        if escrow.is_open:
            found.locked += amount
            found.waiting.update({one.reason for one in escrow.status.conditions if one.status == "False"})
        if escrow.work.kind is not WorkKind.JOB:
            return
        uid = escrow.work.key
        found.phases[uid] = escrow.phase
        self._known.note_account(uid, escrow.name)
        if not escrow.is_open:
            return
        if (refund_at := escrow.status.auto_release_at) and refund_at - found.now < REFUND_MARGIN:
            found.expiring[uid] = (job_of(escrow), refund_at)
        if escrow.ending:
            found.oldest_ended = min(found.oldest_ended or escrow.ending.time, escrow.ending.time)
        if why := self._serving.foreign(escrow):
            found.foreign += 1
            if not is_marked(escrow, why):
                found.unmarked.add(uid)
        elif escrow.phase is Phase.FUNDED:
            found.funded.append(Funded.of(escrow))
        found.orphans[uid] = sys.intern(escrow.namespace)  # one text for thousands

    def _see(self, found: _Pass, job: JobFacts) -> None:
        found.orphans.pop(job.uid, None)
        self._known.still_there(job)
        if self._known.idle(job) and job.uid not in found.unmarked:
            return
        if self._known.get(job.uid):
            self._queue.add(job.uid, job, found.priority(job.uid))
        else:
            found.unknown.append(job)

    def _add_orphans(self, found: _Pass) -> None:
        """Queue open Escrows whose Job no longer exists.

        A decided one goes on at once. An undecided one waits for one more pass, because the watch may still deliver how
        its Job ended; without that it would become `NeedsReview`.
        """
        for uid, namespace in found.orphans.items():
            decided = found.phases[uid] in (Phase.DECIDED, Phase.VERIFYING)
            if (decided or uid in self._missing) and uid not in self._queue:
                self._queue.add(
                    uid, absent_job(namespace, uid, self._known.account(uid) or escrow_name(uid)), found.priority(uid)
                )
        self._missing = set(found.orphans)

    async def look_everywhere(self) -> None:
        """At the start of one that serves by a selector: where there are open Escrows, whatever is served now."""
        async for escrow in self._escrows.list("", fieldSelector=NOT_SETTLED):
            if self._is_ours(escrow):
                self._served.add(escrow.namespace)

    def _is_ours(self, escrow: Escrow) -> bool:
        """Whether it is open and this operator would settle it: another's namespace has accounts too."""
        return escrow.is_open and self._serving.foreign(escrow) is None

    async def _note_unserved(self, namespaces: Sequence[str]) -> None:
        """Count open Escrows in namespaces that are served no more: work that is done there is paid by nobody."""
        self._served.update(namespaces)
        count = 0
        for namespace in self._served - set(namespaces):
            try:
                listed = self._escrows.list(namespace, fieldSelector=NOT_SETTLED)
                escrows = [escrow async for escrow in listed if self._is_ours(escrow)]
            except (Forbidden, ObjectNotFound):
                escrows = []  # not ours to read any more; what else is refused ends the pass: unknown is not zero
            if not escrows:
                self._served.discard(namespace)
                continue
            _log.warning("namespace %s is served no more, with %d open Escrows in it", namespace, len(escrows))
            count += len(escrows)
        self._metrics.unserved.set(count)

    async def _warn(self, found: _Pass) -> None:
        """Warn once for each Job whose escrow times out soon: the service then refunds even completed work."""
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
        metrics.waiting.clear()
        for reason, count in found.waiting.items():
            metrics.waiting.labels(reason).set(count)
        metrics.foreign.set(found.foreign)
        metrics.expiring.set(len(found.expiring))
        metrics.oldest.set((found.now - found.oldest_ended).total_seconds() if found.oldest_ended else 0)
        metrics.last_list.set(time.time())
        for kind, count in found.malformed.items():
            metrics.malformed.labels(kind).set(count)


def _ended_by_its_namespace(job: JobFacts) -> JobFacts:
    """A Job whose namespace is being deleted: it is deleted next, so it counts as deleted."""
    words = "its namespace was deleted before it had ended"
    return replace(job, ending=Ending.DELETED, ending_message=words, deleting=True)
