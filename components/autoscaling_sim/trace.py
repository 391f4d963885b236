"""A trace of the queue, and what an autoscaler makes of it."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.autoscaling_sim.controller import SYNC_SECONDS, Autoscaler
from components.errors import BadInput

MOST_LINES: Final = 1_000_000
MOST_SYNCS: Final = 200_000
"""Nine months at a sync every 15 s."""


@dataclass(frozen=True)
class Trace:
    """Depths of the queue, each from its moment on until the next; None for unknown."""

    seconds: Sequence[float]
    depths: Sequence[int | None]

    @classmethod
    def read(cls, path: Path) -> "Trace":
        """A file with lines of `SECONDS,DEPTH`, in the order of time; `?` for unknown. Raises `BadInput`, by line."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from None
        if len(lines) > MOST_LINES:
            raise BadInput(f"{path} has {len(lines)} lines; {MOST_LINES} are the most")
        seconds: list[float] = []
        depths: list[int | None] = []
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if not text or (number == 1 and text.replace(" ", "") == "seconds,depth"):
                continue
            at, _, depth = (part.strip() for part in text.partition(","))
            unknown = depth == "?"
            if not (_is_number(at) and (unknown or (depth.isascii() and depth.isdigit() and len(depth) < 10))):
                raise BadInput(f"{path}, line {number}: {text[:60]!r}: expected SECONDS,DEPTH, e.g. 15,200 or 15,?")
            if seconds and float(at) <= seconds[-1]:
                raise BadInput(f"{path}, line {number}: {at} s is not after {seconds[-1]:g} s")
            seconds.append(float(at))
            depths.append(None if unknown else int(depth))
        if not seconds:
            raise BadInput(f"{path} has no line of SECONDS,DEPTH")
        return cls(seconds, depths)

    def at(self, second: float) -> int | None:
        """The depth at that moment; before the first one it is unknown."""
        index = bisect_right(self.seconds, second) - 1
        return self.depths[index] if index >= 0 else None


def _is_number(text: str) -> bool:
    whole, _, rest = text.partition(".")
    return text.isascii() and whole.isdigit() and len(text) < 12 and (not rest or rest.isdigit())


@dataclass(frozen=True)
class Sync:
    """What one sync saw and did."""

    second: float
    depth: int | None
    wanted: int | None
    replicas: int


def replay(spec: Mapping[str, Any], trace: Trace, replicas: int, until: float) -> list[Sync]:
    """Every sync from the trace's first moment on. Raises `BadInput` where there are too many.

    Args:
        spec: Of the HPA.
        replicas: What the workload has at first.
        until: The last second.
    """
    first = trace.seconds[0]
    count = int((until - first) // SYNC_SECONDS) + 1
    if count > MOST_SYNCS:
        raise BadInput(f"{count} syncs are too many to replay; {MOST_SYNCS} are the most")
    scaler = Autoscaler(spec, replicas, scaled_to_zero=replicas == 0)
    found = []
    for number in range(count):
        now = first + number * SYNC_SECONDS
        depth = trace.at(now)
        after = scaler.sync(now, None if depth is None else depth * 1000)
        found.append(Sync(now, depth, scaler.wanted, after))
    return found
