"""The worker's loop: take a task, claim it, do it, log it, say so; let go of it when asked to stop."""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from runtime.agent_worker.doing import Result, Task, do
from runtime.agent_worker.queue import Queue
from runtime.agent_worker.settings import Settings
from runtime.errors import PurpleFleaError
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError
from runtime.kubernetes.task_claims import TaskClaim, TaskClaims
from runtime.payments import Operation, PaymentsClient
from runtime.trace import tracing
from runtime.work_log import Entry, LogFull, TaskOutcome, WorkLog

AGAIN_SECONDS: Final = 2.0
"""Between two tries to have a task's end on record at the API server."""

_log = logging.getLogger("runtime.agent_worker")


class Worker:
    """One process's loop.

    Args:
        client: Says that a task is done where the dialect can and the key is the payee's; None without a key.
        stop: Set when it shall end: what has begun may go on for the grace period.
    """

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        claims: TaskClaims,
        log: WorkLog,
        client: PaymentsClient | None,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._claims = claims
        self._work_log = log
        self._client = client
        self._stop = stop
        self._ended = {e.task: e for e in log.entries() if e.escrow == e.task and e.outcome}
        """Of the queue: what this pod has done, also before its container was started again."""
        self._moved_at = time.monotonic()
        self.registry = registry = CollectorRegistry()
        self._tasks = Counter("worker_tasks", "Tasks that ended.", ("outcome",), registry=registry)
        self._waiting = Gauge("worker_tasks_pending", "Tasks that wait, at the last look.", registry=registry)
        self._full = Gauge("worker_log_full", "1 while no task can be logged.", registry=registry)

    def stalled(self) -> str | None:
        """Why a new process is needed."""
        silent = time.monotonic() - self._moved_at
        most = 4 * self._settings.queue.poll_seconds + 2 * self._claims.lease_seconds + 60
        return f"nothing has moved for {silent:.0f} s" if silent > most else None

    def unready(self) -> str | None:
        """Why it takes no tasks."""
        return "it ends" if self._stop.is_set() else None

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stop.is_set():
            self._moved_at = time.monotonic()
            try:
                worked = await self._round()
            except (KubernetesError, ApiUnreachable, PurpleFleaError) as error:
                _log.warning("no task can be taken now: %s", error)
                worked = False
            except LogFull as error:
                self._full.set(1)
                _log.error("%s; what is logged already is kept, and no task is taken", error)
                worked = False
            if not worked:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._settings.queue.poll_seconds)

    async def _round(self) -> bool:
        """Do what waits; whether there was anything to do."""
        pending = await self._queue.pending()
        self._waiting.set(len(pending))
        worked = False
        for task in pending:
            if self._stop.is_set():
                break
            self._moved_at = time.monotonic()
            claim = await self._claims.take(task.escrow or "")
            if claim is None:
                continue
            if ended := self._ended.get(task.id):  # logged, and the container ended before it was known elsewhere
                await self._hand_over(claim, ended)
            else:
                worked = await self._work(task, claim) or worked
        return worked

    async def _work(self, task: Task, claim: TaskClaim) -> bool:
        with tracing(escrow=task.escrow or ""):
            try:
                running = self._work_log.begin(task.id, task.escrow)
            except LogFull:
                await claim.let_go()
                raise
            self._full.set(0)
            _log.info("task %s begins", task.id)
            result = await self._watched(task, claim)
            if result is None:
                await claim.let_go()
                return False
            running.outcome, running.evidence, running.note = result.outcome, result.evidence, result.problem
            entry = running.entry(datetime.now(UTC))
            try:
                self._work_log.end(running)
            except LogFull as error:
                _log.error("%s; it is kept at the API server alone", error)
            self._ended[task.id] = entry
            self._tasks.labels(result.outcome).inc()
            _log.info("task %s %s %s", task.id, result.outcome, result.problem)
            await self._complete(task, entry)
            await self._hand_over(claim, entry)
            return True

    async def _watched(self, task: Task, claim: TaskClaim) -> Result | None:
        """Do it while the claim is ours and we may; None where it was broken off, so that another may do it."""
        doing = asyncio.create_task(do(task, self._settings.task))
        keeping = asyncio.create_task(claim.keep(self._moved))
        ending = asyncio.create_task(self._grace_is_over())
        try:
            await asyncio.wait((doing, keeping, ending), return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            why = "we are to stop" if ending.done() else "the claim on it is lost"
            _log.warning("task %s is broken off, because %s; another worker may do it", task.id, why)
            return None
        finally:
            for one in (doing, keeping, ending):
                one.cancel()
            await asyncio.gather(doing, keeping, ending, return_exceptions=True)

    def _moved(self) -> None:
        self._moved_at = time.monotonic()

    async def _grace_is_over(self) -> None:
        await self._stop.wait()
        await asyncio.sleep(self._settings.queue.grace_seconds)

    async def _complete(self, task: Task, entry: Entry) -> None:
        """Tell the service, as the payee, that it is done: then it is on record there too."""
        client = self._client
        if client is None or not client.supports(Operation.COMPLETE) or entry.outcome is not TaskOutcome.DONE:
            return
        try:
            await client.complete(task.escrow or "")
        except PurpleFleaError as error:
            _log.warning("not marked as complete, which payroll does not need: %s", error)

    async def _hand_over(self, claim: TaskClaim, entry: Entry) -> None:
        """Have the end on record at the API server and let go; until it is, nothing else is begun."""
        loop, deadline = asyncio.get_running_loop(), float("inf")
        while loop.time() < deadline:
            try:
                await claim.let_go(entry)
                return
            except (KubernetesError, ApiUnreachable) as error:
                _log.warning("the end of task %s is logged here, and not yet at the API server: %s", entry.task, error)
            self._moved()
            if self._stop.is_set():
                deadline = min(deadline, loop.time() + self._settings.queue.grace_seconds)
            await asyncio.sleep(AGAIN_SECONDS)
