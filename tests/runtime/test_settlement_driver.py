"""The driver against a real sandbox over HTTP: the plain ways, the drifts, and what it writes down."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from runtime.contract import Phase
from runtime.money import Usdc
from runtime.payments import Credentials, EscrowStatus, PaymentsClient
from runtime.sandbox.testing import running_sandbox
from runtime.settlement.driver import Policy, Step
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.reading import Reader
from runtime.settlement.record import CaseMismatch, Settlement
from runtime.settlement.table import ActResult, Intent, Outcome, Seen
from tests.runtime.settling import AMOUNT, DIALECTS, PATIENT, READABLE, TLS, Shop, check_against_books

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def mall():
    with running_sandbox() as running:
        yield running


@pytest.fixture
async def shop(mall, request, tmp_path):
    shop = Shop(mall, getattr(request, "param", "server"), tmp_path / "journal.db")
    yield shop
    mall.clear_faults()
    await shop.close()


every_dialect = pytest.mark.parametrize("shop", DIALECTS, indirect=True)
readable = pytest.mark.parametrize("shop", READABLE, indirect=True)


@every_dialect
async def test_work_that_is_done_is_paid_once_and_every_amount_is_on_record(shop):
    case = await shop.case()
    progress = await shop.settler().settle(case)
    record = progress.record
    assert progress.retry_after_seconds is None
    assert (record.phase, record.outcome, record.drift, record.attempts) == (Phase.SETTLED, Outcome.PAID, False, 1)
    assert (record.locked, record.paid, record.fee) == (AMOUNT, Usdc.parse("0.099"), Usdc.parse("0.001"))
    assert record.answer.kind is ActResult.ACCEPTED
    assert await shop.journal.load(case.key) == record
    check_against_books(shop, case, record)


@readable
async def test_what_was_paid_is_on_record_although_another_settler_saw_it_first(shop):
    """Two runs at one time: one is told the amounts, the other reads `released` and writes that down before it can."""
    case = await shop.case()

    class Overtaken(SqliteJournal):
        async def write(self, record):
            if record.phase is Phase.SETTLED and record.paid is not None:
                await shop.settler().settle(case)
            return await super().write(record)

    progress = await shop.settler(Overtaken(shop.journal_file)).settle(case)
    assert (progress.retry_after_seconds, progress.record.outcome) == (None, Outcome.PAID)
    assert (progress.record.paid, progress.record.fee) == (Usdc.parse("0.099"), Usdc.parse("0.001"))
    assert await shop.journal.load(case.key) == progress.record
    check_against_books(shop, case, progress.record)


@every_dialect
async def test_failed_work_is_disputed_or_where_there_is_no_dispute_cancelled(shop):
    case = await shop.case(succeeded=False)
    record = await shop.until_closed(case)
    expected = Outcome.CANCELLED if shop.dialect == "fly" else Outcome.DISPUTED
    assert (record.phase, record.outcome) == (Phase.SETTLED, expected)
    check_against_books(shop, case, record)


async def test_the_payees_word_that_the_work_is_done_moves_no_money(shop):
    case = await shop.case(intent=Intent.COMPLETE)
    payee = shop.client_of(shop.payee_key)
    async with payee:
        record = await shop.until_closed(case, shop.settler(client=payee))
    assert (record.phase, record.outcome) == (Phase.SETTLED, Outcome.COMPLETED)
    check_against_books(shop, case, record)
    paid = await shop.until_closed(replace(case, key="payer's side", intent=Intent.RELEASE))
    assert paid.outcome is Outcome.PAID


@every_dialect
async def test_a_settled_case_sends_nothing_again(shop):
    case = await shop.case()
    settled = await shop.until_closed(case)
    shop.sandbox.fault("*", "status", status=500, dialect=shop.dialect)
    assert (await shop.settler().settle(case)).record == settled


@pytest.mark.parametrize("shop", ["server"], indirect=True)
@pytest.mark.parametrize(("act", "outcome"), [("release", Outcome.PAID), ("dispute", Outcome.DISPUTED)])
async def test_what_somebody_else_did_is_recorded_as_what_it_is(shop, act, outcome):
    for intent in (Intent.RELEASE, Intent.DISPUTE):
        case = await shop.case(intent=intent)
        await (shop.client.release(case.escrow_id) if act == "release" else shop.client.dispute(case.escrow_id, "mine"))
        record = await shop.until_closed(case)
        assert (record.phase, record.outcome, record.drift, record.attempts) == (Phase.SETTLED, outcome, True, 0)
        check_against_books(shop, case, record)


async def test_a_refund_at_the_time_out_is_recorded_and_pays_nobody(tmp_path):
    with running_sandbox() as own:  # its clock is moved
        shop = Shop(own, "server", tmp_path / "journal.db")
        case = await shop.case()
        own.advance(hours=25)
        record = await shop.until_closed(case)
        assert (record.phase, record.outcome, record.drift) == (Phase.SETTLED, Outcome.REFUNDED, True)
        check_against_books(shop, case, record)
        await shop.close()


@pytest.mark.parametrize("later", [None, 409])
async def test_a_refund_after_a_release_of_unknown_outcome_is_for_a_person(tmp_path, later):
    with running_sandbox() as own:
        shop = Shop(own, "server", tmp_path / "journal.db")
        case = await shop.case()
        shop.fault("release", "reset", moment="before", nth=1)
        shop.fault("release", "status", status=409, body={"error": "invalid_status"}, nth=2)
        for _ in range(2 if later else 1):
            await shop.settler().settle(case)
        own.advance(hours=25)
        record = await shop.until_closed(case)
        assert (record.phase, record.answer.kind, record.answer.status) == (
            Phase.NEEDS_REVIEW,
            ActResult.UNKNOWN,
            later,
        )
        assert "refunded" in record.evidence
        await shop.close()


@readable
@pytest.mark.parametrize("wrong", [{"locked": Usdc.parse("0.11")}, {"payee": "ag_somebody_else"}])
async def test_an_escrow_that_is_not_the_agreed_one_is_not_touched(shop, wrong):
    case = replace(await shop.case(), **wrong)
    record = await shop.until_closed(case)
    assert (record.phase, record.attempts) == (Phase.NEEDS_REVIEW, 0)
    assert "was agreed" in record.evidence
    assert shop.paid(case) == []


@every_dialect
async def test_an_escrow_that_nobody_knows_is_for_a_person(shop):
    case = replace(await shop.case(), escrow_id="esc_nobody_knows")
    record = await shop.until_closed(case)
    assert (record.phase, record.attempts) == (Phase.NEEDS_REVIEW, 0 if shop.dialect in READABLE else 1)
    assert record.remedy


async def test_somebody_elses_escrow_is_refused_and_for_a_person(shop, tmp_path):
    case = await shop.case()
    stranger = Shop(shop.sandbox, "server", tmp_path / "stranger.db")
    record = await stranger.until_closed(case)
    assert (record.phase, record.answer.kind, record.answer.status) == (Phase.NEEDS_REVIEW, ActResult.REFUSED, 403)
    assert shop.paid(case) == []
    await stranger.close()


async def test_an_intent_stays_whatever_is_asked_later(shop):
    case = await shop.case()
    await shop.until_closed(case)
    with pytest.raises(CaseMismatch, match="intent is release"):
        await shop.settler().settle(replace(case, intent=Intent.DISPUTE))
    assert shop.escrow(case)["status"] == "released"


@readable
async def test_a_key_that_expired_waits_for_a_new_one_instead_of_a_person(shop):
    case = await shop.case()
    async with shop.client_of("sk_expired") as expired:
        progress = await shop.settler(client=expired).settle(case)
    assert progress.retry_after_seconds
    assert (await shop.until_closed(case)).outcome is Outcome.PAID


@every_dialect
@pytest.mark.parametrize("one_journal", [True, False])
async def test_ten_settlers_at_once_pay_once(shop, one_journal, tmp_path):
    case = await shop.case()
    journals = [SqliteJournal(shop.journal_file if one_journal else tmp_path / f"{n}.db") for n in range(10)]
    records = await asyncio.gather(
        *(shop.until_closed(case, shop.settler(journal), jump=False) for journal in journals)
    )
    assert len(shop.paid(case)) == 1
    phases = {record.phase for record in records}
    if one_journal:
        unpaid = {"paid": None, "fee": None, "referral": None, "version": ""}  # whoever was told adds them afterwards
        assert len({replace(record, **unpaid) for record in records}) == 1
        assert {record.outcome for record in records} == {Outcome.PAID}
        assert (await shop.journal.load(case.key)).paid == Usdc.parse("0.099")
    elif shop.dialect in READABLE:
        assert {record.outcome for record in records} == {Outcome.PAID}
        assert [record.drift for record in records].count(False) == 1
    else:  # nine saw a 409 that nothing can explain there
        assert phases == {Phase.SETTLED, Phase.NEEDS_REVIEW}
    for journal in journals:
        journal.close()


@every_dialect
async def test_an_act_that_another_settler_has_under_way_is_not_sent_again(shop):
    """Both read `locked`: the first act has not arrived yet when the second settler looks."""
    case, sending = await shop.case(), asyncio.Event()
    shop.fault("release", "delay", moment="before", seconds=0.3)

    def observe(step: Step, _record: Settlement) -> None:
        if step is Step.SENDING:
            sending.set()

    first = asyncio.create_task(shop.settler(observe=observe).settle(case))
    await sending.wait()
    second = await shop.settler().settle(case)
    assert second.retry_after_seconds is not None
    assert second.record.attempts == 1
    assert (await first).record.outcome is Outcome.PAID
    assert [call.act for call in shop.sandbox.received if call.subject == case.escrow_id] == ["release"]


async def test_the_steps_come_in_order_and_each_once(shop):
    steps = []
    await shop.settler(observe=lambda step, record: steps.append((step, record.phase))).settle(await shop.case())
    assert [step for step, _ in steps] == list(Step)
    assert [phase for _, phase in steps] == [Phase.DECIDED] * 2 + [Phase.VERIFYING] * 3 + [Phase.SETTLED]


@pytest.mark.parametrize("shop", ["kubernetes"], indirect=True)
async def test_readers_of_the_same_list_share_it_and_one_that_comes_later_gets_a_later_one(shop):
    case = await shop.case()
    record = Settlement.decided(case, shop.now())
    counter = shop.sandbox.service.requests.labels("kubernetes", "list", 200)
    before = counter._value.get()
    reader = Reader(shop.client)
    observations = await asyncio.gather(*(reader.read(record) for _ in range(40)))
    assert {sight.seen for sight in observations} == {Seen.LOCKED}
    assert counter._value.get() - before <= 2
    await shop.client.release(case.escrow_id)
    assert (await reader.read(record)).seen is Seen.RELEASED


class NotingLists(PaymentsClient):
    """Notes which lists it was asked for."""

    def list_escrows(self, status=EscrowStatus.LOCKED, among=None):
        self.asked = [*getattr(self, "asked", []), status]
        return super().list_escrows(status, among)


@pytest.mark.parametrize("shop", ["kubernetes"], indirect=True)
async def test_a_plain_yes_is_verified_in_the_list_of_open_escrows_and_not_in_those_that_grow_for_ever(shop):
    key = Credentials(shop.payer_key)
    async with NotingLists("kubernetes", shop.sandbox.url, key, tls=TLS, timeouts=PATIENT, allow_http=True) as client:
        record = await shop.until_closed(await shop.case(), shop.settler(client=client))
        assert (record.outcome, record.drift) == (Outcome.PAID, False)
        assert client.asked == [EscrowStatus.LOCKED] * 2


@readable
async def test_an_intent_is_on_record_before_a_service_that_takes_its_time_has_answered(shop):
    """A prompt answer spares that write; a slow one must not keep the intent from being durable."""
    case = await shop.case()
    shop.policy = Policy(prompt=timedelta(0))
    written = []

    class Noting(SqliteJournal):
        async def write(self, record):
            written.append((record.phase, record.attempts))
            return await super().write(record)

    journal = Noting(shop.journal_file)
    shop.fault("read" if shop.dialect == "server" else "list", "delay", seconds=0.05, times=1)
    await shop.until_closed(case, shop.settler(journal))
    journal.close()
    assert written == [(Phase.DECIDED, 0), (Phase.VERIFYING, 1), (Phase.SETTLED, 1)]
