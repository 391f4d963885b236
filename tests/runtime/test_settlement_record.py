"""The record and its journal: what is written reads back, who writes first wins, an intent stays."""

import asyncio
import json
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import Phase
from runtime.money import Usdc
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.record import (
    Case,
    CaseMismatch,
    JournalConflict,
    LastAnswer,
    Settlement,
    from_json,
    resolve,
    to_json,
)
from runtime.settlement.table import ActResult, Intent, Outcome

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CASE = Case("job-1", "esc_1", Intent.RELEASE, "Job complete", Usdc.parse("0.10"), "ag_payee")

times = st.datetimes(timezones=st.just(UTC))
amounts = st.none() | st.integers(0, 10**12).map(Usdc)
answers = st.none() | st.builds(LastAnswer, st.sampled_from(ActResult), times, st.none() | st.integers(100, 599))
records = st.builds(
    Settlement,
    st.text(),
    st.text(),
    st.sampled_from(Intent),
    st.sampled_from(Phase),
    st.text(),
    times,
    locked=amounts,
    attempts=st.integers(0, 9),
    answer=answers,
    outcome=st.none() | st.sampled_from(Outcome),
    paid=amounts,
    fee=amounts,
    referral=amounts,
    refund_at=st.none() | times,
    closed_at=st.none() | times,
)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def journal(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


@given(records)
def test_a_record_reads_back_as_it_was_written(record):
    assert from_json(json.loads(json.dumps(to_json(record))), record.version) == record


async def test_what_is_written_reads_back_with_a_new_version(journal):
    assert await journal.load("job-1") is None
    written = await journal.write(Settlement.decided(CASE, NOW))
    assert written.version
    assert await journal.load("job-1") == written


@pytest.mark.parametrize("known", [True, False])
async def test_the_second_of_two_writers_learns_that_it_was_second(journal, known):
    first = Settlement.decided(CASE, NOW)
    if known:
        first = await journal.write(first)
    winner = await journal.write(replace(first, evidence="winner"))
    with pytest.raises(JournalConflict):
        await journal.write(replace(first, evidence="loser"))
    assert await journal.load("job-1") == winner


def _count_up(path, rounds):
    journal = SqliteJournal(path)

    async def once() -> bool:
        record = await journal.load("job-1")
        try:
            await journal.write(replace(record, attempts=record.attempts + 1))
        except JournalConflict:
            return False
        return True

    for _ in range(rounds):
        while not asyncio.run(once()):
            pass
    journal.close()


async def test_no_write_of_several_processes_is_lost(journal, tmp_path):
    await journal.write(Settlement.decided(CASE, NOW))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(tmp_path / "journal.db", 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join)
        assert writer.exitcode == 0
    assert (await journal.load("job-1")).attempts == 60


@pytest.mark.parametrize(
    "other", [{"intent": Intent.DISPUTE}, {"escrow_id": "esc_2"}, {"locked": Usdc(1)}, {"payee": "ag_other"}]
)
def test_a_key_that_was_used_for_something_else_says_so(other):
    with pytest.raises(CaseMismatch, match="job-1: " + next(iter(other))):
        Settlement.decided(CASE, NOW).check(replace(CASE, **other))


def test_only_a_person_with_a_name_and_a_reason_reopens_a_review():
    decided = Settlement.decided(CASE, NOW)
    review = replace(decided, phase=Phase.NEEDS_REVIEW, attempts=5, remedy="ask", evidence="500", closed_at=NOW)
    with pytest.raises(ValueError, match="only a NeedsReview"):
        resolve(decided, by="ada", why="I like it", now=NOW)
    with pytest.raises(ValueError, match="who decides and why"):
        resolve(review, by=" ", why="because", now=NOW)
    again = resolve(review, by="ada", why="the service is mended", now=NOW, intent=Intent.DISPUTE)
    assert (again.phase, again.intent, again.attempts, again.closed_at) == (Phase.DECIDED, Intent.DISPUTE, 0, None)
    assert again.evidence == "500\n2026-11-21T12:00:00Z ada: to be tried again: dispute: the service is mended"
    closed = resolve(review, by="ada", why="support says so", now=NOW, outcome=Outcome.PAID)
    assert (closed.phase, closed.outcome, closed.paid) == (Phase.SETTLED, Outcome.PAID, None)
