"""All mistakes of a stack's settings in one error, each with its full path and what is allowed."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

ROOT = "purpleflea"
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where (`purpleflea.hpa.minReplicas`), what, and the allowed values or nearest keys."""

    path: str
    message: str
    allowed: tuple[str, ...] = ()
    concerns: tuple[str, ...] = field(default=(), compare=False)
    """Other paths that the check read; a finding that rests on a value already refused is dropped."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" (allowed: {', '.join(self.allowed)})" if self.allowed else "")


class SettingsError(Exception):
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
    path, kind, context = dotted(location), details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(path, "unknown key", _nearest(str(location[-1]), _keys(model, location[:-1])))
    if kind == "missing":
        return Problem(path, "is required")
    if kind == "literal_error":
        choices = tuple(choice.strip("'") for choice in re.split(", | or ", str(context["expected"])))
        return Problem(path, f"{_shown(details['input'])} is not allowed", choices)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(path, f"a mapping of keys is needed, not {type(details['input']).__name__}")
    if kind in ("tuple_type", "list_type"):
        return Problem(path, f"a list is needed, not {type(details['input']).__name__}")
    if kind == "string_type":
        return Problem(path, f"text is needed, not {_shown(details['input'])}; put it in quotes")
    message = str(context["error"]) if kind == "value_error" else f"{_shown(details['input'])}: {details['msg']}"
    return Problem(path, message)


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


def _keys(model: type[BaseModel], location: Location) -> list[str]:
    for part in location:
        if isinstance(part, int):
            continue
        field_type = next((f.annotation for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        for candidate in (field_type, *get_args(field_type)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return [info.alias or name for name, info in model.model_fields.items()]


def _nearest(key: str, keys: list[str]) -> tuple[str, ...]:
    folded = {k.lower(): k for k in keys}
    close = difflib.get_close_matches(key.replace("_", "").lower(), folded, n=3, cutoff=0.6)
    return tuple(folded[match] for match in close) or tuple(sorted(keys))
