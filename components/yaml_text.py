"""YAML as every parser reads it."""

import re
from typing import Any

import yaml


def yaml_text(value: Any) -> str:
    """YAML that means the same to every parser, YAML 1.1 and 1.2, and is the same from every libyaml."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Blocks for texts of several lines, no anchors, quotes around whatever some parser takes for a number or bool."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _scalar(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else '"' if re.match(r"[-+.0-9]|[yYnN]\Z", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _scalar)
