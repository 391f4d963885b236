"""All mistakes of a stack's settings in one error, each with its full path and what is allowed."""

import difflib
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
        return Problem(path, f"{_shown(details['input'])} is not allowed", (str(context["expected"]),))
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(path, f"a mapping of keys is needed, not {type(details['input']).__name__}")
    message = str(context["error"]) if kind == "value_error" else f"{_shown(details['input'])}: {details['msg']}"
    return Problem(path, message)


def real_location(location: Location) -> Location:
    """Without the part that pydantic adds when a mapping's key is wrong."""
    return tuple(part for part in location if part != "[key]")


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
