"""One HorizontalPodAutoscaler, as kube-controller-manager 1.36 and 1.37 reconciles it, for one metric with an average.

Its words and its order are those of `pkg/controller/podautoscaler/horizontal.go`; a test holds both equal sync by sync.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

TOLERANCE: Final = 0.1
"""How far the metric may be off its target, as a part of it, before anything is done."""
SYNC_SECONDS: Final = 15.0
_MOST: Final = 2**31 - 1
_DEFAULT_UP: Final = {
    "stabilizationWindowSeconds": 0,
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DEFAULT_DOWN: Final = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


@dataclass(frozen=True)
class Rules:
    """One direction of `spec.behavior`."""

    window_seconds: float
    policies: tuple[Mapping[str, Any], ...]
    select: str

    @classmethod
    def read(cls, given: Mapping[str, Any] | None, default: Mapping[str, Any]) -> "Rules":
        """As the API server fills it in."""
        found = {**default, **(given or {})}
        return cls(found["stabilizationWindowSeconds"], tuple(found["policies"]), found.get("selectPolicy", "Max"))


@dataclass
class Autoscaler:
    """An HPA and its controller's memory of it.

    Args:
        spec: Of the HPA, in Kubernetes' own words; its one metric has a target of `averageValue`.
        replicas: What the workload has.
        scaled_to_zero: Whether this HPA itself took the last one: at zero only then it goes on looking.
    """

    spec: Mapping[str, Any]
    replicas: int
    scaled_to_zero: bool = False
    wanted: int | None = None
    """What the metric alone asked for at the last sync; None where it was not looked at, or unknown."""
    _recommendations: list[tuple[float, int]] = field(default_factory=list)
    _changes: dict[bool, list[tuple[float, int]]] = field(default_factory=lambda: {True: [], False: []})

    def __post_init__(self) -> None:
        behavior = self.spec.get("behavior") or {}
        self._up = Rules.read(behavior.get("scaleUp"), _DEFAULT_UP)
        self._down = Rules.read(behavior.get("scaleDown"), _DEFAULT_DOWN)
        (metric,) = self.spec["metrics"]
        self._target = milli(next(iter(v for k, v in metric.items() if k != "type"))["target"]["averageValue"])

    @property
    def _least(self) -> int:
        return self.spec.get("minReplicas", 1)

    def sync(self, now: float, value: int | None) -> int:
        """Reconcile once; the replicas afterwards.

        Args:
            now: In seconds.
            value: The metric in thousandths; None where it cannot be read.
        """
        current, self.wanted = self.replicas, None
        if not self._recommendations:
            self._recommendations.append((now, current))
        if current == 0 and not self.scaled_to_zero:
            return 0  # ScalingDisabled: somebody else put it there
        if current > self.spec["maxReplicas"]:
            return self._rescale(now, self.spec["maxReplicas"])
        if 0 < current < self._least:
            return self._rescale(now, self._least)
        if value is None:
            return current  # ScalingActive=False: it holds still
        self.wanted = self._by_metric(value)
        desired = self._within_rates(now, self._stabilized(now, self.wanted))
        if current == 0:
            desired = max(desired, self._least)
        return self._rescale(now, desired)

    def _by_metric(self, value: int) -> int:
        divisor = float(self._target) * self.replicas
        ratio = value / divisor if divisor else math.inf
        if 1.0 - TOLERANCE <= ratio <= 1.0 + TOLERANCE:
            return self.replicas
        return min(math.ceil(value / self._target), _MOST)

    def _stabilized(self, now: float, desired: int) -> int:
        up = min((n for at, n in self._recommendations if at > now - self._up.window_seconds), default=desired)
        down = max((n for at, n in self._recommendations if at > now - self._down.window_seconds), default=desired)
        up, down = min(up, desired), max(down, desired)
        oldest = now - max(self._up.window_seconds, self._down.window_seconds)
        self._recommendations = [*(each for each in self._recommendations if each[0] >= oldest), (now, desired)]
        return min(max(self.replicas, up), down)

    def _within_rates(self, now: float, desired: int) -> int:
        current = self.replicas
        if desired > current:
            return min(desired, self.spec["maxReplicas"], max(current, self._limit(now, self._up, 1)))
        if desired < current:
            return max(desired, self._least, min(current, self._limit(now, self._down, -1)))
        return desired

    def _limit(self, now: float, rules: Rules, sign: int) -> int:
        """How far it may go in that direction by now."""
        if rules.select == "Disabled":
            return self.replicas
        proposals = []
        for policy in rules.policies:
            since = now - policy["periodSeconds"]
            added, removed = (sum(n for at, n in self._changes[up] if at > since) for up in (True, False))
            begun = self.replicas - added + removed
            if policy["type"] == "Pods":
                proposals.append(begun + sign * policy["value"])
            else:
                scaled = begun * (1 + sign * policy["value"] / 100)
                proposals.append(math.ceil(scaled) if sign > 0 else int(scaled))
        furthest = (rules.select == "Max") is (sign > 0)
        return max(proposals) if furthest else min(proposals)

    def _rescale(self, now: float, desired: int) -> int:
        if change := desired - self.replicas:
            self._changes[change > 0].append((now, abs(change)))
            self.scaled_to_zero = desired == 0 and self._least == 0
            self.replicas = desired
        return self.replicas


def milli(quantity: str) -> int:
    """A quantity of an HPA's target in thousandths, e.g. `10` or `500m`."""
    return int(quantity.removesuffix("m")) if quantity.endswith("m") else round(float(quantity) * 1000)
