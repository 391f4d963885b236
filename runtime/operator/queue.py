"""A work queue by key: one worker a key at a time, repeats collapse, failures come back with a growing delay.

The shape of Kubernetes' own client-go workqueue, and its metric names; asyncio has no such queue. The item added
last for a key wins, and what is urgent goes first.
"""

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Final, Generic, TypeVar

from runtime.operator.metrics import Metrics

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FIRST_DELAY_SECONDS: Final = 0.5
LAST_DELAY_SECONDS: Final = 60.0
NORMAL: Final = 1e18
"""Priority of an item without a deadline. Smaller goes first: an item with one has it in seconds since 1970."""

_log = logging.getLogger(__name__)


class WorkQueue(Generic[K, V]):
    """`add` items, `run` workers. `process(item)` returns the seconds after which to come back, or None."""

    def __init__(self, process: Callable[[V], Awaitable[float | None]], workers: int, metrics: Metrics) -> None:
        self._process = process
        self._workers = workers
        self._metrics = metrics
        self._items: dict[K, V] = {}
        self._ready: list[tuple[float, int, K]] = []
        self._running: set[K] = set()
        self._again: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._count = itertools.count()
        self._wake = asyncio.Event()
        self._handled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: K) -> bool:
        """Whether the key waits, runs or is due for a retry."""
        return key in self._items or key in self._running

    @property
    def waiting(self) -> bool:
        """Whether an item is due and every worker busy; what waits for its next try is not due."""
        return bool(self._ready)

    def add(self, key: K, item: V, priority: float = NORMAL) -> None:
        """Have `item` processed as soon as a worker is free; replaces an item of that key that still waits."""
        known = key in self._items
        self._items[key] = item
        if key in self._running:
            self._again[key] = min(priority, self._again.get(key, priority))
        elif not known or priority < NORMAL or key in self._timers:
            if timer := self._timers.pop(key, None):
                timer.cancel()
            heapq.heappush(self._ready, (priority, next(self._count), key))
            self._wake.set()
        self._metrics.depth.set(len(self._items))

    def _add_later(self, key: K, item: V, seconds: float) -> None:
        self._items.setdefault(key, item)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        heapq.heappush(self._ready, (NORMAL, next(self._count), key))
        self._wake.set()

    async def until_done(self, keys: Collection[K]) -> None:
        """Wait until none of these keys waits, runs or is due for a retry."""
        while any(key in self for key in keys):
            self._handled.clear()
            await self._handled.wait()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; what a worker has begun it finishes."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work(stopping))
            await stopping.wait()
            self._wake.set()

    async def _work(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if not self._ready:
                self._wake.clear()
                await self._wake.wait()
                continue
            _, _, key = heapq.heappop(self._ready)
            if key in self._running or key in self._timers or key not in self._items:
                continue  # a repeat of one that was taken already
            await self._handle(key, self._items.pop(key))

    async def _handle(self, key: K, item: V) -> None:
        self._running.add(key)
        delay: float | None
        try:
            with self._metrics.work_seconds.time():
                delay = await self._process(item)
            self._failures.pop(key, None)
        except Exception as error:
            self._metrics.retries.inc()
            self._metrics.api_errors.labels("kubernetes", type(error).__name__).inc()
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (failures - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            _log.warning("will try again in %.1f s: %s: %s", delay, type(error).__name__, error)
        finally:
            self._running.discard(key)
        if (priority := self._again.pop(key, None)) is not None:
            heapq.heappush(self._ready, (priority, next(self._count), key))
            self._wake.set()
        elif delay is not None:
            self._add_later(key, item, delay)
        self._handled.set()
        self._metrics.depth.set(len(self._items))
