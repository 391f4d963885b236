"""Kubernetes' strategic merge of a pod template or a Job with a part of one, as `kubectl patch` does it.

Mappings merge by key, `null` removes, lists of named things merge by their name, every other list is replaced. New
entries come before those that were there, as kubectl has it. A test holds all of it against kubectl.

Two things are as in `kubectl apply`, since a person who writes a part means them so: a volume and a variable have one
source, so an entry of the same name replaces it.
"""

from collections.abc import Mapping
from typing import Any, Final

MERGE_KEYS: Final = {
    **dict.fromkeys(("containers", "initContainers", "volumes", "env", "imagePullSecrets", "resourceClaims"), "name"),
    "schedulingGates": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""Field of a pod → what tells the entries of its list apart."""
ONE_SOURCE: Final = ("volumes", "env")
_DIRECTIVE: Final = "$patch"


class NotMergeable(ValueError):
    """A list entry without the key by which it is merged; `path` says where."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def merge(base: Any, patch: Any, path: str = "") -> Any:
    """The base with the patch in it; neither is changed.

    Raises:
        NotMergeable: an entry that cannot be told from the others.
    """
    if not (isinstance(base, Mapping) and isinstance(patch, Mapping)):
        return _without_nulls(patch)
    if patch.get(_DIRECTIVE) == "replace":
        return {key: _without_nulls(value) for key, value in patch.items() if key != _DIRECTIVE}
    found = dict(base)
    for key, value in patch.items():
        place = f"{path}.{key}".lstrip(".")
        if value is None:
            found.pop(key, None)
        elif key in MERGE_KEYS and isinstance(value, (list, tuple)):
            found[key] = _merged(found.get(key, ()), value, key, place)
        else:
            found[key] = merge(found[key], value, place) if key in found else _without_nulls(value)
    return found


def _merged(base: Any, patch: Any, field: str, path: str) -> list[Any]:
    key = MERGE_KEYS[field]
    patches: dict[Any, Any] = {}
    for index, entry in enumerate(patch):
        if not isinstance(entry, Mapping) or key not in entry:
            raise NotMergeable(f"{path}[{index}]", f"{key} is required: entries are merged by it")
        patches[entry[key]] = entry
    order = [entry[key] for entry in base]
    kept = [entry for entry in base if entry[key] not in patches]
    there = {entry[key]: entry for entry in base}
    changed = []
    for name, entry in patches.items():
        if entry.get(_DIRECTIVE) == "delete":
            continue
        replaces = field in ONE_SOURCE and len(entry) > 1
        old = {} if replaces else there.get(name, {})
        changed.append(merge(old, entry, f"{path}[{name}]"))
    return _in_order(kept, changed, order, key)


def _in_order(kept: list[Any], changed: list[Any], order: list[Any], key: str) -> list[Any]:
    """Those that stay and those that the patch names: in the old order where it has both, else the patch's first."""
    found = []
    while kept and changed:
        first, second = kept[0][key], changed[0][key]
        is_before = second in order and order.index(first) < order.index(second)
        found.append((kept if is_before else changed).pop(0))
    return found + kept + changed


def _without_nulls(value: Any) -> Any:
    """Plain lists and mappings; what is null was to be removed, and is not there."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, (list, tuple)) else value
