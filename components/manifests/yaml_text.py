"""YAML as every parser reads it.

PyYAML says how each text is written, once; the blocks around the texts are written here. A stack repeats its texts in
every object, and PyYAML, also with libyaml underneath, takes six times as long to represent each of them anew.
"""

import json
import re
from functools import lru_cache
from typing import Any

import yaml


def yaml_text(value: Any) -> str:
    """YAML that means the same to every parser, YAML 1.1 and 1.2, and is the same from every libyaml.

    `value` is what JSON has: mappings whose keys are text, lists, texts, numbers, booleans, None.
    """
    lines: list[str] = []
    _write(lines, value, "", "")
    return "\n".join(lines) + "\n"


def _write(lines: list[str], value: Any, indent: str, lead: str) -> None:
    """Append the lines of a value at `indent`; the first of them has `lead`, a dash or a key, in front of it."""
    if isinstance(value, dict) and value:
        if lead.endswith(":"):
            lines.append(lead)
            lead = indent = f"{indent}  "
        for key, item in value.items():
            _write(lines, item, indent, f"{lead or indent}{_key(key)}:")
            lead = indent
    elif isinstance(value, (list, tuple)) and value:
        if lead.endswith(":"):
            lines.append(lead)
            lead = indent  # a list stands as deep as its key
        for item in value:
            _write(lines, item, f"{indent}  ", f"{lead or indent}- ")
            lead = indent
    else:
        first, *rest = _leaf(value)
        lines.append(f"{lead} {first}" if lead.endswith(":") else f"{lead}{first}")
        deeper = indent if lead.endswith("- ") else f"{indent}  "
        lines += [f"{deeper}{line}" if line else "" for line in rest]


def _leaf(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return ("null" if value is None else str(value).lower(),)
    if type(value) is int:
        return (str(value),)
    return (yaml.dump(value, Dumper=_Dumper, default_flow_style=True).partition("\n")[0],)


@lru_cache(maxsize=4096)
def _text(text: str) -> tuple[str, ...]:
    """The lines of a text as a value; all but the first are yet to be indented."""
    if _UNEVEN.search(text):
        return (_quoted(text),)
    first, *rest = _scalar(text, "|" if "\n" in text else _style(text)).split("\n")
    return first, *(line[2:] for line in rest)


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    # On one line, however long: what YAML 1.1 allows is more than any manifest has.
    return _quoted(text) if "\n" in text or _UNEVEN.search(text) else _scalar(text, _style(text))


_UNEVEN = re.compile("[\x85\u2028\u2029\U00010000-\U0010ffff]")
"""What ends a line for YAML 1.1 alone, and what libyaml escapes where PyYAML's own code does not."""
_UNPRINTABLE = "[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]"  # compiled where needed: 5 ms


def _quoted(text: str) -> str:
    """In double quotes as JSON has it, which is YAML too, with every odd character escaped."""
    return re.sub(_UNPRINTABLE, lambda odd: f"\\U{ord(odd[0]):08X}", json.dumps(text, ensure_ascii=False))


def _style(text: str) -> str | None:
    """Quotes around whatever some parser takes for a number or a bool."""
    return '"' if re.match(r"[-+.0-9]|[yYnN]\Z", text) else None


def _scalar(text: str, style: str | None) -> str:
    tag = "tag:yaml.org,2002:str"
    # As a value, since PyYAML ends a document that is nothing but a plain text with a line of dots.
    node = yaml.MappingNode(
        "tag:yaml.org,2002:map",
        [(yaml.ScalarNode(tag, "k"), yaml.ScalarNode(tag, text, style=style))],
        flow_style=False,
    )
    written = yaml.serialize(node, Dumper=_Dumper, width=1_000_000, allow_unicode=True)
    # Where a text ends in empty lines PyYAML ends the document with three dots: nothing needs them.
    return (written[:-4] if written.endswith("\n...\n") else written)[len("k: ") : -1]


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
