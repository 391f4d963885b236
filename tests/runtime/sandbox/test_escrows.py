"""Roles, states, fees and time-outs of all three dialects, over real HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import httpx
import pytest

NOBODY = "esc_0000000000000000"


@pytest.fixture
def payer(as_agent):
    return as_agent("payer", "10.00")


@pytest.fixture
def payee(as_agent):
    return as_agent("payee")


def create(payer, amount=1, **fields):
    body = {"amount_usd": amount, "description": "work", "counterparty_agent_id": "payee"} | fields
    answer = payer.post("/escrow/create", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["escrow_id"]


def refusal(answer):
    return answer.status_code, answer.json()["error"]


def balance(sandbox, account):
    return {a["account"]: a["balance_usdc"] for a in sandbox.statement()["accounts"]}.get(account, "0.00")


def test_release_pays_the_payee_less_one_percent_and_happens_once(sandbox, payer, payee):
    escrow_id = create(payer)
    assert payee.post(f"/escrow/complete/{escrow_id}").json()["status"] == "completed"
    released = payer.post(f"/escrow/release/{escrow_id}")
    assert released.status_code == 200
    assert (released.json()["amount_released"], released.json()["commission"]) == (0.99, 0.01)
    assert refusal(payer.post(f"/escrow/release/{escrow_id}")) == (409, "invalid_status")
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert balance(sandbox, "fees") == "0.01"
    assert sandbox.statement()["balanced"]


def test_a_stopped_release_has_paid_and_answers_500_for_ever(sandbox, payer, payee):
    escrow_id = create(payer)
    sandbox.fault("release", moment="between", nth=1)
    for _ in range(3):
        assert refusal(payer.post(f"/escrow/release/{escrow_id}")) == (500, "release_failed")
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "funded"
    sandbox.advance(hours=25)  # no second payment at the time-out either
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "funded"
    assert refusal(payer.post("/api/escrow/cancel", json={"escrow_id": escrow_id})) == (500, "cancel_failed")
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert sandbox.resolve(escrow_id, "release") == "released"
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert sandbox.statement()["balanced"]


def test_a_disputed_payment_that_was_already_made_is_not_made_again(sandbox, payer, payee):
    escrow_id = create(payer)
    sandbox.fault("release", moment="between", nth=1)
    payer.post(f"/escrow/release/{escrow_id}")
    payer.post(f"/escrow/dispute/{escrow_id}")
    with pytest.raises(ValueError, match="409"):
        sandbox.resolve(escrow_id, "refund")
    assert sandbox.resolve(escrow_id, "release") == "released"
    assert balance(sandbox, "wallet:payee") == "0.99"
    assert sandbox.statement()["balanced"]


def test_only_the_counterparty_completes_only_the_creator_releases_either_disputes(payer, payee, as_agent):
    escrow_id = create(payer)
    stranger = as_agent("stranger")
    for client, act in (
        (payer, "complete"),
        (stranger, "complete"),
        (payee, "release"),
        (stranger, "release"),
        (stranger, "dispute"),
    ):
        assert refusal(client.post(f"/escrow/{act}/{escrow_id}")) == (403, "forbidden")
    assert refusal(payee.post("/api/escrow/cancel", json={"escrow_id": escrow_id})) == (403, "forbidden")
    assert payee.post(f"/escrow/dispute/{escrow_id}", json={"reason": "not paid"}).json()["reason"] == "not paid"
    for act in ("complete", "release", "dispute"):
        client = payee if act == "complete" else payer
        assert refusal(client.post(f"/escrow/{act}/{escrow_id}")) == (409, "invalid_status")


@pytest.mark.parametrize("outcome", ["release", "refund"])
def test_support_ends_a_dispute(sandbox, payer, payee, outcome):
    escrow_id = create(payer)
    payer.post(f"/escrow/dispute/{escrow_id}")
    assert sandbox.resolve(escrow_id, outcome) == {"release": "released", "refund": "refunded"}[outcome]
    assert sandbox.statement()["balanced"]


def test_completed_work_is_refunded_at_the_time_out_and_one_percent_is_kept(sandbox, payer, payee):
    escrow_id = create(payer, timeout_hours=2)
    payee.post(f"/escrow/complete/{escrow_id}")
    sandbox.advance(seconds=2 * 3600 - 30)
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "completed"
    sandbox.advance(seconds=60)
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "refunded"
    assert balance(sandbox, "wallet:payer") == "9.99"
    assert balance(sandbox, "fees") == "0.01"


def test_a_disputed_escrow_outlives_its_time_out(sandbox, payer, payee):
    escrow_id = create(payer, timeout_hours=1)
    payer.post(f"/escrow/dispute/{escrow_id}")
    sandbox.advance(hours=2)
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "disputed"


def test_the_date_header_follows_the_sandbox_clock(sandbox, anyone):
    before = parsedate_to_datetime(anyone.get("/health").headers["date"])
    sandbox.advance(hours=100)
    after = parsedate_to_datetime(anyone.get("/health").headers["date"])
    assert (after - before).total_seconds() >= 100 * 3600


@pytest.mark.parametrize(("asked", "granted"), [(0, 1), (-5, 1), (720, 720), (100_000, 720)])
def test_the_time_out_is_clamped_to_a_month(payer, payee, asked, granted):
    escrow_id = create(payer, timeout_hours=asked)
    assert payer.get(f"/escrow/{escrow_id}").json()["timeout_hours"] == granted


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"amount_usd": 0.09}, (400, "invalid_amount")),
        ({"amount_usd": "0.099999"}, (400, "invalid_amount")),
        ({"amount_usd": -1}, (400, "invalid_amount")),
        ({"amount_usd": None}, (400, "invalid_amount")),
        ({"description": "ab"}, (400, "invalid_description")),
        ({"description": "half \ud800 pair"}, (400, "invalid_description")),
        ({"description": "nul \0 byte"}, (400, "invalid_description")),
        ({"counterparty_agent_id": ""}, (400, "invalid_counterparty")),
        ({"counterparty_agent_id": "payer"}, (400, "self_escrow")),
        ({"amount_usd": 10.01}, (402, "insufficient_balance")),
    ],
)
def test_a_create_that_cannot_be_is_refused_and_locks_nothing(sandbox, payer, payee, fields, expected):
    body = {"amount_usd": 1, "description": "work", "counterparty_agent_id": "payee"} | fields
    assert refusal(payer.post("/escrow/create", content=json.dumps(body))) == expected
    assert balance(sandbox, "wallet:payer") == "10.00"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"1", b"NaN", b'{"amount_usd": NaN}', b"\xff\xfe", b"[" * 60_000]
)
def test_a_body_that_is_no_json_object_counts_as_empty(payer, content):
    assert refusal(payer.post("/escrow/create", content=content)) == (400, "invalid_amount")


def test_a_body_beyond_the_limit_is_refused(payer):
    assert payer.post("/escrow/create", content=b" " * 70_000).status_code == 413


def test_amounts_keep_six_decimals_without_drift(sandbox, payer, payee):
    for _ in range(10):
        payer.post(f"/escrow/release/{create(payer, amount='0.100001')}")
    assert balance(sandbox, "wallet:payer") == "8.99999"
    assert sandbox.statement()["balanced"]


def test_the_referrer_gets_fifteen_percent_of_the_fee(sandbox, anyone, payer):
    referrer = anyone.post("/api/v1/auth/register").json()
    referred = anyone.post("/api/v1/auth/register", json={"referral_code": referrer["referral_code"]}).json()
    sandbox.deposit(referred["agent_id"], "2.00")
    with httpx.Client(base_url=sandbox.url, headers={"authorization": f"Bearer {referred['api_key']}"}) as client:
        body = {"amount_usd": 1, "description": "work", "counterparty_agent_id": "payer"}
        for code in ({}, {"referral_code": referrer["referral_code"]}):
            escrow_id = client.post("/escrow/create", json=body | code).json()["escrow_id"]
            assert client.post(f"/escrow/release/{escrow_id}").json()["referral_commission"] == 0.0015
    assert balance(sandbox, f"wallet:{referrer['agent_id']}") == "0.003"
    assert balance(sandbox, "fees") == "0.017"


def test_nobody_refers_themselves_and_an_unknown_code_is_no_error(sandbox, payer, payee):
    own = sandbox.agents.find("payer")["referral_code"]
    for code in (own, "ref_unknown"):
        assert payer.post(f"/escrow/release/{create(payer, referral_code=code)}").json()["referral_commission"] == 0


def test_of_ten_parallel_releases_one_pays(sandbox, payer, payee):
    escrow_id = create(payer)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: payer.post(f"/escrow/release/{escrow_id}").status_code, range(10)))
    assert sorted(answers) == [200] + [409] * 9
    assert balance(sandbox, "wallet:payee") == "0.99"


def test_a_read_is_public_and_its_events_are_the_participants(payer, payee, anyone, as_agent):
    escrow_id = create(payer)
    for client, sees in ((anyone, False), (as_agent("stranger"), False), (payer, True), (payee, True)):
        answer = client.get(f"/escrow/{escrow_id}")
        assert answer.status_code == 200
        assert ("events" in answer.json()) is sees
    assert [event["event"] for event in payer.get(f"/escrow/{escrow_id}").json()["events"]] == ["created"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("GET", "/escrow/list"), ("PUT", "/escrow/create"), ("GET", f"/escrow/{NOBODY}")]
    + [("POST", f"/escrow/{act}/{NOBODY}") for act in ("complete", "release", "dispute")]
    + [("POST", f"/api/escrow/{NOBODY}/{act}") for act in ("release", "dispute")],
)
def test_what_is_not_there_answers_404_with_valid_json(payer, method, path):
    assert refusal(payer.request(method, path)) == (404, "not_found")


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", "Bearer", "bearer \udcff"])
def test_without_a_valid_key_nothing_is_done(sandbox, header):
    headers = [] if header is None else [(b"authorization", header.encode("utf-8", "surrogateescape"))]
    for method, path in (("POST", "/escrow/create"), ("GET", "/api/escrows"), ("POST", "/api/register")):
        assert refusal(httpx.request(method, sandbox.url + path, headers=headers)) == (401, "unauthorized")


def test_a_revoked_key_stops_at_once(sandbox, anyone):
    key = sandbox.issue_key("agent")
    headers = {"authorization": f"Bearer {key}"}
    assert anyone.get("/api/escrows", headers=headers).status_code == 200
    sandbox.revoke_key(key)
    assert anyone.get("/api/escrows", headers=headers).status_code == 401


# --- what the other two dialects do differently


def test_kubernetes_makes_unknown_payees_and_lists_by_any_status(sandbox, payer):
    body = {"payee_id": "worker-agent-007", "amount": 0.10, "terms_hash": "abc123"}
    escrow_id = payer.post("/api/escrow", json=body).json()["escrow_id"]
    (listed,) = payer.get("/api/escrows").json()["escrows"]
    assert listed | body == listed
    assert (listed["escrow_id"], listed["status"]) == (escrow_id, "pending")
    assert abs(listed["created_at"] - sandbox.clock.now()) < 60
    released = payer.post(f"/api/escrow/{escrow_id}/release").json()
    assert (released["amount_released"], released["payee_id"]) == (0.099, "worker-agent-007")
    assert payer.get("/api/escrows?status=pending").json()["escrows"] == []
    assert [e["escrow_id"] for e in payer.get("/api/escrows?status=released").json()["escrows"]] == [escrow_id]
    assert payer.get("/api/escrows?status=whatever").json()["escrows"] == []


def test_kubernetes_lists_only_ones_own_in_pages(payer, as_agent):
    ids = [
        payer.post("/api/escrow", json={"payee_id": "w", "amount": 0.1, "terms_hash": str(n)}).json()["escrow_id"]
        for n in range(5)
    ]
    pages = [payer.get(f"/api/escrows?limit=2&offset={offset}").json()["escrows"] for offset in (0, 2, 4, 6)]
    assert [e["escrow_id"] for page in pages for e in page] == ids
    assert as_agent("other").get("/api/escrows").json()["escrows"] == []
    assert refusal(payer.get("/api/escrows?limit=all")) == (400, "invalid_request")


def test_in_fly_the_key_owner_pays_and_a_cancel_costs_nothing(sandbox, payer):
    sandbox.deposit("0xCaller", "5.00")
    body = {"payer_wallet": "0xCaller", "payee_wallet": "0xAgent", "amount_usdc": 0.001, "description": "Inference"}
    made = payer.post("/api/escrow/create", json=body | {"metadata": {"fly_region": "lhr", "ts": 1.5}}).json()
    assert made["status"] == "pending"
    assert balance(sandbox, "wallet:0xCaller") == "5.00"
    assert balance(sandbox, "wallet:payer") == "9.999"
    cancelled = payer.post("/api/escrow/cancel", json={"escrow_id": made["escrow_id"]})
    assert cancelled.json()["status"] == "cancelled"
    assert balance(sandbox, "wallet:payer") == "10.00"
    release = {"escrow_id": made["escrow_id"], "auto_release": True}
    assert refusal(payer.post("/api/escrow/release", json=release)) == (409, "invalid_status")


def test_the_fly_guide_bills_itself_and_loses_only_the_fee(sandbox, payer):
    body = {"payer_wallet": "0xCaller", "payee_wallet": "payer", "amount_usdc": 1, "description": "Inference"}
    escrow_id = payer.post("/api/escrow/create", json=body).json()["escrow_id"]
    assert payer.post("/api/escrow/release", json={"escrow_id": escrow_id}).json()["status"] == "released"
    assert balance(sandbox, "wallet:payer") == "9.99"


def test_completed_work_cannot_be_cancelled(payer, payee):
    escrow_id = create(payer)
    payee.post(f"/escrow/complete/{escrow_id}")
    assert refusal(payer.post("/api/escrow/cancel", json={"escrow_id": escrow_id})) == (409, "invalid_status")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/escrow", {"payee_id": "w", "amount": 0.099, "terms_hash": "x"}),
        ("/api/escrow/create", {"payer_wallet": "a", "payee_wallet": "b", "amount_usdc": 0.0009, "description": "x"}),
    ],
)
def test_each_dialect_has_its_minimum(payer, path, body):
    assert refusal(payer.post(path, json=body)) == (400, "invalid_amount")


def test_one_escrow_is_seen_by_all_dialects(payer, payee):
    escrow_id = payer.post("/api/escrow", json={"payee_id": "payee", "amount": 1, "terms_hash": "t"}).json()[
        "escrow_id"
    ]
    assert payer.get(f"/escrow/{escrow_id}").json()["status"] == "funded"
    payee.post(f"/escrow/complete/{escrow_id}")
    assert payer.post("/api/escrow/release", json={"escrow_id": escrow_id}).json()["status"] == "released"
