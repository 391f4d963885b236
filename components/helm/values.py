"""`values.yaml` and `values.schema.json`, from the one walk over the settings."""

import copy
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from components.manifests.yaml_text import yaml_text
from components.settings import Settings
from components.settings.description import ROOT, Described, describe, schema
from components.settings.quantity import PATTERN as QUANTITY

NO_OBJECT: Final = ("target", "fly", "encryption")
"""Keys that say nothing about an object of the cluster; a section that has them is taken, and they change nothing."""
_THEIRS: Final = ("podTemplate", "job")
"""Of an agent or a program, in Kubernetes' own words: there a null says that something goes."""
_WIDTH: Final = 120
_HEAD: Final = """\
# Every setting with its prose, as in docs/settings.md, and what the stack says about it. Written by `make chart`.
# A file of your own needs only what differs: `helm install pf . -f mine.yaml`. Amounts are texts in quotes.
# As a dependency the same keys also stand without the outer `purpleflea:`, and `global.imageRegistry` and
# `global.imagePullSecrets` count.
"""


def given(settings: Settings) -> dict[str, Any]:
    """What a stack says, as values: an amount or a number that is not given is empty, for Helm drops `null`."""
    return _without_nulls(settings.model_dump(mode="json", by_alias=True, exclude={*NO_OBJECT}))


def values_file(settings: Settings) -> str:
    """`values.yaml`: every key with what the stack says and a comment that says what it means."""
    return _HEAD + "\n".join([f"{ROOT}:", *_lines(describe(Settings), given(settings), "  ")]) + "\n"


def schema_file() -> str:
    """`values.schema.json`: the settings' own, below `purpleflea` and, for a parent chart, at the root."""
    whole = copy.deepcopy(schema(Settings))
    definitions = whole.pop("$defs")
    definitions["Settings"] = whole
    for part in _parts(definitions):
        part.pop("default", None)  # values.yaml has them
        pattern = part.get("pattern")
        if pattern == QUANTITY:
            part["type"] = ["string", "integer"]  # a bare `2`, as Kubernetes takes it
        if isinstance(pattern, str):
            part["pattern"] = re.sub(r"(\{\d+,)[0-9]{4,}\}", r"\1}", pattern)  # Go's repeat at most 1000 times
        for key, choices in part.get("properties", {}).items():
            if {"type": "null"} in choices.get("anyOf", ()):
                # Not given is `""`: Helm drops a null before the schema looks, and with it the default.
                part["properties"][key] = {**choices, "anyOf": [*choices["anyOf"], {"const": ""}]}
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": ROOT,
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **whole["properties"],
            ROOT: {"$ref": "#/$defs/Settings"},
            # Helm hands every sub-chart this map, whatever else is in it.
            "global": {
                "type": "object",
                "properties": {
                    "imageRegistry": {"type": "string"},
                    "imagePullSecrets": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "$defs": definitions,
    }
    return json.dumps(root, indent=1) + "\n"


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for item in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _parts(item)


def _lines(section: Described, values: dict[str, Any], indent: str) -> Iterator[str]:
    for key in section.keys:
        if key.name not in values:
            continue
        yield from textwrap.wrap(key.prose, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        value = values[key.name]
        if key.section and not key.repeated:
            yield f"{indent}{key.name}:"
            yield from _lines(key.section, value, f"{indent}  ")
        else:
            yield textwrap.indent(yaml_text({key.name: value}).rstrip("\n"), indent)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item if key in _THEIRS else "" if item is None else _without_nulls(item) for key, item in value.items()
        }
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
