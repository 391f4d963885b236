"""`values.yaml` and `values.schema.json`, from the one walk over the settings."""

import copy
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from components.manifests import kinds
from components.manifests.strategic_merge import MERGE_KEYS, ONE_SOURCE
from components.manifests.yaml_text import yaml_text
from components.settings import Settings
from components.settings.description import ROOT, Described, describe, schema
from components.settings.quantity import PATTERN as QUANTITY
from components.settings.values import SCHEDULE_PATTERN, TIME_ZONE_PATTERN

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
        if kind := part.pop("x-kubernetes-kind", None):
            part.pop("additionalProperties")
            part["$ref"] = f"#/$defs/{_KUBERNETES[kind]}"
        pattern = part.get("pattern")
        if pattern in (SCHEDULE_PATTERN, f"^$|{SCHEDULE_PATTERN}", TIME_ZONE_PATTERN):
            del part["pattern"]  # the templates know the whole rule, and tell it in words
        if pattern == QUANTITY:
            part |= {"type": ["string", "integer"], "minimum": 0}  # a bare `2`, as Kubernetes takes it
        if "patternProperties" in part:
            part["additionalProperties"] = False
        if isinstance(pattern, str) and "pattern" in part:
            part["pattern"] = re.sub(r"(\{\d+,)[0-9]{4,}\}", r"\1}", pattern)  # Go's repeat at most 1000 times
        for key, choices in part.get("properties", {}).items():
            if {"type": "null"} in choices.get("anyOf", ()):
                # Not given is `""`: Helm drops a null before the schema looks, and with it the default.
                part["properties"][key] = {**choices, "anyOf": [*choices["anyOf"], {"const": ""}]}
    definitions |= _kubernetes_parts()
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


_KUBERNETES: Final = {
    "PodTemplateSpec": "io.k8s.api.core.v1.PodTemplateSpec",
    "JobTemplateSpec": "io.k8s.api.batch.v1.JobTemplateSpec",
}


def _kubernetes_parts() -> dict[str, Any]:
    """Kubernetes' strict schema of a pod template and a Job; a user writes parts, so what merges need not be whole."""
    known, found = kinds.definitions(), {}
    waiting = [(name, True) for name in _KUBERNETES.values()]
    partial = set()
    while waiting:
        name, is_part = waiting.pop()
        if name in found and (not is_part or name in partial):
            continue
        found[name] = known[name]
        partial |= {name} if is_part else set()
        for key, held in known[name].get("properties", {}).items():
            merges = is_part and ("items" not in held or (key in MERGE_KEYS and key not in ONE_SOURCE))
            waiting += [(one["$ref"].rpartition("/")[2], merges) for one in _parts(held) if "$ref" in one]
    return {name: _bare(definition, is_part=name in partial) for name, definition in found.items()}


def _bare(definition: Mapping[str, Any], *, is_part: bool) -> dict[str, Any]:
    """A definition without prose; null removes, `$patch` directs."""
    bare = {key: value for key, value in definition.items() if key != "description" and not key.startswith("x-")}
    if is_part:
        bare.pop("required", None)
    if "properties" in bare:
        directed = {"$patch": {"enum": ["replace", "delete"]}}
        bare["properties"] = {key: _of_key(held) for key, held in bare["properties"].items()} | directed
    if "oneOf" in bare:
        bare["anyOf"] = bare.pop("oneOf")  # null is of both kinds
    return bare


def _of_key(held: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in held.items() if key != "description" and not key.startswith("x-")}


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
