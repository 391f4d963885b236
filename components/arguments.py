"""The settings' sections as argument types that every Pulumi language can use.

Pulumi infers a component's schema from `TypedDict`s of plain types; pydantic models are not among them. The models
remain the one source: the types here are derived from their description, their keys documented in the type's.
"""

from collections.abc import Mapping
from types import GenericAlias
from typing import TYPE_CHECKING, Any, TypedDict

from components.settings import Settings
from components.settings.description import Described, Key, describe

_PLAIN = {"string": str, "integer": int, "boolean": bool}


def arguments(section: Described) -> Any:
    """A `TypedDict` of the section's keys; which of them are required the settings say when they are read."""
    keys = {key.name: _of(key) for key in section.keys}
    # The functional form is the only one for a type that is made from data.
    derived = TypedDict(f"{section.name}Args", keys, total=False)  # ty: ignore[mismatched-type-name, invalid-argument-type]
    derived.__doc__ = "\n".join([section.prose, "", *(f"- `{key.name}`: {key.prose}" for key in section.keys)])
    return derived


def _of(key: Key) -> Any:
    if key.section is None:
        return _plain(key.takes)
    return GenericAlias(list, (arguments(key.section),)) if key.repeated else arguments(key.section)


def _plain(takes: Mapping[str, Any]) -> Any:
    if "anyOf" in takes:
        takes = next(part for part in takes["anyOf"] if part["type"] != "null")
    kind = takes["type"]
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    if kind == "array":
        return GenericAlias(list, (_plain(takes["items"]),))
    if kind == "object" and takes.get("additionalProperties") is True:
        return GenericAlias(dict, (str, Any))
    if kind == "object":
        inner = takes.get("additionalProperties") or next(iter(takes["patternProperties"].values()))
        return GenericAlias(dict, (str, _plain(inner)))
    return _PLAIN[kind]


if TYPE_CHECKING:
    SettingsArgs = Settings | dict[str, Any]
else:
    SettingsArgs = arguments(describe(Settings))
