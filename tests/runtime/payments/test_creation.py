"""One escrow for one piece of business, whatever happens to the create."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runtime.errors import BadInput, Rejected, Retryable, Unreachable
from runtime.money import Usdc
from runtime.payments import Created, EscrowRequest, NeedsReview, create_once, escrow_token
from runtime.payments.creation import GRACE, LISTED, MOST_ATTEMPTS, NotCreatedError
from tests.runtime.payments.scripted_server import Reply

pytestmark = pytest.mark.anyio
ORDER = EscrowRequest(payee="ag_payee", amount=Usdc.parse("0.10"), token=escrow_token("uid-1"))
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOST = Reply(500, {"error": "internal_error"})


class MemoryJournal:
    """A journal that also remembers in which order things were written."""

    def __init__(self):
        self.intents = {}
        self.history = []

    async def read(self, token):
        return self.intents.get(token)

    async def write(self, intent):
        self.intents[intent.token] = intent
        self.history.append(intent)

    async def clear(self, token):
        del self.intents[token]
        self.history.append(None)


class Service:
    """An escrow service of the `kubernetes` dialect that keeps what it creates and loses the answers it is told to."""

    def __init__(self, server, journal):
        self.escrows = []
        self.creates = 0
        self.answers = []
        self.shows_tokens = True
        self.journal = journal
        server.script = self.answer

    def answer(self, request):
        if request.method == "GET":
            return Reply(200, {"escrows": self.escrows if request.target.endswith("pending") else []})
        self.creates += 1
        assert self.journal.intents[ORDER.token].escrow_id is None, "the intent is durable before anything is sent"
        kept, reply = self.answers.pop(0) if self.answers else (True, None)
        body = request.json()
        created = {"escrow_id": f"esc_{self.creates}", "created_at": 1795302000, "status": "pending", **body}
        if kept:
            self.escrows.append(
                created if self.shows_tokens else {k: v for k, v in created.items() if k != "terms_hash"}
            )
        return reply or Reply(201, created)


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
def service(server, journal):
    return Service(server, journal)


@pytest.fixture
def create(service, journal, client_of):
    client = client_of("kubernetes")

    async def run(order=ORDER, now=NOON, **how):
        return await create_once(client, journal, order, lambda: now, **how)

    return run


async def test_an_escrow_is_created_and_bound(create, service, journal):
    created = await create()
    assert isinstance(created, Created)
    assert (created.escrow_id, service.creates) == ("esc_1", 1)
    assert [i.escrow_id for i in journal.history] == [None, "esc_1"]


async def test_again_returns_the_same_and_sends_nothing(create, service):
    await create()
    assert await create() == Created(escrow_id="esc_1")
    assert service.creates == 1


@pytest.mark.parametrize("reply", [LOST, Reply(201, {"escrow_id": "esc_1"}, cut=-3), Reply(200, b"")], ids=str)
async def test_a_lost_answer_is_found_by_its_token(reply, create, service):
    service.answers = [(True, reply)]
    created = await create()
    assert isinstance(created, Created)
    assert (created.escrow_id, service.creates) == ("esc_1", 1)


async def test_what_nobody_wants_any_more_is_found_and_not_created_again(create, service, journal):
    service.answers = [(False, LOST)]
    with pytest.raises(Retryable):
        await create()
    with pytest.raises(Retryable):
        await create(again=False)  # it may still be on its way
    with pytest.raises(NotCreatedError):
        await create(now=NOON + GRACE, again=False)
    assert (service.creates, journal.intents) == (1, {})
    service.answers = [(True, LOST)]
    assert isinstance(await create(), Created)
    assert await create(now=NOON + GRACE, again=False) == Created(escrow_id="esc_2")


async def test_its_age_is_told_by_the_services_clock(service, server, client_of):
    client = client_of("kubernetes")
    assert abs(client.now() - datetime.now(UTC)) < timedelta(minutes=1)
    server.script = lambda request: Reply(200, {"escrows": []}, {"Date": "Sat, 21 Nov 2026 12:00:00 GMT"})
    await client.ask_time()
    assert abs(client.now() - NOON) < timedelta(minutes=1)


async def test_after_a_crash_between_intent_and_answer_the_escrow_is_found(create, service, journal):
    service.answers = [(True, None)]
    await create()
    first = journal.history[0]
    journal.intents[ORDER.token] = first  # what a crash right after sending leaves behind
    created = await create(now=NOON + timedelta(days=1))
    assert isinstance(created, Created)
    assert (created.escrow_id, service.creates) == ("esc_1", 1)


async def test_what_may_still_be_on_its_way_is_waited_for(create, service):
    service.answers = [(False, LOST)]
    for waited in (timedelta(0), timedelta(seconds=30)):
        with pytest.raises(Retryable) as caught:
            await create(now=NOON + waited)
        assert caught.value.delay_seconds == (GRACE - waited).total_seconds()
    assert service.creates == 1


async def test_a_create_that_never_took_effect_is_sent_again_after_the_grace(create, service):
    service.answers = [(False, LOST)]
    with pytest.raises(Retryable):
        await create()
    created = await create(now=NOON + GRACE)
    assert isinstance(created, Created)
    assert (created.escrow_id, service.creates) == ("esc_2", 2)


async def test_what_is_not_there_after_a_day_may_have_come_and_gone(create, service):
    service.answers = [(True, LOST)]
    service.escrows = []
    await create()
    service.escrows.clear()  # the time-out has refunded it
    service.journal.intents[ORDER.token] = service.journal.history[0]
    assert isinstance(await create(now=NOON + LISTED + timedelta(seconds=1)), NeedsReview)
    assert service.creates == 1


async def test_it_gives_up_after_a_few_lost_creates(create, service):
    service.answers = [(False, LOST)] * MOST_ATTEMPTS
    for attempt in range(MOST_ATTEMPTS):
        with pytest.raises(Retryable):
            await create(now=NOON + attempt * GRACE)
    result = await create(now=NOON + MOST_ATTEMPTS * GRACE)
    assert isinstance(result, NeedsReview)
    assert service.creates == MOST_ATTEMPTS


async def test_where_it_cannot_be_looked_for_a_person_gets_the_token(create, service):
    service.shows_tokens = False
    service.answers = [(True, LOST)]
    result = await create()
    assert isinstance(result, NeedsReview)
    assert result.token == ORDER.token
    assert isinstance(await create(now=NOON + 10 * GRACE), NeedsReview)
    assert service.creates == 1


async def test_in_fly_a_lost_create_is_for_a_person(client_of, server, journal):
    server.replies(LOST)
    result = await create_once(client_of("fly"), journal, replace(ORDER, payer="0xPayer"))
    assert isinstance(result, NeedsReview)
    assert len(server.received) == 1


async def test_a_refusal_leaves_no_trace(create, service, journal):
    service.answers = [(False, Reply(402, {"error": "insufficient_balance"}))]
    with pytest.raises(Rejected):
        await create()
    assert journal.intents == {}
    created = await create()
    assert isinstance(created, Created)


async def test_no_connection_leaves_no_trace(client_of, journal, unused_url):
    with pytest.raises(Unreachable):
        await create_once(client_of("kubernetes", url=unused_url), journal, ORDER)
    assert journal.intents == {}


async def test_a_refusal_of_a_second_create_does_not_forget_the_first(create, service, journal):
    service.answers = [(False, LOST)] + [(False, Reply(402, {"error": "insufficient_balance"}))] * 5
    with pytest.raises(Retryable):
        await create()
    for later in range(1, 6):  # a refusal is no attempt: waiting for funds may take as long as it likes
        with pytest.raises(Rejected):
            await create(now=NOON + later * GRACE)
        assert journal.intents[ORDER.token].attempts == 1
    created = await create(now=NOON + 6 * GRACE)
    assert isinstance(created, Created)


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (Reply(403, {"error": "forbidden"}), NeedsReview),
        (Reply(404, {"error": "not_found"}), NeedsReview),
        (Reply(308, {}), NeedsReview),
        (Reply(409, {"error": "odd"}), NeedsReview),
        (Reply(200, {"escrows": [{"escrow_id": "esc_1", "status": "on_hold"}]}), NeedsReview),
        (Reply(401, {"error": "unauthorized"}), Retryable),
        (Reply(503, {}), Retryable),
    ],
    ids=str,
)
async def test_a_look_that_fails_never_says_that_nothing_was_created(reply, result, server, client_of, journal):
    """`Final` from here would tell the caller that no money is locked."""
    server.script = lambda request: LOST if request.method == "POST" else reply
    client = client_of("kubernetes")
    if result is NeedsReview:
        assert isinstance(await create_once(client, journal, ORDER), NeedsReview)
    else:
        with pytest.raises(Retryable):
            await create_once(client, journal, ORDER)
    assert journal.intents[ORDER.token].escrow_id is None
    assert [r.method for r in server.received].count("POST") == 1


async def test_an_answer_about_another_escrow_is_for_a_person(server, client_of, journal):
    """Money is locked there, under a token that is not ours: looking for ours would find nothing and lock more."""
    server.replies(Reply(201, {"escrow_id": "esc_9", "terms_hash": "another-token"}))
    result = await create_once(client_of("kubernetes"), journal, ORDER)
    assert isinstance(result, NeedsReview)
    assert "esc_9" in result.reason
    assert len(server.received) == 1


async def test_two_escrows_with_the_token_are_for_a_person(create, service, journal):
    service.answers = [(True, LOST)]
    service.escrows = [{"escrow_id": "esc_0", "terms_hash": ORDER.token}]
    result = await create()
    assert isinstance(result, NeedsReview)
    assert "esc_0, esc_1" in result.reason


@pytest.mark.parametrize("change", [{"amount": 0.2}, {"payee_id": "ag_other"}], ids=str)
async def test_an_escrow_with_the_token_but_other_terms_is_for_a_person(change, create, service):
    service.answers = [(False, LOST)]
    service.escrows = [
        {"escrow_id": "esc_0", "terms_hash": ORDER.token, "amount": 0.1, "payee_id": "ag_payee"} | change
    ]
    result = await create()
    assert isinstance(result, NeedsReview)
    assert "esc_0" in result.reason


@pytest.mark.parametrize("change", [{"amount": Usdc.parse("0.20")}, {"payee": "ag_other"}], ids=str)
async def test_a_token_used_for_another_payment_is_a_bug_and_says_so(change, create, service):
    await create()
    with pytest.raises(BadInput, match="another request"):
        await create(replace(ORDER, **change))
    assert service.creates == 1
