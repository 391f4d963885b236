"""The tables in docs/api-dialects.md say what the code does."""

import re
from pathlib import Path

from runtime import errors
from runtime.payments import DialectName, Operation
from runtime.payments.answer import STATUS_WORDS
from runtime.payments.client import DIALECTS
from runtime.payments.dialect import Service

PAGE = Path(__file__).parents[3] / "docs" / "api-dialects.md"


def table(heading):
    """The rows below a heading, without the head of the table."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return rows[0], rows[2:]


def shown(endpoint):
    if endpoint is None:
        return "\N{EN DASH}"
    elsewhere = [] if endpoint.service is Service.ESCROW else [endpoint.service.value]
    marks = elsewhere + ["no key"] * (not endpoint.authenticated)
    return f"`{endpoint.method} {endpoint.path}`" + (f" ({', '.join(marks)})" if marks else "")


def test_every_operation_of_every_dialect_with_its_endpoint():
    head, rows = table("Operations")
    assert head == ["operation", *(f"`{name}`" for name in DialectName)]
    assert rows == [[o, *(shown(DIALECTS[name].endpoints.get(o)) for name in DialectName)] for o in Operation]


def test_every_status_word():
    _, rows = table("Status words")
    read_as = {word: status for words, status, _ in rows for word in re.findall(r"`(\w+)`", words)}
    assert read_as == dict(STATUS_WORDS)


def test_every_error_class_exists():
    _, rows = table("What a failure means")
    names = {name for row in rows for cell in row[1:] for name in re.findall(r"`([A-Z][a-z]\w+)`", cell)}
    assert names <= set(vars(errors))
    assert {"Unreachable", "OutcomeUnknown", "Contradiction"} <= names


def test_fields_that_the_page_calls_refused_are():
    _, rows = table("Fields of a create")
    for meaning, name in (("payer", "payer"), ("time-out in hours", "timeout_hours")):
        (row,) = (row for row in rows if row[0] == meaning)
        told = {dialect for dialect, cell in zip(DialectName, row[1:], strict=True) if cell.startswith("refused")}
        assert told == {d.name for d in DIALECTS.values() if name in d.refuses}
