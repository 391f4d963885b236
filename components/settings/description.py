"""The one description of the settings: every key with what it takes, its default and its prose.

Reference pages, `Pulumi.yaml`, the typed arguments, the keys that errors name and the JSON Schema all come from here.
It is read from the schema that pydantic makes of the models, so that nothing else need walk over them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

ROOT: Final = "purpleflea"
REQUIRED: Final = object()
"""The default of a key that has none."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section."""

    name: str
    """As it is written in a file."""
    prose: str
    takes: Mapping[str, Any]
    """JSON Schema of its value; references are resolved, but for those inside a section's own properties."""
    default: Any
    """As JSON, or `REQUIRED`."""
    section: "Described | None" = None
    """What it holds, where that is a section or a list of them."""

    @property
    def repeated(self) -> bool:
        """Whether it holds a list of sections."""
        return self.section is not None and self.takes.get("type") == "array"


@dataclass(frozen=True, slots=True)
class Described:
    """A section: a group of keys."""

    name: str
    """Of the model, e.g. `NetworkPolicy`."""
    prose: str
    keys: tuple[Key, ...]

    def key(self, name: str) -> Key | None:
        """The key of that name."""
        return next((key for key in self.keys if key.name == name), None)

    def default(self, name: str) -> Any:
        """The default of the key of that name."""
        key = self.key(name)
        return key.default if key else REQUIRED

    def at(self, location: tuple[str | int, ...]) -> "Described | None":
        """The section at a place in the settings, e.g. `("agents", 0)`; None where there is none."""
        section: Described | None = self
        for part in location:
            if isinstance(part, str):
                found = section.key(part) if section else None
                section = found.section if found else None
        return section

    def walk(self, path: str = ROOT) -> Iterator[tuple[str, "Described"]]:
        """This section and all below it, each with its path; items of a list as `path[]`."""
        yield path, self
        for key in self.keys:
            if key.section is not None:
                yield from key.section.walk(f"{path}.{key.name}{'[]' if key.repeated else ''}")


@cache
def schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of the model's mapping."""
    return model.model_json_schema(by_alias=True)


@cache
def describe(model: type[BaseModel]) -> Described:
    """The model with all its sections."""
    return _section(schema(model), schema(model).get("$defs", {}))


def inherited(key: Key, defaults: Any) -> Any:
    """A key's default where its section stands as the default of another key: a figure of the worker's `resources`."""
    return defaults.get(key.name, key.default) if isinstance(defaults, Mapping) else key.default


def _section(described: Mapping[str, Any], definitions: Mapping[str, Any]) -> Described:
    required = described.get("required", ())
    keys = (_key(name, found, name in required, definitions) for name, found in described["properties"].items())
    return Described(described["title"], _prose(described), tuple(keys))


def _key(name: str, found: Mapping[str, Any], required: bool, definitions: Mapping[str, Any]) -> Key:
    takes = _resolved(found, definitions)
    if takes.get("type") == "array":
        takes = {**takes, "items": _resolved(takes["items"], definitions)}
    held = takes.get("items", takes)
    section = _section(held, definitions) if "properties" in held else None
    default = found.get("default", REQUIRED if required else None)
    return Key(name, _prose(found) or _prose(takes), takes, default, section)


def _resolved(found: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    return definitions[found["$ref"].rpartition("/")[2]] if "$ref" in found else found


def _prose(found: Mapping[str, Any]) -> str:
    return " ".join(found.get("description", "").split())
