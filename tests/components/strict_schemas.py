"""Kubernetes' own schemas, strict and compiled once, and those of the custom resources that a stack uses."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs

VERSIONS = ("1.33", "1.37")
"""The oldest and the newest that a stack must suit."""
_OWN = Path(__file__).parent / "schemas"
_BASE = "file:///api/"


def complaint(manifest: dict[str, Any], version: str = VERSIONS[-1]) -> str | None:
    """What the API server's schema says against a manifest; None where it says nothing."""
    error = next(iter(_validator(manifest["apiVersion"], manifest["kind"], version).iter_errors(manifest)), None)
    if error is None:
        return None
    place = "/".join(map(str, error.instance_path))
    return f"{manifest['kind']} {manifest['metadata']['name']}: {place}: {error.message[:300]}"


@cache
def _validator(api_version: str, kind: str, version: str) -> Any:
    group, _, number = api_version.rpartition("/")
    own = _OWN / f"{kind.lower()}.json"
    if own.is_file():
        return jsonschema_rs.validator_for(json.loads(own.read_text()))
    name = "-".join(part for part in (kind.lower(), group.split(".")[0], number) if part)
    schema = json.loads((_folder(version) / f"{name}.json").read_text())
    return jsonschema_rs.Draft202012Validator(schema | {"$id": f"{_BASE}{name}.json"}, registry=_registry(version))


@cache
def _registry(version: str) -> Any:
    definitions = json.loads((_folder(version) / "_definitions.json").read_text())
    return jsonschema_rs.Registry([(f"{_BASE}_definitions.json", definitions)])


def _folder(version: str) -> Any:
    return files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
