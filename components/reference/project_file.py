"""`Pulumi.yaml`, written from the settings: every configuration key with what it means and its default.

`python -m components.reference.project_file` prints it; a test holds the file in the repository against it.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from components.settings import Settings
from components.settings.description import REQUIRED, ROOT, Described, Key, describe, inherited
from components.stack_values import API_KEY

_HEAD = """\
# Written by `python -m components.reference.project_file` from components/settings; edit those and run it again.
name: purpleflea
description: Pays AI agents on Kubernetes and Fly.io exactly once, and accounts for every cent.
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: .venv
config:
  # Another API key changes the Secret where it is; else it is deleted first, and a pod that starts then finds none.
  kubernetes:enableSecretMutable:
    value: true
"""


def project_file() -> str:
    """The text of `Pulumi.yaml`."""
    entries = {f"{ROOT}:{key.name}": _declaration(key) for key in describe(Settings).keys}
    entries[f"{ROOT}:{API_KEY}"] = {
        "type": "string",
        "description": "Purple Flea API key; only ever by `pulumi config set --secret apiKey`. "
        "Not needed with `credentials.existingSecret` or a sandbox.",
        "default": "",
    }
    return _HEAD + textwrap.indent(yaml.dump(entries, Dumper=_Dumper, sort_keys=False, width=118), "  ")


def _declaration(key: Key) -> dict[str, Any]:
    declaration: dict[str, Any] = {"type": key.takes["type"]}
    if declaration["type"] == "array":
        declaration["items"] = {"type": key.takes["items"]["type"]}
    declaration["description"] = "\n".join([key.prose, *(_keys(key.section) if key.section else ())])
    declaration["default"] = _written(key.default, key)
    return declaration


def _written(value: Any, key: Key) -> Any:
    """A default as somebody would write it: what a section does not name is left to the section."""
    if key.section is None:
        return value
    if isinstance(value, list):
        return [_written(item, key) for item in value]
    found = {inner.name: _written(value[inner.name], inner) for inner in key.section.keys if inner.name in value}
    return {name: part for name, part in found.items() if value[name] != key.section.default(name)}


def _keys(section: Described, prefix: str = "", defaults: Any = None) -> Iterator[str]:
    for key in section.keys:
        default = inherited(key, defaults)
        shown = "" if key.section else f" (default: {_shown(default)})"
        yield f"{prefix}{key.name}: {key.prose}{shown}"
        if key.section:
            yield from _keys(key.section, f"{prefix}{key.name}.", default)


def _shown(default: Any) -> str:
    if default is REQUIRED:
        return "none, required"
    return (
        "empty"
        if default in ("", None, [], {})
        else yaml.safe_dump(default, default_flow_style=True, width=9999).split("\n")[0]
    )


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)

if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m components.reference.project_file", description=__doc__).parse_args()
    sys.stdout.write(project_file())
