"""Settings from the environment: what is accepted, and every mistake named at once."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from runtime.environment import (
    amount,
    checked_url,
    choice,
    flag,
    group,
    number,
    path,
    read,
    secret,
    text,
    url,
    variables,
)
from runtime.errors import BadInput
from runtime.money import ZERO, Usdc
from runtime.redaction import redact


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    key: str | None = secret("KEY", "A key", default=None)
    words: str = text("WORDS", "Some words")


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = group(Inner)
    budget: Usdc = amount("BUDGET", "Money", default=Usdc.parse("0.10"))
    on: bool = flag("ON", "A switch", default=False)
    count: int = number("COUNT", "A count", least=0, most=10, default=5)
    place: Path = path("PLACE", "A file", default=Path("/somewhere"))
    colour: Colour = choice("COLOUR", "A colour", Colour, default=Colour.RED)
    service: str | None = url("SERVICE", "A service", default=None)

    def __post_init__(self):
        if self.on and not self.count:
            raise BadInput("ON needs a COUNT")


def test_what_is_unset_empty_or_blank_has_its_default():
    expected = Outer(inner=Inner(words="w"))
    for nothing in ({}, {"BUDGET": "", "ON": " ", "COUNT": "\n", "PLACE": "", "COLOUR": "", "SERVICE": "", "KEY": " "}):
        assert read(Outer, {"WORDS": "w"} | nothing) == expected
    assert expected.budget == Usdc.parse("0.10")


def test_zero_and_false_are_given():
    found = read(Outer, {"WORDS": "w", "BUDGET": "0", "COUNT": "0", "ON": "False"})
    assert (found.budget, found.count, found.on) == (ZERO, 0, False)


def test_blanks_around_a_value_do_not_count():
    found = read(Outer, {"WORDS": " two words ", "COUNT": " 7\n", "ON": "TRUE ", "COLOUR": " blue"})
    assert (found.inner.words, found.count, found.on, found.colour) == ("two words", 7, True, Colour.BLUE)


@pytest.mark.parametrize("word", ["yes", "no", "1", "0", "on", "t", "true false", "wahr"])
def test_a_flag_has_one_meaning(word):
    with pytest.raises(BadInput, match=f"ON is '{word}': expected true or false"):
        read(Outer, {"WORDS": "w", "ON": word})


@pytest.mark.parametrize(
    "word", ["-1", "11", "1.0", "1e1", "0x1", "+1", "1_0", "\N{ARABIC-INDIC DIGIT ONE}", "nan", "9" * 99]
)
def test_a_number_is_whole_and_within_its_bounds(word):
    with pytest.raises(BadInput, match=r"COUNT is .*: expected a whole number from 0 to 10"):
        read(Outer, {"WORDS": "w", "COUNT": word})


def test_every_mistake_is_named_at_once():
    wrong = {"BUDGET": "-1", "ON": "yes", "COUNT": "many", "COLOUR": "green", "SERVICE": "ftp://x"}
    with pytest.raises(BadInput) as caught:
        read(Outer, wrong)
    lines = caught.value.message.splitlines()
    assert [line.split(":")[0].split()[0] for line in lines] == ["WORDS", "BUDGET", "ON", "COUNT", "COLOUR", "SERVICE"]
    assert lines[0] == "WORDS is not set: expected text (Some words)"
    assert "red, blue" in lines[4]


def test_settings_that_do_not_fit_together_are_named():
    with pytest.raises(BadInput, match="ON needs a COUNT"):
        read(Outer, {"WORDS": "w", "ON": "true", "COUNT": "0"})


@pytest.mark.parametrize(("allowed", "fine"), [("", False), ("false", False), ("yes", False), ("True", True)])
def test_plain_http_is_allowed_by_the_flag_alone(allowed, fine):
    environ = {"WORDS": "w", "SERVICE": "http://sandbox:8080", "PF_ALLOW_HTTP": allowed}
    if fine:
        assert read(Outer, environ).service == "http://sandbox:8080"
    else:
        with pytest.raises(BadInput, match="SERVICE: http://sandbox:8080 would send the key in the clear"):
            read(Outer, environ)


def test_a_secret_is_stripped_once_with_a_warning_and_shown_nowhere(caplog):
    found = read(Outer, {"WORDS": "w", "KEY": "pf_live_newline\n"})
    assert found.inner.key == "pf_live_newline"
    assert "KEY has blanks or a newline around the secret" in caplog.text
    assert "pf_live_newline" not in f"{found!r} {caplog.text}"
    assert redact("pf_live_newline") == "[redacted]"


def test_a_secret_as_it_should_be_is_not_spoken_of(caplog):
    read(Outer, {"WORDS": "w", "KEY": "pf_live_clean"})
    assert caplog.text == ""


def test_a_key_in_the_wrong_variable_is_not_shown():
    read(Outer, {"WORDS": "w", "KEY": "pf_live_elsewhere"})
    for prefix in ("", "x" * 30):  # across the cut, too
        with pytest.raises(BadInput) as caught:
            read(Outer, {"WORDS": "w", "COUNT": f"{prefix}pf_live_elsewhere"})
        assert "pf_live" not in str(caught.value)


def test_every_variable_is_known_with_those_of_the_groups():
    names = [variable.name for variable in variables(Outer)]
    assert names == ["KEY", "WORDS", "BUDGET", "ON", "COUNT", "PLACE", "COLOUR", "SERVICE"]


def test_a_url_may_be_of_ipv6():
    assert checked_url("https://[2001:db8::1]:8443/x/", allow_http=False) == "https://[2001:db8::1]:8443/x"
