"""`Pulumi.yaml`, written from the settings: every configuration key with what it means and its default.

`python -m components.project_file` prints it; a test holds the file in the repository against it.
"""

import sys
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.settings import Settings
from components.stack_values import API_KEY

_HEAD = """\
# Written by `python -m components.project_file` from components/settings; edit those and run it again.
name: purpleflea
description: Pays AI agents on Kubernetes and Fly.io exactly once, and accounts for every cent.
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: .venv
    typechecker: none
config:
"""


def project_file() -> str:
    """The text of `Pulumi.yaml`."""
    entries = {f"purpleflea:{info.alias}": _declaration(info) for info in Settings.model_fields.values()}
    entries[f"purpleflea:{API_KEY}"] = {
        "type": "string",
        "description": "Purple Flea API key; only ever by `pulumi config set --secret apiKey`. "
        "Not needed with `credentials.existingSecret` or a sandbox.",
        "default": "",
    }
    return _HEAD + textwrap.indent(yaml.dump(entries, Dumper=_Dumper, sort_keys=False, width=118), "  ")


def _declaration(info: FieldInfo) -> dict[str, Any]:
    default = info.get_default(call_default_factory=True)
    kind = {bool: "boolean", str: "string", int: "integer", tuple: "array"}.get(type(default), "object")
    declaration: dict[str, Any] = {"type": kind}
    if kind == "array":
        declaration["items"] = {"type": "object"}
    declaration["description"] = "\n".join([info.description or "", *_keys(info)])
    declaration["default"] = _given(default)
    return declaration


def _given(value: Any) -> Any:
    """A default as somebody would write it: what a section does not name is left to the section."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return [_given(item) for item in value] if isinstance(value, tuple) else value


def _keys(info: FieldInfo, prefix: str = "") -> Iterator[str]:
    for model in _models(info.annotation):
        for key in model.model_fields.values():
            inner = _models(key.annotation)
            shown = "" if inner else f" (default: {_shown(key)})"
            yield f"{prefix}{key.alias}: {' '.join((key.description or '').split())}{shown}"
            if inner and model is not inner[0]:
                yield from _keys(key, f"{prefix}{key.alias}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    candidates = (annotation, *get_args(annotation))
    return [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]


def _shown(info: FieldInfo) -> str:
    if info.is_required():
        return "none, required"
    default = info.get_default(call_default_factory=True)
    dumped = [*default] if isinstance(default, tuple) else default
    return (
        "empty"
        if dumped in ("", None, [], {})
        else yaml.dump(dumped, default_flow_style=True, width=9999).split("\n")[0]
    )


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)

if __name__ == "__main__":
    sys.stdout.write(project_file())
