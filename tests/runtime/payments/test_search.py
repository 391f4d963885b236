"""A create whose answer was lost, in the dialect without a list: the payer's own ledger tells what became of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runtime.errors import Retryable
from runtime.money import Usdc
from runtime.payments import Created, Credentials, EscrowRequest, NeedsReview, PaymentsClient, create_once, escrow_token
from runtime.payments.creation import GRACE
from tests.runtime.payments.test_creation import MemoryJournal

pytestmark = pytest.mark.anyio
ORDER = EscrowRequest(payee="payee", amount=Usdc.parse("0.10"), token=escrow_token("uid-1"), description="Scrape")
LOST = {"kind": "reset", "moment": "after"}
NEVER_CAME = {"kind": "reset", "moment": "before"}


@pytest.fixture
def lose(sandbox):
    """The sandbox loses the answer to the next create, or the create itself."""
    sandbox.issue_key("payee")
    return lambda how: sandbox.fault("create", times=1, **how)


@pytest.fixture
async def client(sandbox):
    key = sandbox.issue_key("payer")
    sandbox.deposit("payer", "50.00")
    made = PaymentsClient("server", sandbox.url, Credentials(key), casino_url=sandbox.url, allow_http=True)
    async with made:
        yield made


@pytest.fixture
def create(client):
    """`create_once` for the order, so long from now."""
    journal = MemoryJournal()

    async def run(later=timedelta(0), order=ORDER):
        return await create_once(client, journal, order, lambda: datetime.now(UTC) + later)

    return run


def amounts(sandbox):
    return [escrow["locked_usdc"] for escrow in sandbox.statement()["escrows"]]


async def test_an_escrow_whose_answer_was_lost_is_found_and_not_made_twice(sandbox, lose, create):
    lose(LOST)
    created = await create()
    assert isinstance(created, Created)
    assert amounts(sandbox) == ["0.10"]


async def test_one_that_never_came_is_sent_again_once_that_is_sure(sandbox, lose, create):
    lose(NEVER_CAME)
    with pytest.raises(Retryable, match="no escrow carries"):
        await create()
    assert amounts(sandbox) == []
    assert isinstance(await create(GRACE + timedelta(seconds=1)), Created)
    assert amounts(sandbox) == ["0.10"]


async def test_other_work_of_the_same_payer_is_not_taken_for_it(sandbox, lose, client, create):
    for number in range(3):
        await client.create_escrow(replace(ORDER, token=escrow_token(f"other-{number}")))
    lose(LOST)
    created = await create()
    found = await client.read_escrow(created.escrow_id)
    assert found.token == ORDER.token
    assert len(amounts(sandbox)) == 4


async def test_what_the_ledger_no_longer_shows_is_for_a_person(sandbox, lose, client, create):
    """It shows the newest fifty entries: that ours is not among them does not mean that it was not made."""
    lose(NEVER_CAME)
    for _ in range(50):
        sandbox.deposit("payer", "0.01")
    review = await create()
    assert isinstance(review, NeedsReview)
    assert "the payer's ledger shows nothing before" in review.reason
    assert amounts(sandbox) == []


async def test_without_the_ledgers_address_it_is_for_a_person_who_is_told_of_it(sandbox, lose):
    lose(LOST)
    async with PaymentsClient(
        "server", sandbox.url, Credentials(sandbox.issue_key("payer")), allow_http=True
    ) as client:
        sandbox.deposit("payer", "1.00")
        review = await create_once(client, MemoryJournal(), ORDER)
    assert isinstance(review, NeedsReview)
    assert "no ledger of the payer: no URL of the casino service is set" in review.reason
    assert amounts(sandbox) == ["0.10"]


async def test_a_debit_for_an_escrow_that_the_service_does_not_know_is_for_a_person(sandbox, lose, create):
    """The published server takes the money first and writes the escrow second: one that dies between leaves this."""
    lose(LOST)
    sandbox.fault("read", "status", status=404, body={"error": "not_found"}, times=2)  # the list, then it
    review = await create()
    assert isinstance(review, NeedsReview)
    assert "which the service does not know" in review.reason
