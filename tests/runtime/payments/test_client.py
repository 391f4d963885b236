"""The client against a server that answers as the facts say, and slightly otherwise."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runtime.errors import BadInput, Contradiction, OutcomeUnknown, Problem, Unavailable, Unsupported
from runtime.money import Usdc
from runtime.payments import (
    Credentials,
    Escrow,
    EscrowRequest,
    EscrowStatus,
    Limits,
    Operation,
    PaymentsClient,
    escrow_token,
)
from runtime.payments.client import MOST_PAGES
from runtime.payments.model import checked_escrow_id
from runtime.payments.search import find_escrow
from tests.runtime.payments.conftest import KEY
from tests.runtime.payments.scripted_server import Reply

pytestmark = pytest.mark.anyio
ORDER = EscrowRequest(payee="ag_payee", amount=Usdc.parse("0.10"), token=escrow_token("uid-1"), description="Scrape")
CREATED = {"escrow_id": "esc_1", "amount_usd": 0.1, "status": "funded", "counterparty_id": "ag_payee"}
RELEASED = {"escrow_id": "esc_1", "status": "released", "amount_released": 0.099}


def entry(number, **more):
    return {"escrow_id": f"esc_{number}", "created_at": 1795302000, "status": "pending"} | more


async def listed(client, status=EscrowStatus.LOCKED):
    return [escrow.id async for escrow in client.list_escrows(status)]


async def test_create_sends_exact_amount_key_and_token_and_reads_the_escrow(server, client_of):
    server.replies(Reply(201, CREATED))
    escrow = await client_of().create_escrow(ORDER)
    (request,) = server.received
    assert request.body == (
        f'{{"amount_usd": 0.1, "description": "Scrape [{ORDER.token}]", "counterparty_agent_id": "ag_payee"}}'.encode()
    )
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (escrow.id, escrow.status, escrow.amount) == ("esc_1", EscrowStatus.LOCKED, ORDER.amount)


async def test_one_connection_serves_many_reads(server, client_of):
    server.replies(Reply(200, CREATED))
    client = client_of()
    for _ in range(3):
        await client.read_escrow("esc_1")
    assert (len(server.received), server.connections) == (3, 1)


async def test_each_act_has_a_connection_of_its_own(server, client_of):
    server.replies(Reply(200, RELEASED))
    client = client_of()
    for _ in range(3):
        await client.release("esc_1", ORDER.amount)
    assert (len(server.received), server.connections) == (3, 3)


async def test_an_answer_sent_twice_is_not_taken_for_the_next_creates(sandbox):
    """The `fly` answer names nothing that it could be held against, so the connection must not be shared."""
    key = sandbox.issue_key("0xpayer")
    sandbox.deposit("0xpayer", "5.00")
    sandbox.fault("create", "duplicate", moment="after", nth=1)
    async with PaymentsClient("fly", sandbox.url, Credentials(key), allow_http=True) as client:
        orders = [replace(ORDER, payer="0xpayer", token=f"pf-token-{n}") for n in range(3)]
        ids = [(await client.create_escrow(order)).id for order in orders]
    assert len(set(ids)) == 3


async def test_a_read_tells_every_field(server, client_of):
    told = CREATED | {
        "status": "completed",
        "creator_id": "ag_payer",
        "commission_usd": 0.001,
        "description": "Scrape [pf-0123456789abcdef]",
        "created_at": "2026-11-21T23:00:00.000Z",
        "auto_release_at": "2026-11-22T23:00:00.000Z",
    }
    server.replies(Reply(200, told, {"Date": "Sat, 21 Nov 2026 23:30:00 GMT"}))
    escrow = await client_of().read_escrow("esc_1")
    assert escrow == Escrow(
        id="esc_1",
        status=EscrowStatus.COMPLETED,
        amount=Usdc.parse("0.10"),
        fee=Usdc.parse("0.001"),
        payee="ag_payee",
        payer="ag_payer",
        created_at=datetime(2026, 11, 21, 23, tzinfo=UTC),
        auto_release_at=datetime(2026, 11, 22, 23, tzinfo=UTC),
        token="pf-0123456789abcdef",
        participant=False,  # who takes part is told of its events
        server_time=datetime(2026, 11, 21, 23, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", EscrowStatus.LOCKED),
        ("funded", EscrowStatus.LOCKED),
        ("locked", EscrowStatus.LOCKED),
        ("completed", EscrowStatus.COMPLETED),
        ("released", EscrowStatus.RELEASED),
        ("disputed", EscrowStatus.DISPUTED),
        ("refunded", EscrowStatus.REFUNDED),
        ("cancelled", EscrowStatus.CANCELLED),
        ("auto_released", EscrowStatus.AUTO_RELEASED),
    ],
)
async def test_every_known_status_word(word, status, server, client_of):
    server.replies(Reply(200, CREATED | {"status": word}))
    assert (await client_of().read_escrow("esc_1")).status is status


@pytest.mark.parametrize("amount_released", [0.099, 0.1, "0.099", 0.099001])
async def test_a_release_may_name_net_or_gross_to_one_micro(amount_released, server, client_of):
    server.replies(Reply(200, RELEASED | {"amount_released": amount_released}))
    receipt = await client_of("kubernetes").release("esc_1", ORDER.amount)
    assert receipt.amount == Usdc.parse(str(amount_released))


def paged(entries, most=100):
    def page(request):
        query = dict(part.split("=") for part in request.target.partition("?")[2].split("&"))
        assert query["status"] == "locked"
        offset = int(query["offset"])
        return Reply(200, {"escrows": entries[offset : offset + min(most, int(query["limit"]))]})

    return page


@pytest.mark.parametrize("most", [100, 60])
@pytest.mark.parametrize("count", [0, 99, 100, 250])
async def test_pages_are_read_to_the_end_before_anything_is_handed_out(count, most, server, client_of):
    entries = [entry(n, status="funded") for n in range(count)]
    server.script = paged(entries, most)
    ids, seen = [], set()
    async for escrow in client_of().list_escrows(EscrowStatus.LOCKED):
        seen.add(len(server.received))
        ids.append(escrow.id)
    assert ids == [e["escrow_id"] for e in entries]
    assert seen <= {len(server.received)}


async def test_of_a_list_only_the_escrows_asked_for_are_read_closely(server, client_of):
    """Somebody else's malformed entry is then nobody's business, and a long list costs a tenth."""
    server.replies(Reply(200, {"escrows": [entry(1), entry(2, amount="much"), entry(3)]}))
    found = client_of("kubernetes").list_escrows(EscrowStatus.LOCKED, among={"esc_3", "esc_4"})
    assert [escrow.id async for escrow in found] == ["esc_3"]
    with pytest.raises(Contradiction):
        await listed(client_of("kubernetes"))


@pytest.mark.parametrize("dialect", ["kubernetes", "server"])
async def test_folded_is_only_a_list_that_did_not_change_while_it_was_read(dialect, server, client_of):
    entries = [entry(n, status="funded") for n in range(120)]
    seen = []
    if dialect == "server":
        server.script = paged(entries)
        await client_of().fold_escrows(lambda escrow: seen.append(escrow.id))
        assert seen == [e["escrow_id"] for e in entries]
        pages = [entries[:100], entries[99:], []]  # one was added in front of the second page
        server.script = lambda _: Reply(200, {"escrows": pages.pop(0)})
    else:
        server.replies(Reply(200, {"escrows": [entry(1), entry(2), entry(1)]}))
    with pytest.raises(Contradiction, match="twice"):
        await client_of(dialect).fold_escrows(lambda _: None)


async def test_a_full_page_that_comes_again_may_hide_more(server, client_of):
    server.replies(Reply(200, {"escrows": [entry(n, status="funded") for n in range(100)]}))
    with pytest.raises(Contradiction):
        await listed(client_of())
    assert len(server.received) == 2


async def test_a_short_page_that_comes_again_is_all_there_is(server, client_of):
    server.replies(Reply(200, {"escrows": [entry(n, status="funded") for n in range(3)]}))
    assert len(await listed(client_of())) == 3


async def test_a_list_without_end_is_not_read_for_ever(server, client_of):
    server.script = lambda r: Reply(200, {"escrows": [entry(len(server.received), status="funded")]})
    with pytest.raises(Contradiction, match="pages"):
        await listed(client_of())
    assert len(server.received) == MOST_PAGES


async def test_a_list_without_pages_is_asked_once(server, client_of):
    server.replies(Reply(200, {"escrows": [entry(n) for n in range(250)]}))
    assert len(await listed(client_of("kubernetes"))) == 250
    assert [r.target for r in server.received] == ["/api/escrows?status=pending"]


async def test_a_list_that_ignores_the_status_is_filtered(server, client_of):
    server.replies(Reply(200, {"escrows": [entry(1), entry(2, status="released")]}))
    assert await listed(client_of("kubernetes")) == ["esc_1"]


async def test_a_missing_list_is_not_an_empty_one(server, client_of):
    server.replies(Reply(404, {"error": "not_found"}))
    with pytest.raises(Unsupported):
        await listed(client_of())


@pytest.mark.parametrize("body", [{}, {"escrows": None}, {"escrows": {}}, {"escrows": ["esc_1"]}])
async def test_a_list_without_entries_is_not_an_empty_one(body, server, client_of):
    server.replies(Reply(200, body))
    with pytest.raises(Contradiction):
        await listed(client_of("kubernetes"))


# --- finding an escrow by its token


def kubernetes_lists(**by_status):
    def script(request):
        return Reply(200, {"escrows": by_status.get(request.target.partition("status=")[2], [])})

    return script


@pytest.mark.parametrize("status", ["pending", "released", "disputed"])
async def test_an_escrow_is_found_in_whatever_state_it_is(status, server, client_of):
    mine = entry(7, status=status, terms_hash=ORDER.token)
    server.script = kubernetes_lists(**{status: [entry(1, status=status, terms_hash="abc123"), mine]})
    found = await find_escrow(client_of("kubernetes"), ORDER.token)
    assert found
    assert found.id == "esc_7"


async def test_a_token_that_no_escrow_carries_is_none(server, client_of):
    server.script = kubernetes_lists(pending=[entry(1, terms_hash="abc123")])
    assert await find_escrow(client_of("kubernetes"), ORDER.token) is None


async def test_a_list_that_shows_no_tokens_proves_nothing(server, client_of):
    server.script = kubernetes_lists(pending=[entry(1)])
    with pytest.raises(Unsupported):
        await find_escrow(client_of("kubernetes"), ORDER.token)


async def test_a_list_that_refuses_a_status_word_proves_nothing(server, client_of):
    server.script = lambda r: (
        Reply(200, {"escrows": []}) if "pending" in r.target else Reply(400, {"error": "invalid_request"})
    )
    with pytest.raises(Unsupported):
        await find_escrow(client_of("kubernetes"), ORDER.token)


@pytest.mark.parametrize(
    "reply", [Reply(400, {"error": "invalid_request"}), Reply(200, {"padding": "x" * 3000})], ids=str
)
async def test_a_list_that_cannot_be_seen_hides_no_escrow_that_another_shows(reply, server, client_of):
    mine = entry(1, terms_hash=ORDER.token)
    server.script = lambda r: Reply(200, {"escrows": [mine]}) if "pending" in r.target else reply
    client = client_of("kubernetes", limits=Limits(body_bytes=2000))
    found = await find_escrow(client, ORDER.token)
    assert found
    assert found.id == "esc_1"
    with pytest.raises(Unsupported):
        await find_escrow(client, escrow_token("another"))


async def test_a_search_that_meets_a_broken_service_is_repeated_later(server, client_of):
    server.script = lambda r: Reply(200, {"escrows": []}) if "pending" in r.target else Reply(503)
    with pytest.raises(Unavailable):
        await find_escrow(client_of("kubernetes"), ORDER.token)


async def test_a_token_on_two_escrows_names_both(server, client_of):
    server.script = kubernetes_lists(
        pending=[entry(1, terms_hash=ORDER.token)], released=[entry(2, status="released", terms_hash=ORDER.token)]
    )
    with pytest.raises(Contradiction, match="esc_1, esc_2"):
        await find_escrow(client_of("kubernetes"), ORDER.token)


async def test_the_token_is_found_at_the_end_of_a_description(server, client_of):
    told = CREATED | {"description": f"Scrape [1] things [{ORDER.token}]"}
    server.script = lambda r: Reply(200, {"escrows": [told] if "status=locked" in r.target else []})
    found = await find_escrow(client_of(), ORDER.token)
    assert found
    assert found.id == "esc_1"


async def test_fly_cannot_look(server, client_of):
    with pytest.raises(Unsupported):
        await find_escrow(client_of("fly"), ORDER.token)
    assert server.received == []


# --- what a dialect lacks

LACKS = {
    "kubernetes": {"read", "ledger", "complete", "cancel", "stats", "health"},
    "fly": {"read", "list", "ledger", "complete", "dispute", "stats", "register"},
    "server": {"cancel", "register"},
}


@pytest.mark.parametrize(("dialect", "operation"), [(d, o) for d, lacking in LACKS.items() for o in sorted(lacking)])
async def test_an_operation_that_a_dialect_lacks_says_so_and_sends_nothing(dialect, operation, server, client_of):
    client = client_of(dialect)
    calls = {
        "read": lambda: client.read_escrow("esc_1"),
        "list": lambda: listed(client),
        "ledger": client.read_ledger,
        "complete": lambda: client.complete("esc_1"),
        "cancel": lambda: client.cancel("esc_1"),
        "dispute": lambda: client.dispute("esc_1", "failed"),
        "stats": client.stats,
        "health": client.health,
        "register": lambda: client.register("ag_1"),
    }
    with pytest.raises(Unsupported) as caught:
        await calls[operation]()
    assert caught.value.operation == operation
    assert dialect in str(caught.value)
    assert server.received == []


async def test_supports_is_what_is_not_lacking(client_of):
    for dialect, lacking in LACKS.items():
        client = client_of(dialect)
        assert {o for o in Operation if not client.supports(o)} == lacking


@pytest.mark.parametrize(
    ("dialect", "change"),
    [
        ("kubernetes", {"payer": "ag_other"}),
        ("kubernetes", {"timeout_hours": 2}),
        ("server", {"payer": "ag_other"}),
        ("fly", {"timeout_hours": 2, "payer": "0xPayer"}),
    ],
)
async def test_a_field_that_would_be_lost_is_refused(dialect, change, server, client_of):
    with pytest.raises(Unsupported):
        await client_of(dialect).create_escrow(replace(ORDER, **change))
    assert server.received == []


async def test_fly_needs_a_payer(server, client_of):
    with pytest.raises(BadInput, match="payer"):
        await client_of("fly").create_escrow(ORDER)


# --- arguments

NO_IDS = ["", ".", "..", "a/b", "a?b", "a#b", "a b", "a\nb", "a%2fb", "ü", "x" * 201]


@pytest.mark.parametrize("escrow_id", NO_IDS)
async def test_an_id_that_would_be_another_path_is_never_sent(escrow_id, server, client_of):
    for dialect in ("kubernetes", "fly", "server"):
        with pytest.raises(BadInput, match=r"release.*is not an escrow id"):
            await client_of(dialect).release(escrow_id)
    assert server.received == []


@pytest.mark.parametrize("escrow_id", ["esc_1", "0xAbC", "3f2a-11", "a.b:c~d@e", "x" * 200])
def test_ids_are_not_judged_by_their_prefix(escrow_id):
    assert checked_escrow_id(escrow_id) == escrow_id


@pytest.mark.parametrize(
    "change",
    [
        {"amount": Usdc(0)},
        {"payee": " "},
        {"token": "short"},
        {"token": "with blank 1"},
        {"timeout_hours": 0},
        {"timeout_hours": 721},
    ],
)
def test_an_order_that_cannot_work_is_refused(change):
    with pytest.raises(BadInput):
        replace(ORDER, **change)


def test_the_token_is_the_same_for_the_same_work_and_only_for_it():
    assert escrow_token("uid", 1) == escrow_token("uid", 1)
    assert len({escrow_token("uid"), escrow_token("uid", 1), escrow_token("uid1"), escrow_token("uid", 10)}) == 4
    replace(ORDER, token=escrow_token("uid"))


def test_the_environment_is_enough():
    client = PaymentsClient.from_environment(
        {"PF_ESCROW_URL": "https://escrow.example", "PF_API_DIALECT": "server", "PF_API_KEY": KEY}
    )
    assert client.supports(Operation.READ)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PF_ESCROW_URL": ""},
        {"PF_ESCROW_URL": "http://x"},
        {"PF_ESCROW_URL": "https://x", "PF_API_DIALECT": "soap"},
    ],
)
def test_an_environment_that_cannot_work_says_what_is_wrong(environment):
    with pytest.raises(BadInput):
        PaymentsClient.from_environment(environment)


async def test_a_service_without_url_is_named(client_of):
    with pytest.raises(BadInput, match="faucet"):
        await client_of(faucet_url=None).claim("ag_1")


# --- an answer that contradicts what was asked


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"amount_usd": 0.11}, Problem.WRONG_AMOUNT),
        ({"amount_usd": 0.0000001}, Problem.WRONG_AMOUNT),
        ({"amount_usd": -0.1}, Problem.WRONG_AMOUNT),
        ({"commission_usd": 0.002}, Problem.WRONG_AMOUNT),
        ({"counterparty_id": "ag_other"}, Problem.WRONG_PARTY),
        ({"description": "Scrape [pf-another-token]"}, Problem.WRONG_ESCROW),
        ({"status": "released"}, Problem.UNKNOWN_STATUS),
        ({"status": "on_hold"}, Problem.UNKNOWN_STATUS),
        ({"escrow_id": None}, Problem.MISSING_FIELD),
        ({"escrow_id": 7}, Problem.MALFORMED),
        ({"escrow_id": "../admin"}, Problem.MALFORMED),
        ({"auto_release_at": "tomorrow"}, Problem.MALFORMED),
        ({"auto_release_at": 1e300}, Problem.MALFORMED),
        ({"auto_release_at": True}, Problem.MALFORMED),
    ],
    ids=str,
)
async def test_a_create_answered_wrongly_is_of_unknown_outcome(change, problem, server, client_of):
    server.replies(Reply(201, CREATED | change))
    with pytest.raises(OutcomeUnknown) as caught:
        await client_of().create_escrow(ORDER)
    assert caught.value.problem is problem
    assert len(server.received) == 1
    if change.keys() <= {"commission_usd", "counterparty_id", "description"}:
        assert caught.value.escrow_id == "esc_1"  # money is locked there, so a person must be able to find it


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, Problem.MISSING_FIELD),
        ({"ok": True}, Problem.MISSING_FIELD),
        (RELEASED | {"escrow_id": "esc_2"}, Problem.WRONG_ESCROW),
        (RELEASED | {"status": "disputed"}, Problem.UNEXPECTED_STATUS),
        (RELEASED | {"status": "funded"}, Problem.UNEXPECTED_STATUS),
        (RELEASED | {"status": "paid!"}, Problem.UNKNOWN_STATUS),
        (RELEASED | {"amount_released": 0.99}, Problem.WRONG_AMOUNT),
        (RELEASED | {"amount_released": 0}, Problem.WRONG_AMOUNT),
        (RELEASED | {"amount_released": "lots"}, Problem.WRONG_AMOUNT),
        (RELEASED | {"counterparty_id": "ag_other"}, Problem.WRONG_PARTY),
    ],
    ids=str,
)
async def test_a_release_answered_wrongly_is_of_unknown_outcome(body, problem, server, client_of):
    server.replies(Reply(200, body))
    with pytest.raises(OutcomeUnknown) as caught:
        await client_of().release("esc_1", ORDER.amount, "ag_payee")
    assert (caught.value.problem, caught.value.escrow_id) == (problem, "esc_1")
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"escrow_id": "esc_2"}, Problem.WRONG_ESCROW),
        ({"status": "on_hold"}, Problem.UNKNOWN_STATUS),
        ({"status": None}, Problem.MISSING_FIELD),
        ({"amount_usd": "NaN"}, Problem.WRONG_AMOUNT),
    ],
    ids=str,
)
async def test_a_read_answered_wrongly_is_a_contradiction(change, problem, server, client_of):
    server.replies(Reply(200, CREATED | change))
    with pytest.raises(Contradiction) as caught:
        await client_of().read_escrow("esc_1")
    assert (caught.value.problem, caught.value.escrow_id) == (problem, "esc_1")


async def test_unknown_words_are_named(server, client_of):
    server.replies(Reply(200, CREATED | {"status": "on_hold"}))
    with pytest.raises(Contradiction, match="'on_hold'"):
        await client_of().read_escrow("esc_1")


async def test_limits_hold_for_the_whole_body(server, client_of):
    server.replies(Reply(200, {"padding": "x" * 2000}))
    client = client_of(limits=Limits(body_bytes=1000))
    with pytest.raises(OutcomeUnknown) as caught:
        await client.release("esc_1")
    assert caught.value.problem is Problem.TOO_LARGE
