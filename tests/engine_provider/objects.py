"""What Kubernetes lets one change, and what changed: the part of a provider that is about objects."""

from collections.abc import Iterator, Mapping
from typing import Any

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


def must_be_replaced(kind: str, path: str) -> bool:
    """Whether the field at `path` can only change with the whole object."""
    return any(path == p or path.startswith((f"{p}.", f"{p}[")) for p in (*IMMUTABLE[""], *IMMUTABLE.get(kind, ())))


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
