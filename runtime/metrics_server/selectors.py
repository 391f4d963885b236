"""Kubernetes' label selectors: `payee=a,team in (x,y),!test`."""

import re
from collections.abc import Callable, Mapping
from typing import Final

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

MOST_CHARACTERS: Final = 4096
"""Longer ones are refused; a request's line may be 64 kB."""

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_KEY: Final = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUE: Final = rf"(?:{_NAME})?"
# Spaces are given back to nobody (`*+`): tried over and over, four thousand of them take a second.
_REQUIREMENT: Final = re.compile(
    rf"\s*+(?:(?P<set>{_KEY})\s++(?P<word>in|notin)\s*+\((?P<values>[^()]*)\)"
    rf"|(?P<key>{_KEY})\s*+(?P<sign>==|=|!=|>|<)\s*+(?P<value>{_VALUE})"
    rf"|(?P<absent>!?)\s*+(?P<exists>{_KEY}))\s*+"
)
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")


class MalformedSelector(ValueError):
    """No label selector; the message says where."""


def parse(text: str) -> Selector:
    """What the selector selects; the empty one selects everything. Raises `MalformedSelector`."""
    if len(text) > MOST_CHARACTERS:
        raise MalformedSelector(f"a selector of more than {MOST_CHARACTERS} characters")
    requirements: list[Selector] = []
    at = 0
    while text.strip():
        found = _REQUIREMENT.match(text, at)
        if not found or (found.end() < len(text) and text[found.end()] != ","):
            raise MalformedSelector(f"unable to parse requirement: {text[at : at + 80]!r}")
        requirements.append(_requirement(found))
        at = found.end() + 1
        if found.end() == len(text):
            break
    return lambda labels: all(holds(labels) for holds in requirements)


def _requirement(found: re.Match[str]) -> Selector:
    if key := found["set"]:
        values = {value.strip() for value in found["values"].split(",")}
        if wrong := [value for value in values if not re.fullmatch(_VALUE, value)]:
            raise MalformedSelector(f"unable to parse requirement: {wrong[0]!r} is no label's value")
        among = found["word"] == "in"
        # As in Kubernetes, what lacks the label is not among any values.
        return lambda labels: (labels.get(key) in values) is among
    if key := found["key"]:
        return _compared(key, found["sign"], found["value"])
    name, absent = found["exists"], bool(found["absent"])
    return lambda labels: (name in labels) is not absent


def _compared(key: str, sign: str, value: str) -> Selector:
    if sign in ("<", ">"):
        if not _WHOLE_NUMBER.fullmatch(value):
            raise MalformedSelector(f"unable to parse requirement: {value!r} is no whole number")
        least = int(value)

        def compared(labels: Labels) -> bool:
            text = labels.get(key, "")
            return bool(_WHOLE_NUMBER.fullmatch(text)) and (int(text) > least if sign == ">" else int(text) < least)

        return compared
    return lambda labels: (labels.get(key) == value) is (sign != "!=")
