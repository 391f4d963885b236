"""What Kubernetes lets one change, what changed, and what to wait for: the part of a provider that is about objects."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
NAMES_TAKEN_BY_SKIP = ("Job", "Deployment", "StatefulSet", "DaemonSet", "Pod", "Namespace")
"""Kinds of which `pulumi.com/skipAwait` skips the wait for deletion as well."""

IMMUTABLE = {
    "": ("apiVersion", "kind", "metadata.name", "metadata.namespace"),
    "Job": ("spec.template", "spec.selector", "spec.completions", "spec.completionMode", "spec.podFailurePolicy"),
    "Deployment": ("spec.selector",),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "Secret": ("data", "stringData", "type"),
    "ConfigMap": ("data", "binaryData"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName", "spec.volumeName"),
}


def must_be_replaced(kind: str, path: str, mutable: Sequence[str]) -> bool:
    """Whether the field at `path` can only change with the whole object; `mutable` kinds keep but their names."""
    fixed = (*IMMUTABLE[""], *(() if kind in mutable else IMMUTABLE.get(kind, ())))
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in fixed)


def changes(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and kind (`ADD`, `DELETE`, `UPDATE`) of each difference, as deep as it goes."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            step = f'["{key}"]' if "." in key or "/" in key else f".{key}" if path else key
            if key not in new:
                yield path + step, "DELETE"
            elif key not in old:
                yield path + step, "ADD"
            else:
                yield from changes(old[key], new[key], path + step)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            step = f"{path}[{index}]"
            if index >= len(new):
                yield step, "DELETE"
            elif index >= len(old):
                yield step, "ADD"
            else:
                yield from changes(old[index], new[index], step)
    elif old != new:
        yield path, "UPDATE"


def annotation(found: Json, name: str) -> str:
    """The value of a `pulumi.com/` annotation; empty without one."""
    return found["metadata"].get("annotations", {}).get(f"pulumi.com/{name}", "")


def waits_for_completion(found: Json) -> bool:
    """Whether its creation ends only when the work is done."""
    return found["kind"] == "Job" and annotation(found, "skipAwait") != "true" and not annotation(found, "waitFor")


def waits_for_deletion(found: Json) -> bool:
    """Whether its deletion ends only when it is gone."""
    return not (annotation(found, "skipAwait") == "true" and found["kind"] in NAMES_TAKEN_BY_SKIP)


def pruned(live: Any, declared: Any) -> Any:
    """What the cluster says of the fields that were declared."""
    if isinstance(live, Mapping) and isinstance(declared, Mapping):
        return {key: pruned(live[key], value) for key, value in declared.items() if key in live}
    if isinstance(live, list) and isinstance(declared, list) and len(live) == len(declared):
        return [pruned(item, value) for item, value in zip(live, declared, strict=True)]
    return declared if _quantity(live) == _quantity(declared) else live


def _quantity(value: Any) -> Any:
    """Another spelling of the same amount (`1000m` and `1`) is no difference, as for the real provider."""
    from kubernetes.utils.quantity import parse_quantity  # here: most runs read nothing, and it takes half a second

    try:
        return parse_quantity(value)
    except ValueError:
        return value


def is_ignored(path: str, ignored: Sequence[str]) -> bool:
    """Whether the path is one that a resource ignores, or below one."""
    return any(re.match(re.escape(each) + r"($|[.\[])", path) for each in ignored)


def without_others_fields(new: Json, live: Json, ignored: Sequence[str], manager: str) -> Json:
    """The object to apply: an ignored field of somebody else's is left out, any other is as the cluster has it."""
    for path in ignored:
        *parents, last = path.split(".")
        holder, current = new, live
        for key in parents:
            holder, current = holder.get(key, {}), current.get(key, {})
        managers = [entry["manager"] for entry in live["metadata"]["managedFields"] if _manages(entry, path)]
        if managers and manager not in managers:
            holder.pop(last, None)
        elif last in current:
            holder[last] = current[last]
    return new


def _manages(entry: Json, path: str) -> bool:
    fields = entry.get("fieldsV1", {})
    return all((fields := fields.get(f"f:{key}")) is not None for key in path.split("."))
