"""Configuration in, one process that watches, settles and reports until SIGTERM."""

import asyncio
import itertools
import logging
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Final
from weakref import WeakValueDictionary

import stamina

from runtime.contract import ACT_LABEL, OPERATOR_LEASE
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import (
    ApiUnreachable,
    ApiUntrusted,
    KubernetesError,
    MalformedObject,
    is_transient,
)
from runtime.kubernetes.escrow_objects import escrows_path
from runtime.kubernetes.failures import explained
from runtime.kubernetes.leader import RETRY_SECONDS, Leader
from runtime.kubernetes.watch import watch
from runtime.operator.accounts import Accounts
from runtime.operator.cluster_objects import ClusterObjects
from runtime.operator.comparison import Comparison, Funded
from runtime.operator.config import OperatorConfig
from runtime.operator.funding import Funding
from runtime.operator.health import Health
from runtime.operator.jobs import ACTED, JOB, JobFacts, jobs_path, turn
from runtime.operator.kueue import Kueue
from runtime.operator.metrics import Metrics
from runtime.operator.phase_cache import PhaseCache
from runtime.operator.queue import WorkQueue
from runtime.operator.reconcile import Reconciler
from runtime.operator.resync import Resync
from runtime.operator.served import Serving
from runtime.operator.settlements import Settlements
from runtime.operator.unaccounted import Unaccounted
from runtime.operator.works import Works
from runtime.payments import PaymentsClient
from runtime.payments.busy_http import unless_proxied
from runtime.service import Start
from runtime.service.probes import Probes
from runtime.trace import tracing

SHUTDOWN_SECONDS: Final = 15
"""Within the pod's grace period of 30 s, with room for what is being settled."""

LEADERS_TURNS: Final = 3
"""How often, two seconds apart, a replica that shuts down waits for the leader to settle the deleted Jobs. After that
it settles them itself: the leader may be dead, and the Lease only avoids duplicate work."""

ASK_TIME_SECONDS: Final = 2.0
"""So long a start waits for the payment service to tell the time; else the first create asks."""

SWEEP_EVERY: Final = 12
"""Passes between two sweeps, an hour at the default period. A claim whose Escrow was deleted only takes room, and one
that is missing is made anew before the next act."""

NAME: Final = "purpleflea-operator"
"""The field manager of everything that it writes."""

_log = logging.getLogger("runtime.operator")


class Operator:
    """The parts of one operator process, put together."""

    def __init__(
        self, config: OperatorConfig, api: KubernetesApi, client: PaymentsClient, asked_to_stop: asyncio.Event
    ) -> None:
        self._config = config
        self._api = api
        self._client = client
        metrics = Metrics()
        metrics.follow(client)
        objects = ClusterObjects.of(api, config, metrics)
        self._claims = objects.claims
        self._known = known = PhaseCache()
        settlements = Settlements(objects, client, metrics)
        funding = Funding(objects, client, metrics, config, settlements)
        serving = Serving.of(config)
        accounts = Accounts(objects, client, funding, serving)
        works = Works(objects, known, rerun_failed=config.rerun_failed_work)
        self._kueue = Kueue(api, config.admission_check, lambda job: self._queue.look(job.uid, job))
        self._reconciler = Reconciler(
            objects,
            works,
            accounts,
            funding,
            settlements,
            known,
            serving,
            self._kueue,
            auto_release=config.auto_release,
        )
        self._queue = WorkQueue(self._reconcile, turn, config.settlements_at_once, metrics)
        self._health = Health(stall_seconds=3 * config.resync_seconds + 5)
        self._probes = Probes(self._health.stalled, self._health.unready, metrics.registry)
        self._leader = Leader(api, config.pod_namespace, OPERATOR_LEASE, config.pod_name, metrics.leader.set)
        unaccounted = Unaccounted(client, objects.events, metrics, config.pod_namespace)
        self._comparison = Comparison(
            client, objects.escrows, settlements, known, self._queue, metrics, self._leader.leading, unaccounted
        )
        self._resync = Resync(api, known, self._queue, objects.events, objects.budgets, metrics, serving, self._listed)
        self._parting = asyncio.Event()
        """Set on shutdown when it may act without leading, because the leader left deleted Jobs unsettled."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Escrow id → lock, while Jobs that brought that escrow are not bound yet."""
        self._asked_to_stop = asked_to_stop
        """Set by a signal; deleted Jobs are settled then, before `_stopping` ends all work."""
        self._stopping = asyncio.Event()
        """Set when nothing new may begin: asked to stop, and the deleted Jobs are settled."""

    async def _reconcile(self, job: JobFacts) -> float | None:
        if not await self._leading() or (read := await self._kueue.read(job)) is None:
            return None
        job = read
        async with self._turn(job):
            with tracing(namespace=job.namespace, job=job.name, escrow=job.escrow_id or ""):
                try:
                    return await self._reconciler.reconcile(job)
                except MalformedObject as error:
                    self._api.malformed.note(error)
                    return None  # it is reconciled with its next change, and with the next list

    def _turn(self, job: JobFacts) -> AbstractAsyncContextManager[None]:
        """One at a time, while it is not bound: of two Jobs that name one escrow the older, which is queued first,
        gets it. Else whichever adds its finalizer faster would."""
        if job.escrow_id is None or self._known.get(job.uid) is not None:
            return nullcontext()
        return self._turns.setdefault(job.escrow_id, asyncio.Lock())

    async def _leading(self) -> bool:
        """Wait until this replica may act; False when it has to stop before."""
        turns = (self._leader.leading, self._parting, self._stopping)
        if not any(event.is_set() for event in turns):
            waits = [asyncio.ensure_future(event.wait()) for event in turns]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        return not self._stopping.is_set()

    def _listed(self, funded: list[Funded], escrow_ids: set[str]) -> None:
        self._health.progress()
        self._comparison.listed(funded, escrow_ids)

    def _seen(self, job: JobFacts) -> None:
        if not self._known.idle(job):
            self._queue.add(job.uid, job)

    def _acted(self, job: JobFacts | None) -> None:
        if job is not None:
            self._queue.add(job.uid, job)

    async def run(self) -> None:
        """Serve until a signal; what has begun is finished first."""
        async with self._probes.serving(self._config.probes.ports):
            with suppress(TimeoutError):  # a create's age is told by the service's clock, once it has told the time
                async with asyncio.timeout(ASK_TIME_SECONDS):
                    await self._client.ask_time()
            versions = await self._first_list()  # every Escrow is known before the first Job is reconciled
            async with asyncio.TaskGroup() as group:
                if self._config.leader_election:
                    group.create_task(self._leader.run(self._stopping))
                else:
                    self._leader.leading.set()
                group.create_task(self._queue.run(self._stopping))
                group.create_task(self._watch_and_list(versions))
                group.create_task(self._comparison.run(self._stopping))
                self._health.ready = True
                _log.info("serving namespaces %s", ", ".join(versions))

    async def _settle_deleted_jobs(self, namespaces: tuple[str, ...]) -> None:
        """On shutdown, settle Jobs being deleted and remove their finalizers.

        They may be deleted together with the operator. Without this they would hang in deletion until another one runs.
        """
        begun: dict[str, JobFacts] = {}
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                # Listed again, because the Jobs of a CronJob that is deleted follow it a moment later.
                while new := {job.uid: job for job in await self._left_to_us(namespaces) if job.uid not in begun}:
                    begun |= new
                    _log.info("asked to stop; deleted Jobs that are settled first: %d", len(new))
                    self._parting.set()
                    for uid, job in new.items():
                        self._queue.add(uid, job)
                    # The queue tries again what fails, as always: the payment service may just be restarting.
                    await self._queue.until_done(new)
        except (KubernetesError, ApiUnreachable, TimeoutError) as error:
            words = "not every deleted Job was settled; where one hangs, `escrowctl let-go --all` lets go of it"
            _log.warning("%s: %s %s", words, type(error).__name__, error)
            removals = map(self._reconciler.remove_finalizer_on_record, begun.values())
            await asyncio.gather(*removals, return_exceptions=True)

    async def _left_to_us(self, namespaces: tuple[str, ...]) -> list[JobFacts]:
        """Deleted Jobs that are still held. Where another replica leads, it is given time to settle them first."""
        ending = await self._resync.ending(namespaces)
        for _ in range(LEADERS_TURNS):
            if not ending or self._leader.leading.is_set():
                break
            _log.info("asked to stop, but not leading; deleted Jobs that are still held: %d", len(ending))
            await asyncio.sleep(RETRY_SECONDS)
            ending = await self._resync.ending(namespaces)
        return ending

    @stamina.retry(on=is_transient, attempts=8, timeout=15.0)
    async def _first_list(self) -> dict[str, str]:
        """List everything once. Retried: an API server refuses for a moment after its start or a new CRD."""
        await self._claims.check()
        await self._kueue.refresh()
        if self._config.watched.selector:
            await self._resync.look_everywhere()
        versions = await self._resync.run(await self._namespaces())
        await self._claims.rebuild(versions)
        return versions

    async def _watch_and_list(self, versions: dict[str, str]) -> None:
        """Watch from these versions and list once a period; start anew when the set of namespaces changes."""
        while not self._stopping.is_set():
            async with asyncio.TaskGroup() as group:
                watches = [group.create_task(self._watch_jobs(*each)) for each in versions.items()]
                watches += [group.create_task(self._watch_acts(namespace)) for namespace in versions]
                watches += [group.create_task(self._kueue.watch(namespace)) for namespace in versions]
                found = await self._list_until_moved(versions)
                for each in watches:
                    each.cancel()
            if found is None:  # a signal
                await self._settle_deleted_jobs(tuple(versions))
                self._stopping.set()
            versions = found or {}

    async def _watch_jobs(self, namespace: str, version: str) -> None:
        await watch(self._api, jobs_path(namespace), JOB, self._seen, version)

    async def _watch_acts(self, namespace: str) -> None:
        """Watch Escrows with a manual decision. All others are written by the operator alone and need no watch."""
        await watch(self._api, escrows_path(namespace), ACTED, self._acted, labelSelector=ACT_LABEL)

    async def _list_until_moved(self, watched: dict[str, str]) -> dict[str, str] | None:
        """List once a period until the namespaces change; their versions, or None after a signal."""
        for passes in itertools.count(1):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked_to_stop.wait(), self._config.resync_seconds)
                break
            versions = await self._list_again(passes)
            if versions is not None and versions.keys() != watched.keys():
                return versions
        return None

    async def _list_again(self, passes: int) -> dict[str, str] | None:
        try:
            await self._kueue.refresh()
            versions = await self._resync.run(await self._namespaces())
            if passes % SWEEP_EVERY == 0:
                await self._claims.sweep(versions)
                await self._claims.rebuild(versions)
        except (KubernetesError, ApiUnreachable) as error:
            _log.warning("not everything could be listed, next try in %s s: %s", self._config.resync_seconds, error)
            if is_transient(error) and not isinstance(error, ApiUntrusted):
                self._health.progress()
            return None
        return versions

    async def _namespaces(self) -> tuple[str, ...]:
        return await self._config.watched.namespaces(self._api)


async def serve(start: Start[OperatorConfig]) -> None:
    """Run one operator until it is asked to stop."""
    with explained():
        async with KubernetesApi(NAME) as api, start.settings.payments.client(unless_proxied()) as client:
            await Operator(start.settings, api, client, start.stop).run()
