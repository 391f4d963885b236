"""Stack files are read as the engine reads them: a table for any run, and Pulumi's own loader where Go is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.stack_yaml import StackYamlError, as_text, load
from tests.toolchain.judge import Judge, Refused

TEXTS = (
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "NO",
    "1:30",
    "22:22",
    "1:30:00",
    "0xfg",
    "0b12",
    "1.2.3",
    "tRue",
    "nan",
    "inf",
)
MEANINGS = {
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "017": 15,
    "0o17": 15,
    "0x1F": 31,
    "-0b11": -3,
    "1_000": 1000,
    "09": 9.0,
    "0.10": 0.1,
    "1e-1": 0.1,
    "8e33": 8e33,
    ".5": 0.5,
    "18446744073709551615": 18446744073709551615,
    "18446744073709551616": 18446744073709551616.0,
    "2026-01-01": "2026-01-01 00:00:00 +0000 UTC",
    "2001-12-14T21:59:43.10-05:00": "2001-12-14 21:59:43.1 -0500 -0500",
    "2026-02-30": "2026-02-30",
    "'1'": "1",
    '"yes"': "yes",
    "!!str 1": "1",
    "!!float 1": 1,
}
REFUSED = (
    "config: {a: 1, a: 2}",
    "config: {a: {b: 1, 'b': 2}}",
    "config: {a: .inf}",
    "config: {a: !!int x}",
    "config: {a: *nobody}",
    "config: {a: &a [*a]}",
    "config: {a: {? [1] : 2}}",
    "config:\n\ta: 1",
    "config: {a: 'x",
)
DOCUMENTS = (
    "config: {x: &x {p: 1}, z: &z {p: 3, q: 4}, y: {<<: [*x, *z], r: 2}}",
    "config: {y: {<<: 1}}",
    "config:\n  a: |\n    x\n    y\n  b: >-\n    x\n    y\n",
    "\ufeffconfig: {a: 1}",
    "%YAML 1.1\n---\nconfig: {a: yes}",
    "config: {a: {y: 1, n: 2, on: 3, NO: 4, true: 5, null: 6, 1: 7, 1.50: 8, 1e6: 9, 2026-01-01: 10}}",
    "config: {a: [], b: {}, c: '', d: null, e: -0.0, f: 1e-7, g: 1e21, h: 123456789.125}",
    "config: {'b:c': 1, d: !unknown 1}",
    *REFUSED,
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_text_to_the_engine_is_text(text):
    assert load(f"a: {text}") == {"a": text}


@pytest.mark.parametrize("text", MEANINGS)
def test_meaning_of_a_scalar(text):
    found = load(f"a: {text}")["a"]
    assert found == MEANINGS[text]
    assert type(found) is type(MEANINGS[text]) or text == "!!float 1"


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_its_line(text):
    with pytest.raises(StackYamlError, match=r"line [12]"):
        load(text)


@pytest.mark.parametrize(
    "text",
    [
        "config: " + "[" * 100_000,
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 12)),
    ],
    ids=["depth", "aliases"],
)
def test_a_bomb_is_refused(text):
    with pytest.raises(StackYamlError, match="more than"):
        load(text)


def test_a_second_document_is_not_passed_over():
    """The engine reads the first one and says nothing."""
    with pytest.raises(StackYamlError, match="single document"):
        load("config: {}\n---\nconfig: {a: 1}\n")


scalars = (
    st.sampled_from([*TEXTS, *MEANINGS])
    | st.from_regex(r"[-+]?(0[xob]?)?[0-9_.]{0,8}([eE][-+]?[0-9]{1,2})?", fullmatch=True)
    | st.from_regex(
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?(Z|-05:30)?)?", fullmatch=True
    )
    | st.from_regex(r"\.?(inf|nan|true|yes|no|null|[a-z]{1,3})", fullmatch=True)
)


@given(st.one_of(st.sampled_from(DOCUMENTS), scalars.map("config:\n  k: {{a: {0}, b: [{0}]}}\n  l: {0}\n".format)))
def test_the_engines_own_loader_reads_the_same(judge: Judge, text):
    try:
        theirs = {key: _plain(value) for key, value in judge.ask("stack", text).items()}
    except Refused:
        theirs = None
    assert _read(text) == theirs


def _read(text: str) -> dict[str, object] | None:
    try:
        config = load(text)["config"]
        full = {key if ":" in key else f"purpleflea:{key}": value for key, value in config.items()}
        return {key: _plain("" if value is None else as_text(value)) for key, value in full.items()}
    except StackYamlError:
        return None


def _plain(text: str) -> object:
    """Objects without regard to blanks between their parts; every other text as it is."""
    return json.loads(text) if text[:1] in ("{", "[") else text
