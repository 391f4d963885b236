"""YAML read as `kubectl` reads it, which is neither YAML 1.1 as PyYAML has it nor YAML 1.2.

`y` is true, `1:30` and `2026-01-01` are texts, `0o17` is 15, `1e3` is 1000, and every key is a text. Stricter than
kubectl in one thing: a key that stands twice is refused, where kubectl takes the last.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

MOST_NESTED = 100
"""Levels of one value; PyYAML's C code crashes somewhere far above."""
MOST_VALUES = 100_000
"""Values of one file, aliases written out: a few lines of aliases can stand for billions."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_INTEGER = re.compile(r"([-+]?)(?:0b([01]+)|0o?([0-7]+)|0x([0-9a-fA-F]+)|([0-9]+))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class NotReadable(Exception):
    """The text is no YAML that Kubernetes takes; the message says where and why."""


def documents(text: str) -> list[Any]:
    """The documents of a file, as JSON values: None for one that is empty.

    Raises:
        NotReadable: no YAML, a key twice, or more than the limits allow.
    """
    try:
        refuse_depth(text)
        read = [*yaml.load_all(text, Loader=_KubernetesLoader)]
        budget = iter(range(MOST_VALUES))
        return [_written_out(one, budget) for one in read]
    except yaml.YAMLError as error:
        raise NotReadable(" ".join(str(error).split())) from error


def refuse_depth(text: str) -> None:
    """Raise `NotReadable` before the C code recurses too far."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_NESTED:
            raise NotReadable(f"nested more than {MOST_NESTED} deep at line {event.start_mark.line + 1}")


def _written_out(value: Any, budget: Iterator[int], depth: int = 0) -> Any:
    """A deep copy, in which each YAML alias is replaced by its value."""
    if next(budget, None) is None or depth > MOST_NESTED:
        raise NotReadable(f"more than {MOST_VALUES} values, or an alias inside of what it stands for")
    if isinstance(value, dict):
        return {key: _written_out(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_written_out(item, budget, depth + 1) for item in value]
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise NotReadable(f"a {type(value).__name__} is nothing that Kubernetes knows; write it as a text")
    return value


class _KubernetesLoader(_Loader):
    """A safe loader that resolves plain scalars by kubectl's rules."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - as PyYAML has it


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    digits = text.replace("_", "") if not text.startswith("_") else text
    if found := _INTEGER.fullmatch(digits):
        sign, *written = found.groups()
        base, number = next((base, part) for base, part in zip((2, 8, 16, 10), written, strict=True) if part)
        whole = int(f"{sign}{number}", base)
        return whole if -(1 << 63) <= whole < 1 << 63 else float(whole)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        return text if math.isinf(number) else int(number) if number.is_integer() else number
    if _NO_NUMBER.fullmatch(text):
        raise NotReadable(f"{text} is no number that JSON has; put it in quotes if it is a text")
    return text


def _mapping(loader: Any, node: Any) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag == _MERGE:
            continue
        name = _key(loader.construct_object(key, deep=True))
        if name in seen:
            raise NotReadable(f"the key {name!r} stands twice, at line {key.start_mark.line + 1} again")
        seen.add(name)
    found: dict[str, Any] = {}
    yield found  # before its content, so that an alias can refer to it
    loader.flatten_mapping(node)
    for key, item in node.value:
        found[_key(loader.construct_object(key, deep=True))] = loader.construct_object(item, deep=True)


def _key(value: Any) -> str:
    if isinstance(value, (dict, list)) or value is None:
        raise NotReadable(f"a key must be a text, not {type(value).__name__}")
    return str(value).lower() if isinstance(value, bool) else str(value)


_PLAIN = "tag:purpleflea.com,2026:plain"
_MERGE = "tag:yaml.org,2002:merge"
_KubernetesLoader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])
_KubernetesLoader.add_implicit_resolver(_PLAIN, re.compile(""), None)
_KubernetesLoader.add_constructor(_PLAIN, lambda loader, node: _plain(loader.construct_scalar(node)))
_KubernetesLoader.add_constructor(_MERGE, lambda loader, node: loader.construct_scalar(node))
for _tag in ("bool", "int", "float", "null"):
    _KubernetesLoader.add_constructor(
        f"tag:yaml.org,2002:{_tag}", lambda loader, node: _plain(loader.construct_scalar(node))
    )
_KubernetesLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))
_KubernetesLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
