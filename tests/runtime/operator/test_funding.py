"""A Job that asks for its escrow gets one, once, within the budget, and only then runs."""

import json
import uuid
from urllib.parse import urlsplit

import pytest

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION, Env
from runtime.kubernetes.new_escrow import new_escrow
from runtime.money import Usdc
from tests.runtime.operator.world import PAYEE, Escrow
from tests.toolchain.faulty_link import FaultyLink


def request(amount: str | None = "0.50", payee: str = PAYEE) -> str:
    return json.dumps({"payee": payee} | ({"amountUsdc": amount} if amount else {}))


def asks(world, name: str, **terms: str | None):
    return world.job(name, request=request(**terms), suspend=True)


@pytest.mark.parametrize("world", ["server", "kubernetes", "fly"], indirect=True)
def test_a_suspended_job_is_funded_resumed_and_paid(world):
    world.operator(AGENT_ID="payer-agent")
    asks(world, "translate")
    status = world.await_phase("translate", "Funded")["status"]
    assert (status["lockedUsdc"], status["payee"]) == ("0.50", PAYEE)
    world.await_resumed("translate")
    escrow_id = world.get_job("translate").metadata.annotations[ESCROW_ID_ANNOTATION]
    assert world.payments() == {escrow_id: world.payments()[escrow_id]}, "one escrow, no more"
    world.finish("translate")
    assert world.await_phase("translate", "Settled")["status"]["outcome"] == "Paid"
    assert world.payments() == {escrow_id: "released"}


def test_nothing_is_locked_for_a_job_that_is_gone(world):
    """Its Escrow is there, by a crash between the two or by somebody's hand, and no Job."""
    wanted = new_escrow(
        world.namespace,
        "ghost",
        str(uuid.uuid4()),
        dialect="server",
        token="token-of-a-ghost",
        escrow_id=None,
        payee=PAYEE,
        amount=Usdc.parse("5.00"),
    )
    world.client.create(Escrow.from_dict(wanted))
    world.operator()
    assert world.await_phase("ghost", "Settled")["status"]["outcome"] == "Cancelled"
    assert not world.payments()


def test_the_default_budget_is_locked_where_no_amount_is_named(world):
    world.operator(PF_DEFAULT_BUDGET_USDC="0.25")
    asks(world, "frugal", amount=None)
    assert world.await_phase("frugal", "Funded")["status"]["lockedUsdc"] == "0.25"


def test_without_funds_it_waits_says_so_and_goes_on_by_itself(world):
    world.operator()
    asks(world, "rich", amount="250.00")
    escrow = world.eventually(lambda: _waiting(world, "rich"), "it waits")
    assert escrow["status"]["conditions"][0]["reason"] == "InsufficientBalance"
    assert world.get_job("rich").spec.suspend
    assert len(world.await_event("rich", "InsufficientBalance")) == 1
    world.sandbox.deposit("payer-agent", "500.00")
    job = world.get_job("rich")
    world.client.patch(type(job), "rich", {"metadata": {"labels": {"poke": "1"}}})
    world.await_phase("rich", "Funded", seconds=70)


def _waiting(world, job: str):
    escrow = world.escrow(job)
    return escrow if escrow and escrow.get("status", {}).get("conditions") else None


def test_the_namespace_budget_bounds_what_is_locked_at_one_time(world):
    world.operator(PF_NAMESPACE_BUDGET_USDC="1.00")
    asks(world, "one", amount="0.60")
    world.await_phase("one", "Funded")
    asks(world, "two", amount="0.60")
    escrow = world.eventually(lambda: _waiting(world, "two"), "the second waits")
    assert escrow["status"]["conditions"][0]["reason"] == "OverBudget"
    assert len(world.payments()) == 1, "nothing was sent for it"
    world.finish("one")
    world.await_phase("one", "Settled")
    world.client.patch(type(world.get_job("two")), "two", {"metadata": {"labels": {"poke": "1"}}})
    world.await_phase("two", "Funded", seconds=70)


def test_the_daily_budget_counts_what_is_settled_too(world):
    world.operator(PF_NAMESPACE_DAILY_BUDGET_USDC="1.00")
    asks(world, "one", amount="0.60")
    world.await_phase("one", "Funded")
    world.finish("one")
    world.await_phase("one", "Settled")
    asks(world, "two", amount="0.60")
    escrow = world.eventually(lambda: _waiting(world, "two"), "the second waits")
    assert "a day" in escrow["status"]["conditions"][0]["message"]


@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_an_escrow_whose_create_was_answered_by_nothing_is_found_again(world):
    """By its token: `kubernetes` lists the escrows, and `server` the payer's ledger. A second create never happens."""
    world.operator()
    world.sandbox.fault("create", "reset", moment="after", nth=1)
    asks(world, "lost")
    world.await_phase("lost", "Funded")
    assert len(world.payments()) == 1


def test_a_service_that_is_just_starting_is_asked_again_soon(world):
    """It used to be asked once a minute from the first time on."""
    with FaultyLink("127.0.0.1", urlsplit(world.sandbox.url).port) as link:
        world.operator(**{Env.RESYNC_SECONDS: "600", Env.ESCROW_URL: link.url()})
        with link.cut():
            asks(world, "early")
            escrow = world.eventually(lambda: _waiting(world, "early"), "it waits")
            assert escrow["status"]["conditions"][0]["reason"] == "PaymentServiceUnavailable"
        world.await_phase("early", "Funded")


def test_where_nobody_can_look_a_lost_create_is_for_a_person(world):
    world.operator(PF_CASINO_URL="")
    world.sandbox.fault("create", "reset", moment="after", nth=1)
    asks(world, "lost")
    escrow = world.await_phase("lost", "NeedsReview")
    assert escrow["spec"]["token"] in escrow["status"]["remedy"]
    assert len(world.payments()) == 1, "it was sent once"
    assert world.get_job("lost").spec.suspend, "and the Job does not run unpaid"


@pytest.mark.parametrize(
    "annotation",
    [
        "{",
        "[]",
        '{"payee": ""}',
        '{"payee": "a", "amountUsdc": 0.5}',
        '{"payee": "a", "amountUsdc": "0.1234567"}',
        '{"payee": "a", "amountUsdc": "0"}',
        '{"payee": "a", "amountUsdc": "0.09"}',
        '{"pay": "a"}',
    ],
)
def test_a_malformed_request_is_for_a_person(world, annotation):
    world.operator()
    world.job("crooked", request=annotation, suspend=True)
    status = world.await_phase("crooked", "NeedsReview")["status"]
    assert ESCROW_REQUEST_ANNOTATION in status["evidence"]
    assert world.payments() == {}


def test_a_request_that_is_withdrawn_before_it_was_funded_locks_nothing(world):
    world.operator(PF_NAMESPACE_BUDGET_USDC="0.10")
    job = asks(world, "withdrawn")
    world.eventually(lambda: _waiting(world, "withdrawn"), "it waits")
    world.client.delete(type(job), "withdrawn")
    status = world.await_phase("withdrawn", "Settled")["status"]
    assert (status["outcome"], "lockedUsdc" in status) == ("Cancelled", False)
    world.await_gone("withdrawn")
    assert world.payments() == {}
