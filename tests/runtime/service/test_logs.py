"""Log lines: one JSON object each, no secret in whatever field, with the trace of the work."""

import json
import logging
import re

import pytest

from runtime.redaction import excerpt, protect, redact, stripped_secret
from runtime.service.json_lines import JsonLines
from runtime.service.logs import PlainLines
from runtime.trace import log_fields, tracing
from tests.runtime.service.children import ROOT, started

KEY = 'pf_live_quote"back\\slash'
"""A key whose JSON, URL and Python forms all differ."""


@pytest.fixture(params=[JsonLines, lambda: PlainLines("test")], ids=["json", "plain"])
def line(request):
    """Formats a record as the handler does."""
    protect(KEY)
    formatter = request.param()

    def make(message, *arguments, extra=None, error=None):
        info = (type(error), error, error.__traceback__) if error else None
        record = logging.getLogger("test").makeRecord(
            "test", logging.ERROR, "file", 1, message, arguments, info, "function", extra
        )
        record.exc_text = None  # as if somebody else had made the record: only the finished line counts
        text = formatter.format(record)
        if isinstance(formatter, JsonLines):
            json.loads(text)
        return text

    return make


def raised(text):
    try:
        raise ValueError(text) from KeyError(text)
    except ValueError as error:
        return error


def test_no_field_shows_a_secret(line):
    shown = [
        line("message %s", KEY),
        line("repr %r", {"key": [KEY]}),
        line("json %s", json.dumps({"key": KEY})),
        line("raised", error=raised(f"with {KEY}")),
        line("extra", extra={"answer": KEY, "nested": {KEY: [KEY]}, "body": json.dumps(KEY)}),
    ]
    forms = (KEY, json.dumps(KEY)[1:-1], repr(KEY)[1:-1], json.dumps(json.dumps(KEY))[3:-3])
    assert not [(text, form) for text in shown for form in forms if form in text]
    assert "pf_live_quote" not in " ".join(shown)
    assert all("[redacted]" in text for text in shown[:4])


def test_a_bearer_key_that_nobody_named_ends_where_the_json_string_does(line):
    for quoted in (
        '{"authorization": "Bearer sk_un\\Xamed", "next": 1}',
        "Bearer sk_unnamed\nnext",
        "('Bearer sk_unnamed')",
    ):
        text = line("echo %s", quoted, extra={"again": quoted})
        assert "amed" not in text
        assert "[redacted]" in text
        assert "next" in text or "next" not in quoted


@pytest.mark.parametrize("cut", range(20, 60))
def test_a_secret_across_the_cut_leaves_no_beginning(cut):
    protect(KEY)
    text = excerpt(f"the service said: {KEY}, whatever that is", cut)
    assert len(text) <= cut
    assert "pf_live" not in text
    assert not any(text.endswith(KEY[:n]) for n in range(2, len(KEY)))


def test_no_text_is_cut_before_it_is_redacted():
    """Each cut to a number of characters is `excerpt`'s, or of what is no text of somebody else's."""
    cut = re.compile(r"\[:\w*(?:\d{2,}|[A-Z_]{4,})\]|\[-\d{2,}:\]")
    harmless = (
        "redact(", "hexdigest()", "[:_SHOWN]", "known[:20]", "acts[-15:]", "shown[:40]",  # lists, and redacted above
        "by[:256]", "involved.name[:200]", "_identity[:128]", "[:LONGEST]", "work_id.lower()",  # names
        "[:MOST", "COMMON_NAME, name[:64]", "[:_PIECE_BYTES]",  # lists, a name of ours, bytes for a parser
        "answer['result'][:40]",  # the demo's own
        "said[-2048:]",  # decisions, redacted when each was written
    )  # fmt: skip
    lines = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in (ROOT / "runtime").rglob("*.py")
        for line in file.read_text().splitlines()
        if cut.search(line) and not any(words in line for words in harmless)
    ]
    assert lines == []


def test_a_secret_is_stripped_in_one_place_with_a_warning(caplog):
    assert stripped_secret(" \tpf_live_blank\n", "the file /x") == "pf_live_blank"
    assert caplog.messages == ["the file /x has blanks or a newline around the secret; they were removed"]
    assert redact("pf_live_blank") == "[redacted]"


def test_a_line_is_one_json_object_in_utc_with_the_work_it_belongs_to():
    source = """
import logging
from runtime.service.logs import configure
from runtime.service.settings import Level
from runtime.trace import tracing
configure("test", Level.INFO, for_people=False)
log = logging.getLogger("some.module")
with tracing("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", job="j"):
    log.info("two\\nlines", extra={"url": "x"})
log.debug("not at this level")
import warnings
warnings.warn("through the log, too")
"""
    with started(source) as child:
        code, (first, second), err = child.end()
    assert (code, err) == (0, "")
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "INFO", "logger": "some.module", "message": "two\nlines", "url": "x",
        "job": "j", "trace": "0af7651916cd43dd8448eb211c80319c",
    }  # fmt: skip
    assert "through the log, too" in second["message"]


def test_a_secret_in_the_traceback_of_what_nobody_foresaw():
    source = """
import sys
from dataclasses import dataclass
from runtime.environment import secret
from runtime.service import Program
@dataclass(frozen=True, kw_only=True)
class Settings:
    key: str = secret("KEY", "A key")
def run(start):
    raise RuntimeError(f"leaks {start.settings.key}")
sys.exit(Program("python -m test", "Tests.", Settings, run).main())
"""
    with started(source, KEY="pf_live_in_a_traceback\n") as child:
        code, entries, err = child.end()
    assert (code, err) == (1, "")
    assert [entry["level"] for entry in entries] == ["WARNING", "CRITICAL"]
    assert "RuntimeError: leaks [redacted]" in entries[1]["exc_info"]
    assert "pf_live_in_a_traceback" not in json.dumps(entries)


def test_log_fields_of_threads_and_tasks_are_their_own():
    with tracing(job="a"):
        assert log_fields()["job"] == "a"
    assert "job" not in log_fields()
