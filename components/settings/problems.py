"""All mistakes of a stack's settings in one error, each with its full path and what is allowed."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from components.settings.description import ROOT, Described, describe

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where (`purpleflea.hpa.minReplicas`), what, and the allowed values or keys."""

    path: str
    message: str
    allowed: tuple[str, ...] = ()
    suggestion: str = ""
    concerns: tuple[str, ...] = field(default=(), compare=False)
    """Other paths that the check read; a finding that rests on a value already refused is dropped."""

    def __str__(self) -> str:
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return f"{self.path}: {self.message}{allowed}{self.suggestion}"


class BadSettings(Exception):
    """The settings are wrong; nothing was created. `problems` holds every mistake, sorted by path."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.path, problem.message))
        noun = "mistake" if len(problems) == 1 else "mistakes"
        super().__init__("\n".join([f"{len(problems)} {noun} in the settings:", *(f"  {p}" for p in self.problems)]))


def dotted(location: Location) -> str:
    """`("agents", 0, "name")` → `purpleflea.agents[0].name`."""
    return ROOT + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def from_pydantic(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    """One of pydantic's findings in the words of whoever wrote the settings."""
    location = real_location(details["loc"])
    path, kind, value = dotted(location), details["type"], details["input"]
    if kind == "extra_forbidden":
        return _unknown_key(path, location, describe(model))
    if kind == "missing":
        return Problem(path, "is required")
    context = details.get("ctx", {})
    if kind == "literal_error":
        return Problem(path, f"{_shown(value)} is not allowed", _choices(model, location))
    if kind in _NEEDED:
        return Problem(path, f"{_NEEDED[kind]} is needed, not {_kind(value)}")
    if kind.startswith("bool"):
        quoted = "; leave the quotes out" if value in ("true", "false") else ""
        return Problem(path, f"true or false is needed, not {_kind(value)}{quoted}")
    if kind.startswith("int") or kind in _BOUNDS:
        quoted = "; leave the quotes out" if isinstance(value, str) and value.isdecimal() else ""
        return Problem(path, f"{_numbers(model, location)} is needed, not {_kind(value)}{quoted}")
    if kind == "string_type":
        is_scalar = isinstance(value, (bool, int, float))
        return Problem(path, f"text is needed, not {_kind(value)}" + ("; put it in quotes" if is_scalar else ""))
    for end, words in _LENGTHS.items():
        if kind.endswith(end):
            bound = context.get("max_length", context.get("min_length"))
            what, things = (_shown(value), "characters") if isinstance(value, str) else ("a list", "entries")
            return Problem(path, f"{what} of {len(value)} {things}: {words} {bound}")
    return Problem(path, str(context["error"]) if kind == "value_error" else f"{_shown(value)}: {details['msg']}")


_LENGTHS = {"too_long": "at most", "too_short": "at least"}

_BOUNDS = frozenset(("greater_than_equal", "less_than_equal", "multiple_of"))

_NEEDED = dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping of keys") | dict.fromkeys(
    ("tuple_type", "list_type"), "a list"
)


def _kind(value: Any) -> str:
    """What somebody wrote, in their words."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "nothing" if value is None or value == "" else _shown(value)


def _numbers(model: type[BaseModel], location: Location) -> str:
    """`a whole number from 1 to 600`: what the key takes."""
    takes = _takes(model, location)
    takes = next((one for one in takes.get("anyOf", ()) if one.get("type") == "integer"), takes)
    step, least, most = (takes.get(bound) for bound in ("multipleOf", "minimum", "maximum"))
    what = "a whole number" if step is None else f"a multiple of {step}"
    ends = {(True, True): f" from {least} to {most}", (True, False): f" of at least {least}"}
    return what + ends.get((least is not None, most is not None), "")


def _takes(model: type[BaseModel], location: Location) -> Mapping[str, Any]:
    """The schema of the value at a place; for one item of a list that of its items."""
    *above, last = location
    if isinstance(last, int):
        return _takes(model, tuple(above)).get("items", {})
    section = describe(model).at(tuple(above))
    key = section.key(last) if section else None
    return key.takes if key else {}


def _choices(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    takes = _takes(model, location)
    return tuple(json.dumps(choice).strip('"') for choice in takes.get("enum", [takes.get("const")]))


def _unknown_key(path: str, location: Location, root: Described) -> Problem:
    key = str(location[-1])
    if len(location) == 1 and re.search(r"[.\[]", key):
        command = f"pulumi config set --path '{ROOT}:{key}' VALUE"
        return Problem(path, f"the key {key!r} is a path that was set without --path; remove it, then `{command}`")
    section = root.at(location[:-1])
    known = [one.name for one in section.keys] if section else []
    near = _near(key, known)
    suggestion = f"; did you mean {near[0]}?" if near else ""
    return Problem(path, "unknown key", (*near, *(one for one in known if one not in near)), suggestion=suggestion)


def real_location(location: Location) -> Location:
    """Without the part that pydantic adds when a mapping's key is wrong."""
    return tuple(part for part in location if part != "[key]")


def without(mapping: Any, locations: list[Location]) -> Any:
    """A copy of the settings without the values at these places."""
    if isinstance(mapping, Mapping):
        items = {key: (value, _below(locations, key)) for key, value in mapping.items()}
        return {key: without(value, inner) for key, (value, inner) in items.items() if () not in inner}
    if isinstance(mapping, list):
        return [without(value, inner) for i, value in enumerate(mapping) if () not in (inner := _below(locations, i))]
    return mapping


def rests_on(problem: Problem, refused: list[str]) -> bool:
    """Whether a finding rests on a value that was refused already."""
    return any(
        one == two or one.startswith((f"{two}.", f"{two}[")) or two.startswith((f"{one}.", f"{one}["))
        for one in (problem.path, *problem.concerns)
        for two in refused
    )


def removable(details: ErrorDetails) -> Location:
    """The smallest part whose removal can mend the mistake; never one item of a list, the others keep their numbers."""
    location = real_location(details["loc"])
    if details["type"] == "missing":
        location = location[:-1]
    while location and isinstance(location[-1], int):
        location = location[:-1]
    return location


def _below(locations: list[Location], part: str | int) -> list[Location]:
    return [location[1:] for location in locations if location and location[0] == part]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _near(key: str, known: list[str]) -> list[str]:
    """The keys that may be meant, nearest first."""
    folded = {one.lower(): one for one in known}
    close = difflib.get_close_matches(key.replace("_", "").replace("-", "").lower(), folded, n=3, cutoff=0.74)
    return [folded[match] for match in close]
