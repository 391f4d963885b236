"""Which object was which before: by what it is, by its file, by its content; and which of its fields differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.manifests import kinds
from components.manifests.naming import Manifest, content_hash
from runtime.contract import AGENT_LABEL


@dataclass(frozen=True, slots=True)
class Pair:
    """An object before and after; None where it is not there."""

    before: Manifest | None
    after: Manifest | None

    @property
    def fields(self) -> list[str]:
        """Paths of what differs, without values; empty where an object is new, gone or the same."""
        if self.before is None or self.after is None or self.before == self.after:
            return []
        return [*differing(self.before, self.after)]

    @property
    def named(self) -> str:
        """`Job agent-jobs/nightly`."""
        return named(self.after or self.before or {})


def pair(before: Mapping[str, Manifest], after: Mapping[str, Manifest]) -> list[Pair]:
    """Every object once, sorted by name.

    A Job's name changes with its content, its agent and its file do not; what was only renamed has its content.
    """
    left, right = dict(before), dict(after)
    found: list[Pair] = []
    for identify in (_identity, _agent, lambda path, one: (path, one["kind"]), lambda _, one: _content(one)):
        known = {key: path for path, one in reversed(left.items()) if (key := identify(path, one))}
        for path, one in [*right.items()]:
            old = known.pop(identify(path, one), None)
            if old is not None:
                found.append(Pair(left.pop(old), right.pop(path)))
    found += [Pair(one, None) for one in left.values()] + [Pair(None, one) for one in right.values()]
    return sorted(found, key=lambda one: one.named)


def named(manifest: Manifest) -> str:
    """What an object is called, in words."""
    metadata = manifest["metadata"]
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{manifest['kind']} {namespace}{metadata['name']}"


def differing(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Paths of the fields that differ; entries of a list by their names where they have any."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            step = f".{key}" if path and "." not in key and "/" not in key else f"[{key}]" if path else key
            yield from _step(before, after, key, f"{path}{step}")
    elif isinstance(before, list) and isinstance(after, list):
        old, new = (_by_name(some) for some in (before, after))
        if old is None or new is None:
            old, new = dict(enumerate(before)), dict(enumerate(after))
        elif [*old] != [*new] and {*old} == {*new}:
            yield f"{path} (order)"
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _step(old, new, key, f"{path}[{key}]")
    elif before != after or type(before) is not type(after):
        yield path


def _step(before: Mapping[Any, Any], after: Mapping[Any, Any], key: Any, path: str) -> Iterator[str]:
    if key not in before:
        yield f"{path} (added)"
    elif key not in after:
        yield f"{path} (removed)"
    else:
        yield from differing(before[key], after[key], path)


def _by_name(items: list[Any]) -> dict[Any, Any] | None:
    found = {one["name"]: one for one in items if isinstance(one, dict) and isinstance(one.get("name"), str)}
    return found if len(found) == len(items) else None


def _identity(_: str, manifest: Manifest) -> tuple[str, ...]:
    metadata = manifest["metadata"]
    return kinds.group(manifest["apiVersion"]), manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _agent(_: str, manifest: Manifest) -> tuple[str, ...] | None:
    metadata = manifest["metadata"]
    agent = (metadata.get("labels") or {}).get(AGENT_LABEL)
    return (manifest["kind"], metadata.get("namespace", ""), agent) if agent else None


def _content(manifest: Manifest) -> tuple[str, str]:
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in ("name", "namespace")}
    return manifest["kind"], content_hash({**manifest, "metadata": metadata})
