"""YAML as the Pulumi engine reads it, which is Go's yaml.v3: neither PyYAML's YAML 1.1 nor all of YAML 1.2.

`yes`, `no`, `on`, `off` and `1:30` are text, `0o17` and `017` are 15, a key that stands twice is an error. PyYAML finds
the nodes; what a plain scalar means is decided here. The tests hold it against yaml.v3 itself.
"""

import json
import re
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar, Final

import yaml

from runtime.kubernetes_yaml import MOST_NESTED, MOST_VALUES, NotReadable, refuse_depth

_PLAIN: Final = "plain"
_PREFIX: Final = "tag:yaml.org,2002:"
_WORDS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES: Final = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FRACTION = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?")
"""One that begins with its point: Go reads it as its own language does, underscores between digits included."""
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:([Tt])| )([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]+))?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)


class StackYamlError(ValueError):
    """The text cannot be read as the engine reads it; the message names the line."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Only composes nodes; every plain scalar without a tag is marked as one."""

    yaml_implicit_resolvers: ClassVar[dict[str | None, list[tuple[str, re.Pattern[str]]]]] = {
        None: [(_PLAIN, re.compile(""))]
    }


def load(text: str) -> Any:
    """The value of a document.

    Raises:
        StackYamlError: no YAML, a key twice, more than one document, or a value that no configuration can hold.
    """
    loader = _Loader(text.removeprefix("\ufeff"))
    try:
        refuse_depth(text)
        node = loader.get_single_node()
        return None if node is None else _value(node, (), iter(range(MOST_VALUES)))
    except NotReadable as error:
        raise StackYamlError(str(error)) from None
    except yaml.YAMLError as error:
        raise StackYamlError(" ".join(str(error).split())) from error
    finally:
        loader.dispose()


def as_text(value: Any) -> str:
    """A configuration value as the engine hands it to a program: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else _json(value)


def _value(node: yaml.Node, above: tuple[yaml.Node, ...], budget: Iterator[int]) -> Any:
    if any(node is one for one in above):
        raise _error(node, "an anchor's value contains itself")
    if len(above) > MOST_NESTED or next(budget, None) is None:
        raise _error(node, f"more than {MOST_VALUES} values or {MOST_NESTED} levels, what aliases stand for counted")
    inner = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, inner, budget) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, inner, budget)
    return _scalar(node)


def _mapping(node: yaml.MappingNode, above: tuple[yaml.Node, ...], budget: Iterator[int]) -> dict[str, Any]:
    seen: dict[Hashable, yaml.Node] = {}
    own: dict[str, Any] = {}
    merged: list[dict[str, Any]] = []
    for key, item in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error(key, "a key must be text")
        if key.value in seen:
            raise _error(
                key, f"the key {key.value!r} stands twice, first in line {seen[key.value].start_mark.line + 1}"
            )
        seen[key.value] = key
        if key.value == "<<":  # in quotes too: the engine writes what it has read, without them, and reads that
            merged = _merged(item, above, budget)
        else:
            own[_key(_scalar(key))] = _value(item, above, budget)
    inherited = {name: value for part in reversed(merged) for name, value in part.items()}
    return {**inherited, **own}


def _merged(node: yaml.Node, above: tuple[yaml.Node, ...], budget: Iterator[int]) -> list[dict[str, Any]]:
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found = [_value(part, above, budget) for part in parts]
    if not all(isinstance(part, dict) for part in found):
        raise _error(node, "`<<` merges mappings only")
    return found


def _key(value: Any) -> str:
    """A key that is no text, as Go prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float) or -5 < (exponent := Decimal(repr(value)).adjusted()) < 6:
        return value if isinstance(value, str) else _json(value)
    return f"{_mantissa(value)}e{exponent:+03d}"


def _scalar(node: yaml.Node) -> Any:
    tag, text = node.tag, node.value
    if tag == f"{_PREFIX}binary":
        raise _error(node, "!!binary is no configuration")
    if tag == f"{_PREFIX}timestamp" and not _timestamp(text):
        raise _error(node, f"{text!r} is no !!timestamp")
    if tag == _PLAIN or (tag.startswith(_PREFIX) and tag != f"{_PREFIX}str"):
        value = _plain(text, tag)
        if isinstance(value, float) and not isfinite(value):
            raise _error(node, f"{text} is no number that a configuration can hold")
        if tag != _PLAIN and not _fits(value, tag.removeprefix(_PREFIX)):
            raise _error(node, f"{text!r} is no !!{tag.removeprefix(_PREFIX)}")
        return value
    return text  # quoted, `!!str`, or a tag that means nothing to anybody


def _fits(value: Any, kind: str) -> bool:
    kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    return isinstance(value, kinds.get(kind, object)) and not (kind in ("int", "float") and isinstance(value, bool))


def _plain(text: str, tag: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] == ".":
        return float(text) if _FRACTION.fullmatch(text) else text
    if text[:1] not in tuple("+-0123456789"):
        return text
    if tag in (_PLAIN, f"{_PREFIX}timestamp") and (moment := _timestamp(text)):
        return moment
    return _number(text.replace("_", ""), text)


def _number(digits: str, text: str) -> Any:
    if (match := _INTEGER.fullmatch(digits)) and -(2**63) <= (whole := _whole(match)) < 2**64:
        # Above the signed range Go reads the digits without a sign only.
        return text if whole >= 2**63 and match[1] else whole
    if _FLOAT.fullmatch(digits) and isfinite(number := float(digits)):
        return number
    return text


def _whole(match: re.Match[str]) -> int:
    digits, base = next((found, base) for found, base in zip(match.groups()[1:], _BASES, strict=True) if found)
    return int(digits, base) * (-1 if match[1] == "-" else 1)


def _timestamp(text: str) -> str | None:
    """As the engine prints a time: `2026-01-01 00:00:00 +0000 UTC`."""
    match = _TIME.fullmatch(text)
    if match is None or bool(match[4]) != bool(match[9]):
        return None
    year, month, day, _, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year) or 2000, int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    printed = f"{year}-{moment:%m-%d %H:%M:%S}"  # Go knows a year 0
    if digits := (fraction or "")[:9].rstrip("0"):
        printed += f".{digits}"
    offset = "+0000" if zone in (None, "Z") else zone.replace(":", "")
    return f"{printed} {offset} {'UTC' if offset in ('+0000', '-0000') else offset}"


def _json(value: Any) -> str:
    """JSON with numbers as Go writes them: `1e33` for 1e33, but 1000000 for 1e6."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    if not isinstance(value, float):
        return json.dumps(value)
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").removesuffix(".") if "." in plain else plain
    return f"{_mantissa(value)}e{Decimal(repr(value)).adjusted():+d}"


def _mantissa(value: float) -> str:
    """The shortest digits of a number before its exponent: `1.5` of 1.5e30."""
    number = Decimal(repr(value))
    return format(number.scaleb(-number.adjusted()).normalize(), "f")


def _error(node: yaml.Node, message: str) -> StackYamlError:
    return StackYamlError(f"line {node.start_mark.line + 1}: {message}")
