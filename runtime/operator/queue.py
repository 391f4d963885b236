"""A work queue by key: one worker a key at a time, repeats collapse, failures come back with a growing delay.

The shape of Kubernetes' own client-go workqueue, and its metric names; asyncio has no such queue, and client-go's
priorities know no turns. The item added last for a key wins. What is urgent goes first, what ends something before what
begins something, and tenants take turns: a thousand Jobs of one namespace, or a payment service that is slow to create
escrows, delay nobody else's payment.
"""

import asyncio
import heapq
import itertools
import logging
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from runtime.operator.metrics import Metrics

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FIRST_DELAY_SECONDS: Final = 0.5
LAST_DELAY_SECONDS: Final = 60.0
NORMAL: Final = 1e18
"""Priority of an item without a deadline. Smaller goes first: an item with one has it in seconds since 1970."""

_log = logging.getLogger(__name__)


class Turn(NamedTuple):
    """When an item comes, beside the others."""

    tenant: str
    """Tenants take turns."""
    begins: bool
    """It begins something, so it comes after what ends something, and takes half of the workers at most."""


class _Turns(Generic[K]):
    """Keys by tenant, one of each in turn."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, deque[K]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def push(self, tenant: str, key: K) -> None:
        self._keys.setdefault(tenant, deque()).append(key)

    def pop(self) -> K:
        tenant, keys = next(iter(self._keys.items()))
        key = keys.popleft()
        if keys:
            self._keys.move_to_end(tenant)
        else:
            del self._keys[tenant]
        return key


class WorkQueue(Generic[K, V]):
    """`add` items, `run` workers.

    Args:
        process: Handles an item; returns the seconds after which to come back, or None.
        turn: When an item comes.
        workers: How many items are handled at once.
        metrics: Where depth, retries and times are counted.
    """

    def __init__(
        self,
        process: Callable[[V], Awaitable[float | None]],
        turn: Callable[[V], Turn],
        workers: int,
        metrics: Metrics,
    ) -> None:
        self._process = process
        self._turn = turn
        self._workers = workers
        self._metrics = metrics
        self._items: dict[K, V] = {}
        self._urgent: list[tuple[float, int, K]] = []
        self._ending: _Turns[K] = _Turns()
        self._beginning: _Turns[K] = _Turns()
        self._begun: set[K] = set()
        """Those that run and begin something."""
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
        return bool(self._urgent or self._ending or self._beginning)

    def add(self, key: K, item: V, priority: float = NORMAL) -> None:
        """Have `item` processed as soon as a worker is free; replaces an item of that key that still waits."""
        before = self._items.get(key)
        self._items[key] = item
        if key in self._running:
            self._again[key] = min(priority, self._again.get(key, priority))
        elif before is None or priority < NORMAL or key in self._timers or self._turn(item) != self._turn(before):
            if timer := self._timers.pop(key, None):
                timer.cancel()
            self._push(key, priority)
        self._metrics.depth.set(len(self._items))

    def look(self, key: K, item: V) -> None:
        """Have the key processed now, because something that it depends on has changed; `item` only if none waits."""
        self.add(key, self._items.get(key, item))

    def _push(self, key: K, priority: float = NORMAL) -> None:
        turn = self._turn(self._items[key])
        if priority < NORMAL:
            heapq.heappush(self._urgent, (priority, next(self._count), key))
        else:
            (self._beginning if turn.begins else self._ending).push(turn.tenant, key)
        self._wake.set()

    def _take(self) -> K | None:
        """The key that comes next; None while none may."""
        while True:
            if self._urgent:
                key = heapq.heappop(self._urgent)[2]
            elif self._ending:
                key = self._ending.pop()
            elif self._beginning and len(self._begun) < max(1, self._workers // 2):
                key = self._beginning.pop()
            else:
                return None
            if key not in self._running and key not in self._timers and key in self._items:
                return key  # else a repeat of one that was taken already

    def _add_later(self, key: K, item: V, seconds: float) -> None:
        self._items.setdefault(key, item)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self._push(key)

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
            if (key := self._take()) is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._handle(key, self._items.pop(key))

    async def _handle(self, key: K, item: V) -> None:
        self._running.add(key)
        if self._turn(item).begins:
            self._begun.add(key)
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
            self._begun.discard(key)
            self._wake.set()  # for those that wait until fewer begin something
        if (priority := self._again.pop(key, None)) is not None:
            self._push(key, priority)
        elif delay is not None:
            self._add_later(key, item, delay)
        self._handled.set()
        self._metrics.depth.set(len(self._items))
