"""The `server` dialect against the recorded table of the published servers, and what a table cannot tell."""

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from runtime.sandbox.testing import SandboxProcess, running_sandbox
from tests.runtime.payments.exchanges import fill
from tests.runtime.sandbox.published import LINES, WORK


@pytest.fixture(scope="module")
def shared():
    """One for all lines: each has its money given back, or its people anew."""
    with running_sandbox(dialect="server", claim_per_ip=False) as running:
        yield running


@pytest.fixture(scope="module")
def shared_client(shared):
    with client_of(shared) as client:
        yield client


def client_of(sandbox):
    return httpx.Client(base_url=sandbox.url, verify=sandbox.tls, trust_env=False)


@pytest.mark.parametrize("line", LINES, ids=str)
def test_it_answers_as_the_published_servers_did(line, shared, shared_client):
    people = People(shared, shared_client, line.what)
    escrow = people.lock(line.escrow) if line.escrow else ""
    values = people.values | {"escrow": escrow}
    before = locked(shared)
    answer = people.client.request(
        line.method, fill(line.path, values), headers={"authorization": fill(line.key, values)},
        content=json.dumps(people.named(fill(line.json, values))) if line.method == "POST" else None,
    )  # fmt: skip
    assert answer.status_code == line.status, answer.text
    assert answer.json() | fill(line.answer, values) == answer.json()
    assert usdc(locked(shared)) - usdc(before) == usdc(line.locked)
    assert shared.statement()["balanced"]


class People:
    """The table's people, with ids of a line's own: lines share a sandbox."""

    def __init__(self, sandbox, client, line="here"):
        self.sandbox, self.client = sandbox, client
        self._ids = {name: f"{name}_{line.encode().hex()}" for name in ("ag_payer", "ag_payee", "ag_referrer")}
        self.payer, self.payee, self.referrer = self._ids.values()
        agents = sandbox.agents
        agents.ensure(self.referrer)
        agents.ensure(self.payer, referral_code=agents.find(self.referrer)["referral_code"])
        agents.ensure(self.payee)
        sandbox.deposit(self.payer, "10.00")
        self.values = {
            "key": sandbox.issue_key(self.payer),
            "code": agents.find(self.referrer)["referral_code"],
            "own": agents.find(self.payee)["referral_code"],
        }
        self.headers = {"authorization": f"Bearer {self.values['key']}"}

    def named(self, body):
        if not isinstance(body, dict):
            return body
        return {name: self._ids.get(value, value) if isinstance(value, str) else value for name, value in body.items()}

    def create(self, **fields):
        return self.client.post("/escrow/create", json=self.named(WORK | fields), headers=self.headers)

    def release(self, escrow_id):
        return self.client.post(f"/escrow/release/{escrow_id}", headers=self.headers)

    def lock(self, status="funded"):
        escrow_id = self.create().json()["escrow_id"]
        if status == "completed":
            self.sandbox.escrows.complete(escrow_id, self.payee)
        return escrow_id


def locked(sandbox):
    return sandbox.statement()["totals"]["locked"]


def usdc(text):
    whole, _, part = text.partition(".")
    return int(whole) * 10**6 + int(part.ljust(6, "0"))


@pytest.fixture
def people(sandbox, anyone):
    return People(sandbox, anyone)


@pytest.mark.parametrize(("deposit", "amount"), [("0.30", "0.1"), ("0.99", "0.33")])
def test_balances_are_binary_floats_while_the_books_stay_exact(sandbox, people, deposit, amount):
    key = sandbox.issue_key("ag_small")
    sandbox.deposit("ag_small", deposit)
    headers = {"authorization": f"Bearer {key}"}
    body = people.named(WORK | {"amount_usd": float(amount)})
    answers = [people.client.post("/escrow/create", json=body, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 402]
    left = float(deposit) - float(amount) - float(amount)
    assert answers[2].json()["balance"] == left < float(amount)
    (newest, *_) = people.client.get("/api/v1/auth/ledger", headers=headers).json()["entries"]
    assert newest["balanceAfter"] == left
    books = sandbox.statement()
    assert {"account": "wallet:ag_small", "balance_usdc": f"{float(amount):.2f}"} in books["accounts"]
    assert books["balanced"]


def test_what_floats_would_give_and_the_books_do_not_hold_is_not_locked(sandbox, people):
    for _ in range(2):  # 0.1 + 0.2 is more than 0.3 in binary, by less than a micro-USDC
        sandbox.deposit("ag_small", "0.10")
    sandbox.deposit("ag_small", "0.10")
    headers = {"authorization": f"Bearer {sandbox.issue_key('ag_small')}"}
    for amount, status in ((0.30000000000000004, 201), (0.1, 402)):
        body = people.named(WORK | {"amount_usd": amount})
        assert people.client.post("/escrow/create", json=body, headers=headers).status_code == status
    assert sandbox.statement()["balanced"]


def test_exact_balances_can_be_asked_for():
    with running_sandbox(float_balances=False) as sandbox, client_of(sandbox) as client:
        people = People(sandbox, client)
        sandbox.deposit("ag_small", "0.30")
        headers = {"authorization": f"Bearer {sandbox.issue_key('ag_small')}"}
        body = people.named(WORK | {"amount_usd": 0.1})
        statuses = [people.client.post("/escrow/create", json=body, headers=headers).status_code for _ in range(4)]
        assert statuses == [201, 201, 201, 402]


@pytest.mark.parametrize(
    ("code", "paid"), [(None, True), ("", True), ("{code}", True), (" {code} ", False), ("ref_unknown", False)]
)
def test_who_is_paid_for_a_referral(people, code, paid):
    given = {} if code is None else {"referral_code": fill(code, people.values)}
    released = people.release(people.create(**given).json()["escrow_id"])
    assert released.json()["referral_commission"] == (0.0015 if paid else 0)


def test_a_code_at_the_faucet_never_pays(sandbox, people):
    body = people.named({"agent_casino_id": "ag_payee", "referral_code": people.values["code"]})
    assert people.client.post("/faucet/claim", json=body).json()["referral_tracked"] is True
    headers = {"authorization": f"Bearer {sandbox.issue_key(people.payee)}"}
    work = WORK | {"counterparty_agent_id": people.payer, "amount_usd": 0.5}
    escrow_id = people.client.post("/escrow/create", json=work, headers=headers).json()["escrow_id"]
    released = people.client.post(f"/escrow/release/{escrow_id}", headers=headers)
    assert released.json()["referral_commission"] == 0


def test_the_form_of_an_id_is_looked_at_before_the_address(sandbox, people):
    claim = {"agent_casino_id": people.payee}
    assert people.client.post("/faucet/claim", json=claim).status_code == 200
    answers = [people.client.post("/faucet/claim", json={"agent_casino_id": i}) for i in ("0xabc", "ag_unknown")]
    assert [answer.json()["error"] for answer in answers] == ["invalid_request", "ip_rate_limited"]
    assert people.client.get("/faucet/stats").json()["total_value_usd"] == 1


def test_after_the_time_out_it_reads_funded_and_can_be_released_until_the_sweep(sandbox, people):
    late, lost = people.lock(), people.lock("completed")
    sandbox.advance(hours=25, sweep=False)
    assert people.client.get(f"/escrow/{late}").json()["status"] == "funded"
    assert people.release(late).status_code == 200
    sandbox.advance(seconds=0)
    assert people.client.get(f"/escrow/{lost}").json()["status"] == "refunded"
    assert sandbox.statement()["balanced"]


def test_a_late_dispute_and_a_release_are_both_answered_as_done():
    """The dispute's head comes, then a whole release, then the dispute's body."""
    with SandboxProcess() as sandbox, client_of(sandbox) as client:  # the one in this process reads bodies beforehand
        authorization = f"Bearer {sandbox.issue_key('ag_payer')}"
        client.headers["authorization"] = authorization
        sandbox.issue_key("ag_payee")
        sandbox.deposit("ag_payer", "10.00")
        escrow_id = client.post("/escrow/create", json=WORK).json()["escrow_id"]
        sandbox.fault("dispute", moment="between", nth=1)
        body = b'{"reason": "no good"}'
        head = f"POST /escrow/dispute/{escrow_id} HTTP/1.1\r\nhost: sandbox\r\ncontent-length: {len(body)}\r\n"
        head += f"authorization: {authorization}\r\nconnection: close\r\n\r\n"
        address = urlsplit(sandbox.url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(head.encode())
            while not sandbox.faults()["injected"]:  # judged in the same step in which it is counted
                pass
            assert client.post(f"/escrow/release/{escrow_id}").status_code == 200
            connection.sendall(body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "disputed"
        assert client.get(f"/escrow/{escrow_id}").json()["status"] == "released"
        assert client.get("/escrow/stats").json()["total_disputed"] == 1
        assert client.post(f"/escrow/release/{escrow_id}").status_code == 409
        assert sandbox.statement()["balanced"]
