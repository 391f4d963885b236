"""Payment beside compute: what OpenCost says of a Job's pods; where it says nothing whole there is no column."""

import asyncio
import csv
import io
import json
import uuid
from datetime import UTC, datetime

import pytest

from runtime.statement import compute
from runtime.statement.compute import Compute, read_compute
from runtime.statement.lines import line_of
from runtime.statement.page import Page
from runtime.statement.period import Period, read_period
from runtime.statement.sums import Statement, grouping
from runtime.statement.writing import Csv, Json, Result, Table
from tests.runtime.statement.accounts import NOVEMBER, account, day, paid
from tests.runtime.statement.open_cost import open_cost

JOBS = [f"{uuid.UUID(int=number)}" for number in range(4)]
COSTS = {JOBS[0]: 0.01235, JOBS[1]: 0.5, JOBS[2]: None}


def asked(url: str, period: Period = NOVEMBER) -> Compute:
    return asyncio.run(read_compute(url, period, day(20)))


def of_job(uid: str, **facts):
    """A paid account of that Job."""
    return paid(spec={"work": {"kind": "Job", "name": "job", "uid": uid}}, **facts)


def made(found: Compute, escrows, make) -> str:
    """The statement of these accounts beside that compute."""
    statement, out = Statement(NOVEMBER, grouping("agent"), "agent"), io.StringIO()
    writer = make(out)
    for escrow in escrows:
        line = line_of(escrow, NOVEMBER)
        assert line is not None
        line.compute = found.take(escrow.work)
        statement.add(line)
        writer.line(line)
    writer.end(Result(statement, day(20), compute=found))
    return out.getvalue()


@pytest.fixture(scope="module")
def answered():
    with open_cost(COSTS) as (server, url):
        yield server, url


def accounts():
    task = account("Settled", kind="Task", outcome="Paid", locked="1", paid="0.99", fee="0.01", closed_at=day(4))
    untold = account("Settled", outcome="Paid", locked="1", locked_at=day(3), closed_at=day(4),
                     spec={"work": {"kind": "Job", "name": "job", "uid": JOBS[1]}})  # fmt: skip
    return [of_job(JOBS[0]), untold, of_job(JOBS[2]), of_job(JOBS[3]), task]


def test_the_request_is_one_that_opencost_takes(answered):
    server, url = answered
    assert asked(f"{url}/", read_period("2026-11-01", None, None, "Europe/Berlin")).why_not == ""
    said = server.asked[-1]
    assert said["window"] == "2026-10-31T23:00:00Z,2026-11-20T12:00:00Z", "as far as it has come, in UTC"
    assert (said["aggregate"], said["accumulate"]) == ("label:batch_kubernetes_io_controller_uid", "true")
    assert (said["includeIdle"], said["shareIdle"]) == ("false", "false")


def test_margin_is_paid_less_compute_and_unknown_where_either_is(answered):
    rows = list(csv.DictReader(io.StringIO(made(asked(answered[1]), accounts(), lambda out: Csv(out, compute=True)))))
    assert [(row["compute_usd"], row["margin_usdc"]) for row in rows] == [
        ("0.012350", "0.086650"),
        ("0.500000", ""),  # nobody told what of it reached the payee
        ("", ""),  # OpenCost's null
        ("", ""),  # a Job that it does not name
        ("", ""),  # a Task: its worker does many
    ]


def test_a_job_is_counted_once_and_a_loss_is_a_number(answered):
    found = asked(answered[1])
    [first, second] = csv.DictReader(
        io.StringIO(made(found, [of_job(JOBS[1]), of_job(JOBS[1])], lambda out: Csv(out, compute=True)))
    )
    assert (first["margin_usdc"], second["margin_usdc"]) == ("-0.401000", "")


def test_every_form_shows_it_and_counts_what_is_unknown(answered):
    table = made(asked(answered[1]), accounts(), Table)
    head, row = (line.split() for line in table.splitlines()[2:4])
    shown = dict(zip(head, row, strict=True))
    assert (shown["COMPUTE"], shown["MARGIN"]) == ("0.512350+2?", "0.086650+3?")
    assert f"compute is what OpenCost at {answered[1]} says of 2 Jobs; 2 have none there" in table
    document = json.loads(made(asked(answered[1]), accounts(), lambda out: Json(out, compute=True)))
    assert document["total"]["compute_usd"] == "0.512350"
    assert (document["total"]["margin_usdc"], document["total"]["margins_unknown"]) == ("0.086650", 3)
    assert document["compute"] == {"by": f"OpenCost at {answered[1]}", "why_not": None}
    assert document["adds_up"] is True
    page = made(asked(answered[1]), accounts(), lambda out: Page(out, NOVEMBER))
    assert '<td data-label="margin">0.086650+3?</td>' in page
    tasks_only = made(asked(answered[1]), accounts()[-1:], Table)
    assert tasks_only.splitlines()[3].split()[-2:] == ["-", "-"], "no zero where there is no Job"


def test_without_an_answer_no_form_has_the_column():
    found = asked("http://127.0.0.1:1")
    assert found.why_not.startswith("OpenCost at http://127.0.0.1:1: does not answer: ")
    table = made(found, accounts(), Table)
    assert "COMPUTE" not in table
    assert f"no compute, no margin: {found.why_not}" in table
    document = json.loads(made(found, accounts(), Json))
    assert "compute_usd" not in document["total"]
    assert document["compute"]["why_not"] == found.why_not
    assert 'data-label="compute"' not in made(found, accounts(), lambda out: Page(out, NOVEMBER))


def changed(**fields):
    """The right answer, but for one Job's fields."""

    def change(right):
        right["data"][0][JOBS[0]].update(fields)
        return right

    return change


def cut(right):
    return 200, {}, json.dumps(right).encode()[:-40]


def without_cost(right):
    del right["data"][0][JOBS[0]]["totalCost"]
    return right


BAD = {
    "NaN": (changed(totalCost=float("nan")), "its answer cannot be read: JSON is malformed"),
    "a text that is no number": (changed(totalCost="NaN"), f"says that Job {JOBS[0]} cost NaN"),
    "negative": (changed(totalCost=-0.00001), f"says that Job {JOBS[0]} cost -0.00001"),
    "endless": (changed(totalCost=1e300), f"says that Job {JOBS[0]} cost 1E+300"),
    "a flag for a cost": (changed(totalCost=True), "its answer cannot be read: Expected `decimal | null`, got `bool`"),
    "no cost": (without_cost, "its answer cannot be read: Object missing required field `totalCost`"),
    "another time": (changed(window={"start": "2026-10-01T00:00:00Z", "end": "2026-11-20T12:00:00Z"}),
                     "its answer is about 2026-10-01"),
    "no time": (changed(window={"start": None, "end": None}), "its answer cannot be read"),
    "cut off": (cut, "its answer cannot be read: Input data was truncated"),
    "a page": (lambda _: (200, {}, b"<html>sign in</html>"), "its answer cannot be read: JSON is malformed"),
    "two sets": (lambda right: right | {"data": right["data"] * 2}, "its answer has 2 sets of costs"),
    "no set": (lambda right: right | {"data": []}, "its answer has 0 sets of costs"),
    "null": (lambda right: right | {"data": None}, "its answer has 0 sets of costs"),
    "a null set": (lambda right: right | {"data": [None]}, "names no Job in this period"),
    "a warning": (lambda right: right | {"warning": "Prometheus was slow"}, "is not whole: Prometheus was slow"),
    "an error of its own": (lambda _: {"code": 500, "message": "boom", "data": None}, "is not whole: code 500"),
    "500": (lambda _: (500, {}, b'{"code":500,"message":"Error: boom"}'), 'answers 500: {"code":500,"message":"Error'),
    "503 and nothing": (lambda _: (503, {}, b""), "answers 503: nothing"),
    "elsewhere": (lambda _: (302, {"Location": "http://127.0.0.1:1/"}, b""), "answers 302 and points elsewhere"),
    "fewer bytes than promised": (lambda _: (200, {"Content-Length": "9999"}, b"{}"), "does not answer: "),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "why"), BAD.values(), ids=BAD.keys())
def test_an_answer_that_is_not_whole_gives_nobody_a_cost(answer, why):
    with open_cost(COSTS, answer) as (_, url):
        found = asked(url)
    assert found.why_not.startswith(f"OpenCost at {url}: ")
    assert why in found.why_not
    assert found.take(of_job(JOBS[1]).work) is None


def test_without_the_label_it_names_no_job():
    with open_cost({}) as (_, url):
        assert "names no Job in this period; does its Prometheus keep kube_pod_labels?" in asked(url).why_not


def test_no_more_is_read_than_fits():
    blanks = b" " * (compute.ANSWER_BYTES + 1)
    with open_cost(COSTS, lambda _: (200, {}, blanks)) as (_, url):
        assert "answers with more than 64 MiB" in asked(url).why_not


@pytest.mark.parametrize(
    ("period", "why"),
    [
        (Period(None, None), "it needs a time that begins: give --month or --since"),
        (Period(datetime(2026, 12, 1, tzinfo=UTC), None), "the period has not begun"),
    ],
)
def test_a_time_that_opencost_cannot_be_asked_about_is_not_asked(answered, period, why):
    server, url = answered
    before = len(server.asked)
    assert asked(url, period).why_not.endswith(why)
    assert len(server.asked) == before
