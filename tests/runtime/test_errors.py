import io
import logging
import re

import pytest

from runtime import errors
from runtime.errors import OutcomeUnknown, Permanent, Problem, PurpleFleaError, Retryable
from runtime.redaction import protect, redact

KEY = "pf_live_s3cret+/key=="
FORMS = (KEY, "pf_live_s3cret%2B%2Fkey%3D%3D")


@pytest.fixture(autouse=True)
def _key():
    protect(KEY)


def test_every_error_has_exactly_one_policy():
    leaves = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, PurpleFleaError)]
    for error in set(leaves) - {PurpleFleaError}:
        assert sum(issubclass(error, policy) for policy in (Retryable, Permanent, OutcomeUnknown)) == 1, error


def test_the_tree_at_the_top_names_every_class():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    defined = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, PurpleFleaError)}
    assert drawn == defined - {"PurpleFleaError"}


def test_an_error_says_what_where_and_which():
    error = OutcomeUnknown(
        "no answer within 10 s",
        operation="release",
        escrow_id="esc_1",
        request_id="r1",
        status=500,
        code="release_failed",
        problem=Problem.SERVER_ERROR,
    )
    assert str(error) == (
        "release of escrow esc_1: no answer within 10 s "
        "(HTTP 500, code release_failed, problem server-error, request r1)"
    )
    assert repr(error) == f"<OutcomeUnknown {error}>"


@pytest.mark.parametrize("form", FORMS)
def test_no_text_of_an_error_shows_a_key(form):
    error = Retryable(f"bad {form}", operation="read", escrow_id=form, code=f"x{form}y", delay_seconds=1)
    shown = " ".join((str(error), repr(error), repr(error.args), repr(vars(error))))
    assert form not in shown
    assert "[redacted]" in shown


@pytest.mark.parametrize("form", FORMS)
def test_no_log_shows_a_key_in_message_argument_or_traceback(form):
    stream = io.StringIO()
    log = logging.getLogger("tests.redaction")
    log.propagate = False
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    try:
        log.warning("message %s", form)
        log.warning("arguments %s %r", {"key": form}, [form])
        try:
            raise ValueError(form)
        except ValueError:
            log.exception("traceback")
    finally:
        log.removeHandler(handler)
    assert "ValueError: [redacted]" in stream.getvalue()
    assert stream.getvalue().count("[redacted]") == 4
    assert form not in stream.getvalue()


def test_a_key_nobody_named_is_hidden_behind_bearer():
    assert redact("Authorization: Bearer sk_live_1; x") == "Authorization: Bearer [redacted]; x"


def test_a_key_that_begins_another_hides_both():
    protect("pf_live_s3cret+/key==longer")
    assert redact("a pf_live_s3cret+/key==longer b") == "a [redacted] b"
