"""One complete reading of the queue, and what may be told of the last ones. No I/O.

A depth of zero takes the last worker away, so it is told only when two complete readings after another had it. What is
older than `stale_seconds` is told no more: a failing metric freezes an autoscaler, a wrong one scales.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from runtime.metrics_server.selectors import Labels

MOST: Final = 2_147_483
"""The largest depth that is told. An autoscaler whose target is 0.001 still wants fewer than 2^31 replicas of it; of
more Kubernetes makes a negative number, and scales in."""


MOST_GROUPS: Final = 1000
"""Sets of labels that are told apart; a hundred thousand escrows of as many payees would take the memory of all."""


class Unknown(Exception):
    """Nothing can be told now; the message says why."""


@dataclass(slots=True)
class Group:
    """Waiting work with the same labels.

    Args:
        count: Escrows.
        micro: What is locked in them, in micro-USDC; None where one does not say.
        oldest: When the oldest was locked, in epoch seconds; None where one does not say.
    """

    count: int = 0
    micro: int | None = 0
    oldest: float | None = float("inf")

    def add(self, micro: int | None, since: float | None, count: int = 1) -> None:
        """One more, or a group of them."""
        self.count += count
        self.micro = None if None in (self.micro, micro) else (self.micro or 0) + (micro or 0)
        self.oldest = None if self.oldest is None or since is None else min(self.oldest, since)


class Groups:
    """Waiting work by its labels; what has more sets of them than are told apart counts in the whole alone."""

    def __init__(self) -> None:
        self.whole = Group()
        self._by_labels: dict[tuple[tuple[str, str], ...], Group] = {}
        self._complete = True

    def add(self, labels: Labels, micro: int | None, since: float | None, count: int = 1) -> None:
        """One more, or a group of them."""
        self.whole.add(micro, since, count)
        key = tuple(sorted(labels.items()))
        group = self._by_labels.get(key)
        if group is None:
            if len(self._by_labels) >= MOST_GROUPS:
                self._complete = False
                return
            group = self._by_labels[key] = Group()
        group.add(micro, since, count)

    def of(self, matches: Callable[[Labels], bool] | None) -> Group:
        """What matches, as one group. Raises `Unknown`."""
        if matches is None:
            return self.whole
        if not self._complete:
            raise Unknown(f"there are more than {MOST_GROUPS} sets of labels: only the whole queue is counted")
        found = Group()
        for labels, group in self._by_labels.items():
            if matches(dict(labels)):
                found.add(group.micro, group.oldest, group.count)
        return found


@dataclass(frozen=True)
class Reading:
    """All that waited at one moment.

    Args:
        at: When its reading began, by our monotonic clock.
        now: The same in epoch seconds, by the payment service's clock.
        under_way: Tasks that somebody holds a claim on.
    """

    at: float
    now: float
    groups: Groups = field(default_factory=Groups)
    under_way: int = 0

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being done."""
        return not self.under_way and not self.groups.whole.count


@dataclass(frozen=True)
class Figures:
    """What is told: `depth` in escrows, `micro` in micro-USDC, `oldest_seconds`; None for what is not known."""

    depth: int
    micro: int | None
    oldest_seconds: float | None
    age_seconds: float
    """How long ago it was read."""


class Readings:
    """The last two, and what they allow to be told.

    Args:
        stale_seconds: For how long a reading holds.
        clock: Monotonic seconds.
    """

    def __init__(self, stale_seconds: float, clock: Callable[[], float]) -> None:
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._latest: Reading | None = None
        self._before: Reading | None = None
        self.problem = "the queue has not been read yet"
        """Why the last try failed; empty where it did not."""

    def took(self, reading: Reading) -> None:
        """One more complete reading."""
        self._before, self._latest, self.problem = (None if self.problem else self._latest), reading, ""

    def failed(self, problem: str) -> None:
        """A try that gave none. Two zeros on either side of it are not two after another."""
        self.problem = problem

    @property
    def wants_confirmation(self) -> bool:
        """Whether the latest one has nothing, and the one before does not say so too."""
        latest, before = self._latest, self._before
        return bool(latest and latest.idle and not self.problem) and not (before and before.idle)

    def figures(self, matches: Callable[[Labels], bool] | None = None) -> Figures:
        """What may be told now. Raises `Unknown`."""
        latest = self._fresh(self._latest)
        found = latest.groups.of(matches)
        if found.count:
            return self._told(latest, found)
        if matches is None and latest.under_way:
            # The list may be behind: who does the work would be taken away.
            return self._told(latest, Group(latest.under_way, None, None))
        if self._before is None or self.problem:
            raise Unknown(self.problem or "nothing waits, by one reading only; the next one decides")
        last = self._before.groups.of(matches)
        if last.count or (matches is None and self._before.under_way):
            return self._told(
                self._fresh(self._before), last if last.count else Group(self._before.under_way, None, None)
            )
        return self._told(latest, found)

    def _fresh(self, reading: Reading | None) -> Reading:
        if reading is None:
            raise Unknown(self.problem)
        age = self._clock() - reading.at
        if age > self._stale_seconds:
            raise Unknown(f"the last reading is {age:.0f} s old: {self.problem or 'the next one is under way'}")
        return reading

    def _told(self, reading: Reading, group: Group) -> Figures:
        age = self._clock() - reading.at
        waited = None if group.oldest is None else max(0.0, reading.now - group.oldest + age)
        return Figures(
            depth=min(group.count, MOST),
            micro=group.micro,
            oldest_seconds=waited if group.count else 0.0,
            age_seconds=age,
        )
