"""What a reviewer has to know of one stack: money, rights, images, and then everything else."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from components.diff_report.rendered import Rendered
from components.manifests.kustomization import KEPT_KINDS
from components.rules import money, pods
from components.rules.money import Exposure
from components.rules.pairs import Pair, named, pair
from components.rules.widening import widened


@dataclass(frozen=True, slots=True)
class Image:
    """An image that containers get in place of another one; empty for none before."""

    before: str
    after: str
    places: tuple[str, ...]

    @property
    def mutable(self) -> bool:
        """Whether its name may stand for something else tomorrow."""
        return pods.is_mutable(self.after)


@dataclass(frozen=True, slots=True)
class Review:
    """One stack, before and after. A side that is None is not there."""

    before: Rendered | None
    after: Rendered | None
    new_work: list[str] = field(default_factory=list)
    same_work: list[str] = field(default_factory=list)
    """Jobs made anew for work that was there before: the operator withholds them."""
    widened: list[str] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[tuple[str, str, list[str]]] = field(default_factory=list)
    """Object, its name before where it has another one now, fields."""
    files: list[str] = field(default_factory=list)
    """Files that are no objects: `agent-config.json changed`."""

    @classmethod
    def of(cls, before: Rendered | None, after: Rendered | None) -> "Review":
        """Compare two renderings of one stack."""
        old, new = before or Rendered(), after or Rendered()
        pairs = pair(old.objects, new.objects)
        found = cls(before, after, widened=widened(pairs), images=_images(pairs))
        found._objects(pairs)
        found._work(pairs)
        found.files.extend(_files(old.files, new.files))
        return found

    @property
    def differs(self) -> bool:
        """Whether there is anything to say."""
        unsure = (self.before is not None and self.before.problems) or (self.before is None) is not (self.after is None)
        return bool(unsure or self.added or self.removed or self.changed or self.files)

    @property
    def exposures(self) -> tuple[Exposure | None, Exposure | None]:
        """Before and after; None where the stack is not there."""
        before, after = (None if side is None else side.exposure for side in (self.before, self.after))
        return before, after

    def _objects(self, pairs: Iterable[Pair]) -> None:
        for one in pairs:
            if one.before is None:
                self.added.append(one.named)
            elif one.after is None:
                lost = " (what it holds goes with it: accounts, ledgers or keys)"
                self.removed.append(one.named + (lost if one.before["kind"] in KEPT_KINDS else ""))
            elif fields := one.fields:
                was = named(one.before)
                self.changed.append((one.named, was if was != one.named else "", fields))

    def _work(self, pairs: list[Pair]) -> None:
        known = {work.key: work for one in pairs if one.before and (work := money.work_of(one.before))}
        for one in pairs:
            work = money.work_of(one.after) if one.after else None
            if work is None or one.after is None:
                continue
            old = known.get(work.key)
            if old is None or (work.schedule and old != work):
                self.new_work.append(f"{one.named}: {work}")
            elif one.before is None or one.before["metadata"]["name"] != one.after["metadata"]["name"]:
                self.same_work.append(f"{one.named}: work {work.shown} was there before, so it is not paid again")

    def json(self) -> dict[str, Any]:
        """The same for programs; amounts are decimal texts, and null where they are not known."""
        return {
            "base": _state(self.before),
            "head": _state(self.after),
            "problems": self.before.problems if self.before else [],
            "exposure": {
                side: {
                    "totalUsdc": None if one.total is None else str(one),
                    "playMoney": one.play_money,
                    "wholeBalance": [*one.whole_balance],
                    "unknown": one.why or None,
                }
                if one
                else None
                for side, one in zip(("before", "after"), self.exposures, strict=True)
            },
            "newWork": self.new_work,
            "sameWork": self.same_work,
            "widened": self.widened,
            "images": [
                {"before": one.before or None, "after": one.after, "mutable": one.mutable, "places": [*one.places]}
                for one in self.images
            ],
            "objects": {
                "added": self.added,
                "removed": self.removed,
                "changed": [{"object": name, "was": was or None, "fields": f} for name, was, f in self.changed],
            },
            "files": self.files,
        }


def _state(side: Rendered | None) -> str:
    if side is None:
        return "absent"
    return "read in part" if side.problems else "read"


def _images(pairs: Iterable[Pair]) -> list[Image]:
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in pairs:
        old, new = (pods.images(side) if side else {} for side in (one.before, one.after))
        for container, image in new.items():
            if image != old.get(container):
                places[old.get(container, ""), image].append(f"{one.named}: {container}")
    return [Image(*moved, tuple(where)) for moved, where in sorted(places.items())]


def _files(old: dict[str, bytes], new: dict[str, bytes]) -> Iterator[str]:
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            yield f"{path} {'added' if path not in old else 'removed' if path not in new else 'changed'}"
