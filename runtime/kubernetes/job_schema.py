"""A Job manifest held against Kubernetes' own models: what kubectl would refuse is found before anything is paid.

The models are those of `kubernetes_asyncio`, which reads people's kubeconfigs too. They know fields, types and what is
required; values (a name, a quantity, a policy) are the API server's.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_QUANTITIES: Final = frozenset({"limits", "requests", "overhead", "size_limit", "divisor"})
"""Texts of one form that Kubernetes also takes as numbers."""
_QUANTITY: Final = re.compile(r"[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*")
_WORDS: Final = {
    "str": "text; put it in quotes",
    "object": "a whole number, or a name",
    "int": "a whole number",
    "bool": "true or false, without quotes",
}
_ANYTHING: Final = "fieldsV1"
"""Stands in what `kubectl get -o yaml` prints."""
_LIST, _MAP = "list[", "dict(str, "


def complaint(job: Mapping[str, Any]) -> str | None:
    """The first thing that the API server would refuse in a `batch/v1` Job, with its path; None where there is none."""
    return next(_of_model(job, "V1Job", ""), None)


def _of_model(value: Any, model: str, path: str) -> Iterator[str]:
    from kubernetes_asyncio.client import models  # takes 0.5 s, and only `fund` needs it

    if not isinstance(value, Mapping):
        yield f"{path} must be a mapping of keys"
        return
    kind = getattr(models, model)
    names = {shown: own for own, shown in kind.attribute_map.items()}
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            yield f"{where} is no field that Kubernetes knows" + (f"; did you mean {near[0]}?" if near else "")
        elif item is not None and key != _ANYTHING:
            yield from _of_type(item, kind.openapi_types[names[key]], where, quantity=names[key] in _QUANTITIES)
    given = {names[key]: item for key, item in value.items() if key in names}
    for own in _required(kind):
        if given.get(own) is None:
            yield f"{path}.{kind.attribute_map[own]} is missing"


def _of_type(value: Any, of_type: str, path: str, *, quantity: bool) -> Iterator[str]:
    if of_type.startswith(_LIST):
        if not isinstance(value, list):
            yield f"{path} must be a list"
            return
        for index, item in enumerate(value):
            yield from _of_type(item, of_type[len(_LIST) : -1], f"{path}[{index}]", quantity=False)
    elif of_type.startswith(_MAP):
        if not isinstance(value, Mapping):
            yield f"{path} must be a mapping of keys"
            return
        for key, item in value.items():
            if item is not None:  # the API server reads an empty text
                yield from _of_type(item, of_type[len(_MAP) : -1], f"{path}[{key}]", quantity=quantity)
    elif of_type.startswith("V1"):
        yield from _of_model(value, of_type, path)
    elif not _fits(value, of_type, quantity=quantity):
        words = "a quantity like 500m or 2Gi" if quantity else _WORDS.get(of_type, _WORDS["str"])
        yield f"{path} must be {words}"


def _fits(value: Any, of_type: str, *, quantity: bool) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if quantity:
        return number or (isinstance(value, str) and _QUANTITY.fullmatch(value) is not None)
    match of_type:
        case "object":  # a port, by number or name
            return isinstance(value, str) or (number and value == int(value))
        case "bool":
            return isinstance(value, bool)
        case "int":
            return number and value == int(value)
    return isinstance(value, str)


def _required(model: Any) -> Iterator[str]:
    """The texts a model refuses to be without, as its setters say; a missing list or number may be an empty one."""
    empty = model.__new__(model)
    empty.local_vars_configuration = type("Checks", (), {"client_side_validation": True})()
    for own in (own for own, of_type in model.openapi_types.items() if of_type == "str"):
        try:
            setattr(empty, own, None)
        except ValueError:
            yield own
