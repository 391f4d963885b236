"""Every fault of the sandbox and every point to die at: one payment at most, and a settlement that ends."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from runtime.contract import Phase
from runtime.sandbox.testing import running_sandbox
from runtime.settlement.driver import Step
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.record import resolve
from runtime.settlement.table import ActResult, Outcome
from tests.runtime.settling import DIALECTS, IMPATIENT, READABLE, Crash, Shop, check_against_books

pytestmark = pytest.mark.anyio

BEFORE, BETWEEN, AFTER = {"moment": "before"}, {"moment": "between"}, {"moment": "after"}
SLOW = {"kind": "delay", "seconds": 0.6}
FAULTS = {
    "slow before": SLOW | BEFORE,
    "slow after": SLOW | AFTER,
    "reset before": {"kind": "reset"} | BEFORE,
    "reset between": {"kind": "reset"} | BETWEEN,
    "reset after": {"kind": "reset"} | AFTER,
    "half an answer": {"kind": "half"} | AFTER,
    "500 before": {"kind": "status", "status": 500, "body": {"error": "internal_error"}} | BEFORE,
    "500 between": {"kind": "status"} | BETWEEN,
    "500 after": {"kind": "status", "status": 500, "body": {"error": "release_failed"}} | AFTER,
    "409 before": {"kind": "status", "status": 409, "body": {"error": "invalid_status"}} | BEFORE,
    "409 after": {"kind": "status", "status": 409, "body": {"error": "invalid_status"}} | AFTER,
    "404 before": {"kind": "status", "status": 404, "body": {"error": "not_found"}} | BEFORE,
    "404 after": {"kind": "status", "status": 404, "body": {"error": "not_found"}} | AFTER,
    "429": {"kind": "status", "status": 429, "body": {"error": "rate_limited"}} | BEFORE,
    "401": {"kind": "status", "status": 401, "body": {"error": "unauthorized"}} | BEFORE,
    "text before": {"kind": "content_type"} | BEFORE,
    "text after": {"kind": "content_type"} | AFTER,
    "html before": {"kind": "html"} | BEFORE,
    "html with 200 after": {"kind": "html", "status": 200} | AFTER,
    "empty before": {"kind": "empty"} | BEFORE,
    "empty after": {"kind": "empty"} | AFTER,
    "twice": {"kind": "duplicate"} | AFTER,
    "10 MB": {"kind": "large"} | AFTER,
    "another escrow": {"kind": "replace", "body": {"escrow_id": "esc_other"}} | AFTER,
    "another amount": {"kind": "replace", "body": {"amount_released": 99.0}} | AFTER,
    "another status": {"kind": "replace", "body": {"status": "disputed"}} | AFTER,
    "unknown status": {"kind": "replace", "body": {"status": "frozen"}} | AFTER,
}
CERTAIN = ("429", "401")
"""After these nothing happened, for certain, in every dialect."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def mall():
    with running_sandbox() as running:
        yield running


@pytest.fixture
async def shop(mall, request, tmp_path):
    shop = Shop(mall, request.param, tmp_path / "journal.db")
    yield shop
    mall.clear_faults()
    await shop.close()


every_dialect = pytest.mark.parametrize("shop", DIALECTS, indirect=True)
readable = pytest.mark.parametrize("shop", READABLE, indirect=True)


@every_dialect
@pytest.mark.parametrize("name", FAULTS)
async def test_a_release_that_meets_a_fault_once_pays_once_or_waits_for_a_person(shop, name):
    case = await shop.case()
    if name.startswith("slow"):
        await shop.use(IMPATIENT)
    shop.fault("release", times=1, **FAULTS[name])
    record = await shop.until_closed(case)
    check_against_books(shop, case, record)
    if name in CERTAIN or (shop.dialect in READABLE and name not in ("404 before", "500 between", "reset between")):
        assert (record.phase, record.outcome) == (Phase.SETTLED, Outcome.PAID)
        assert record.drift == (name in ("409 after", "404 after"))  # it says that it was not us, and we believe that


@pytest.mark.parametrize("shop", ["server"], indirect=True)
@pytest.mark.parametrize("name", FAULTS)
async def test_a_release_that_meets_a_fault_for_ever_ends_after_a_bounded_number_of_tries(shop, name):
    case = await shop.case()
    if name.startswith("slow"):
        await shop.use(IMPATIENT)
    shop.fault("release", **FAULTS[name])
    if name in CERTAIN:
        progress = await shop.settler().settle(case)
        assert not progress.record.attempts
        assert progress.retry_after_seconds == pytest.approx(20 if name == "429" else 2, abs=1)
        shop.sandbox.clear_faults()
    record = await shop.until_closed(case)
    check_against_books(shop, case, record)
    assert record.attempts <= shop.policy.max_attempts


@readable
async def test_a_500_that_repeats_because_the_payee_is_paid_is_a_persons_and_never_a_dispute(shop):
    case = await shop.case()
    shop.fault("release", times=1, moment="between")
    record = await shop.until_closed(case)
    assert (record.phase, record.attempts, record.answer.status) == (Phase.NEEDS_REVIEW, 5, 500)
    assert "can mean that the payee was paid" in record.evidence
    assert len(shop.paid(case)) == 1
    assert shop.escrow(case)["status"] == "funded"


@pytest.mark.parametrize("shop", ["server"], indirect=True)
async def test_the_answer_that_mattered_stays_in_the_evidence_whatever_came_after_it(shop):
    """A server that dies after the 500 loses every later answer; the 500 is what says that the payee was paid."""
    case = await shop.case()
    shop.fault("release", nth=1, moment="between")
    for later in range(2, 6):
        shop.fault("release", kind="reset", moment="before", nth=later)
    record = await shop.until_closed(case)
    assert (record.phase, record.answer.status) == (Phase.NEEDS_REVIEW, None)
    assert "attempt 1: unknown 500 release_failed" in record.evidence
    assert "Retry it before the refund" in record.remedy


@pytest.mark.parametrize("shop", ["server"], indirect=True)
async def test_a_release_that_is_repeated_on_a_persons_word_pays_what_was_not_paid(shop):
    case = await shop.case()
    shop.fault("release", kind="reset", moment="before", times=5)
    record = await shop.until_closed(case)
    assert record.phase is Phase.NEEDS_REVIEW
    again = resolve(record, by="a person", why="a repeat is safe", now=datetime.now(UTC))
    await shop.journal.write(again)
    record = await shop.until_closed(case)
    assert (record.phase, record.outcome) == (Phase.SETTLED, Outcome.PAID)
    assert len(shop.paid(case)) == 1


@readable
@pytest.mark.parametrize("name", [n for n in FAULTS if "between" not in n and n != "another status"])
async def test_reads_that_go_wrong_are_waited_for_or_are_a_persons(shop, name):
    case = await shop.case()
    if name.startswith("slow"):
        await shop.use(IMPATIENT)
    operation = "read" if shop.dialect == "server" else "list"
    shop.fault(operation, times=3, **FAULTS[name])
    record = await shop.until_closed(case)
    check_against_books(shop, case, record)


@pytest.mark.parametrize("shop", ["kubernetes"], indirect=True)
async def test_lists_that_have_become_too_long_to_read_leave_the_direct_answer(shop):
    done, lost = await shop.case(), await shop.case()
    shop.fault("list", "large", moment="after")
    record = await shop.until_closed(done)
    check_against_books(shop, done, record)
    assert (record.phase, record.outcome, record.attempts) == (Phase.SETTLED, Outcome.PAID, 1)
    shop.fault("release", "reset", moment="after", nth=1)
    record = await shop.until_closed(lost)
    assert (record.phase, record.attempts, len(shop.paid(lost))) == (Phase.NEEDS_REVIEW, 1, 1)


@readable
async def test_a_service_that_does_not_answer_is_waited_for_and_sent_nothing(shop):
    case = await shop.case()
    shop.fault("*", "reset")
    delays = []
    for _ in range(60):
        progress = await shop.settler().settle(case)
        assert (progress.record.phase, progress.record.attempts) == (Phase.DECIDED, 0)
        delays.append(progress.retry_after_seconds)
        shop.offset += timedelta(seconds=progress.retry_after_seconds)
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (2.0, 60.0)
    shop.sandbox.clear_faults()
    assert (await shop.until_closed(case)).outcome is Outcome.PAID


@every_dialect
@pytest.mark.parametrize("name", ["reset before", "reset after", "500 after", "409 after", "429"])
async def test_failed_work_that_meets_a_fault_is_never_paid(shop, name):
    case = await shop.case(succeeded=False)
    shop.fault(case.intent.value, times=1, **FAULTS[name])
    record = await shop.until_closed(case)
    check_against_books(shop, case, record)
    assert shop.paid(case) == []


@every_dialect
@pytest.mark.parametrize("succeeded", [True, False])
@pytest.mark.parametrize("step", Step)
async def test_a_settler_that_dies_at_any_step_is_taken_over_from_the_journal(shop, step, succeeded):
    case = await shop.case(succeeded=succeeded)

    def die(at, _record):
        if at is step:
            raise Crash

    with pytest.raises(Crash):
        await shop.settler(observe=die).settle(case)
    record = await shop.until_closed(case, shop.settler(SqliteJournal(shop.journal_file)))
    check_against_books(shop, case, record)
    if shop.dialect in READABLE or step not in (Step.SENDING, Step.ANSWERED, Step.VERIFIED):
        assert record.phase is Phase.SETTLED
    else:
        assert (record.phase, record.answer.kind) == (Phase.NEEDS_REVIEW, ActResult.SENT)


class DyingJournal(SqliteJournal):
    """Dies at the nth write, before or after it has become durable."""

    def __init__(self, path, nth, *, after):
        super().__init__(path)
        self.left, self.after = nth, after

    async def write(self, record):
        self.left -= 1
        if self.left < 0 and not self.after:
            raise Crash
        written = await super().write(record)
        if self.left < 0:
            raise Crash
        return written


@every_dialect
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", range(3))
async def test_a_settler_that_dies_at_any_write_is_taken_over_even_with_a_fault_on_the_way(shop, nth, after):
    case = await shop.case()
    shop.fault("release", "reset", times=1, moment="after")
    with pytest.raises(Crash):
        await shop.until_closed(case, shop.settler(DyingJournal(shop.journal_file, nth, after=after)))
    record = await shop.until_closed(case)
    check_against_books(shop, case, record)
    if shop.dialect in READABLE:
        assert record.outcome is Outcome.PAID


@every_dialect
async def test_a_settler_that_is_stopped_between_the_payment_and_its_answer_pays_no_second_time(shop):
    case = await shop.case()
    sent = asyncio.Event()
    shop.fault("release", "delay", times=1, moment="after", seconds=8)
    async with shop.client_of(shop.payer_key) as patient:
        task = asyncio.create_task(
            shop.settler(client=patient, observe=lambda step, _: step is Step.SENDING and sent.set()).settle(case)
        )
        await sent.wait()
        await asyncio.to_thread(shop.wait_until_paid, case)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    record = await shop.until_closed(case)
    check_against_books(shop, case, record)
    assert record.outcome is (Outcome.PAID if shop.dialect in READABLE else None)
