"""YAML as kubectl reads it: the table, and the table held against kubectl."""

import json
import re
import subprocess

import pytest

from runtime.kubernetes_yaml import MOST_NESTED, NotReadable, documents
from tests.toolchain.fixtures import require

READ = {
    **dict.fromkeys(["yes", "y", "Y", "on", "True", "TRUE", "!!bool yes"], True),
    **dict.fromkeys(["no", "N", "n", "off", "FALSE"], False),
    **dict.fromkeys(["~", "null", "Null", "NULL"]),
    **{text: text for text in ("tRue", "nUll", "1:30", "190:20:30", "2026-01-01", "2026-01-01T00:00:00Z", ".", "_1")},
    **{text: text for text in ("0x", "0o8", "1e400", "=", "<<", "a b", "é")},
    **{"017": 15, "0o17": 15, "0x1f": 31, "0b11": 3, "-0b11": -3, "08": 8, "+1": 1, "-0": 0, "1_000": 1000, "1_": 1},
    **{"1e3": 1000, "1E+5": 100000, "1e-5": 1e-05, "1.e5": 100000, ".5": 0.5, "-.5": -0.5, "5.": 5, "0.10": 0.1},
    **{"1_000.5": 1000.5, "1.0": 1, "9223372036854775807": 9223372036854775807, "100000000000000000000": 1e20},
    **{"'it''s'": "it's", '"a\\tb"': "a\tb", "'1'": "1", "!!str 12": "12", '!!int "12"': 12, "!!float 3": 3},
    **{"{y: 1, 1: a, 1.5: b, 0o17: c}": {"true": 1, "1": "a", "1.5": "b", "15": "c"}, "&a [1, x]": [1, "x"]},
    **{"!!timestamp 2026-01-01": "2026-01-01", "|\n  a\n  1": "a\n1\n"},
}
REFUSED = {
    **dict.fromkeys([".inf", "-.INF", ".nan", "{a: .NaN}"], "no number that JSON has"),
    "{~: 1}": "a key must be a text",
    "{[1]: 1}": "a key must be a text",
    "[": "flow",
    "- 1": "not allowed in this context",
}
"""By kubectl too."""
REFUSED_HERE = {
    "{a: 1, a: 2}": "'a' stands twice, at line 4 again",
    "{1: 1, 0x1: 2}": "'1' stands twice",
    "&a [*a]": "recursive",
    "!foo bar": "could not determine a constructor",
    "!!set {a}": "a set is nothing that Kubernetes knows",
    "[" * (MOST_NESTED + 1): "nested more than 100 deep",
    "\n- " + "- " * 100_000: "nested more than 100 deep",
    "[&a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a],"
    " &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b], &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c],"
    " [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]]": "more than 100000 values",
    '"\x07"': "control characters are not allowed",
}


def document(text):
    return f"apiVersion: example.com/v1\nkind: Example\nmetadata: {{name: a}}\nvalue: {text}\n"


@pytest.mark.parametrize("text", READ)
def test_a_value_is_read(text):
    [found] = documents(document(text))
    assert found["value"] == READ[text]
    assert type(found["value"]) is type(READ[text]) or text == "100000000000000000000"


@pytest.mark.parametrize("text", [*REFUSED, *REFUSED_HERE], ids=lambda text: text[:20])
def test_what_no_object_can_hold_is_refused_and_says_why(text):
    with pytest.raises(NotReadable, match={**REFUSED, **REFUSED_HERE}[text]):
        documents(document(text))


def annotate(text):
    """Offline: `kubectl annotate --local` prints what it has read, each document as JSON."""
    command = [require("controlplane", "kubectl"), "annotate", "--local", "-o", "json", "-f", "-", "a=b"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_kubectl_reads_the_same():
    read = annotate("---\n".join(map(document, READ))).stdout
    found = [json.loads(one)["value"] for one in re.split(r"(?m)(?<=^})\n", read) if one]
    assert dict(zip(READ, found, strict=True)) == READ


@pytest.mark.parametrize("text", REFUSED)
def test_kubectl_refuses_the_same(text):
    done = annotate(document(text))
    assert done.returncode == 1, done.stdout
    assert "error converting YAML to JSON" in done.stderr


def test_documents_are_counted_with_the_empty_ones_and_aliases_are_written_out():
    assert documents("a: &a {x: 1, z: 2}\nb: {<<: *a, x: 3}\n---\n---\nfoo\n") == [
        {"a": {"x": 1, "z": 2}, "b": {"x": 3, "z": 2}},
        None,
        "foo",
    ]
    assert documents("") == []
