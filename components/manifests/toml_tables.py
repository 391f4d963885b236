"""Tables of a TOML file, with the notes that a person reads beside them."""

from typing import Any

import tomlkit
from tomlkit.items import Table


def table(note: str, values: dict[str, Any]) -> Table:
    """A table, with the note above it unless that is empty."""
    built = tomlkit.table()
    if note:
        built.add(tomlkit.comment(note))
    for key, value in values.items():
        built.add(str(key), value)
    return built


def array(*tables: dict[str, Any]) -> Any:
    """An array of tables."""
    built = tomlkit.aot()
    for values in tables:
        built.append(table("", values))
    return built


def noted(value: Any, note: str) -> Any:
    """A value with the note behind it."""
    return tomlkit.item(value).comment(note)
