"""What is written means the same to every parser, and is written as PyYAML would write it."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.manifests.yaml_text import yaml_text

UNEVEN = re.compile("[\x85\u2028\u2029\U00010000-\U0010ffff]")
_texts = st.text(max_size=20) | st.text(
    st.sampled_from("a :#-\n\t'\"{}[]&*!|>%@`,yn1.0e~\\é\x00\x7f\u2028"), max_size=12
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


class PlainDumper(yaml.SafeDumper):
    """PyYAML with the same styles, in its own code from end to end."""

    def ignore_aliases(self, data):
        return True


def _styled(dumper, text):
    style = "|" if "\n" in text else '"' if re.match(r"[-+.0-9]|[yYnN]$", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


PlainDumper.add_representer(str, _styled)


@settings(max_examples=200)
@given(_values)
def test_what_is_written_is_read_back(value):
    assert yaml.safe_load(yaml_text(value)) == value


@settings(max_examples=200)
@given(_values)
def test_it_is_what_pyyaml_writes(value):
    """With libyaml or without, but for keys that PyYAML spreads over lines, characters that the two write differently,
    and dots at the end."""
    if not _spread(value):
        plain = yaml.dump(value, Dumper=PlainDumper, sort_keys=False, width=1_000_000, allow_unicode=True)
        assert yaml_text(value) == re.sub(r"(?m)^\.\.\.\n\Z", "", plain)


def _spread(value, key=False):
    if isinstance(value, str):
        return bool(UNEVEN.search(value)) or (key and (not value or "\n" in value))
    if isinstance(value, dict):
        return any(_spread(k, key=True) or _spread(v) for k, v in value.items())
    return isinstance(value, list) and any(map(_spread, value))


@pytest.mark.parametrize(
    "text", ["12e45678", "0x1f", "1_000", ".5", "-", "on", "y", "null", "", "08", "1:30", "a: b", "é\nü"]
)
def test_every_yaml_parser_reads_a_text_as_a_text(text):
    written = yaml_text({"value": text})
    assert yaml.safe_load(written) == {"value": text}
    if re.match(r"[-+.\d]|[yn]$", text):
        assert f'"{text}"' in written, "YAML 1.2 takes it for a number, or the oldest parsers for a bool"


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "😀"])
def test_what_parsers_or_writers_treat_differently_is_escaped(mark):
    written = yaml_text({"value": f"one{mark}two", f"key{mark}": ["three\nfour" + mark]})
    assert mark not in written
    assert yaml.safe_load(written) == {"value": f"one{mark}two", f"key{mark}": ["three\nfour" + mark]}


def test_a_long_key_stays_on_its_line():
    """An annotation's key has up to 317 characters; PyYAML spreads one of more than 128 over two lines."""
    assert yaml_text({"k" * 317: {"a": 1}}) == f"{'k' * 317}:\n  a: 1\n"
