"""The wire contract that the client is held to, line by line against the sandbox."""

import secrets

import httpx
import pytest

from runtime.payments.model import DialectName, Operation
from runtime.sandbox.escrows import Terms
from runtime.sandbox.testing import running_sandbox
from tests.runtime.payments.exchanges import EXCHANGES, Actor, Given, fill, mismatch

TENTH = 100_000


class Stage:
    """Brings a sandbox into the state that a line is given in."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        run = secrets.token_hex(4)
        self.values = {who: f"ag_{who}_{run}" for who in ("payer", "payee", "agent", "platform", "neighbour")}
        self.values["token"] = secrets.token_hex(8)
        self.values["escrow_id"] = "esc_0000000000000000"
        self.payer, self.payee, self.agent = (self.values[who] for who in ("payer", "payee", "agent"))
        self.keys = {Actor.PAYER: sandbox.issue_key(self.payer), Actor.PAYEE: sandbox.issue_key(self.payee)}
        self.keys[Actor.AGENT] = sandbox.issue_key(self.values["platform"])
        self.keys[Actor.STRANGER] = "sk_never_issued"
        sandbox.deposit(self.payer, "5.00")

    def set(self, line):
        escrows, agents = self.sandbox.escrows, self.sandbox.agents
        if line.given is Given.FAULT:
            self.set_fault(line)
        elif line.given in (Given.REGISTERED, Given.CLAIMED):
            agents.register(self.agent, self.values["platform"])
            if line.given is Given.CLAIMED:
                agents.claim(self.agent, "192.0.2.1", per_ip=False, new_only=False)
        elif line.given is Given.CLAIMED_HERE:
            agents.ensure(self.agent)
            agents.ensure(self.values["neighbour"])
            agents.claim(self.values["neighbour"], "127.0.0.1", per_ip=False, new_only=False)
        elif line.given is not Given.NOTHING:
            escrow_id = self.lock(line.dialect)
            if line.given is Given.COMPLETED:
                escrows.complete(escrow_id, self.payee)
            elif line.given is Given.RELEASED:
                escrows.release(escrow_id, self.payer)
            elif line.given is Given.DISPUTED:
                escrows.dispute(escrow_id, self.payer, "why")
            elif line.given is Given.CANCELLED:
                escrows.cancel(escrow_id, self.payer)
            elif line.given is Given.REFUNDED:
                self.sandbox.advance(hours=25)

    def lock(self, dialect):
        token = self.values["token"]
        description = token if dialect is DialectName.KUBERNETES else f"work [{token}]"
        escrow = self.sandbox.escrows.create(self.payer, Terms(self.payee, TENTH, description), payee_must_exist=True)
        self.values["escrow_id"] = escrow["id"]
        return escrow["id"]

    def set_fault(self, line):
        if line.operation is Operation.RELEASE:
            self.lock(line.dialect)
        code = line.answer["error"]
        if code == "release_failed":
            self.sandbox.fault("release", moment="between")
        else:
            self.sandbox.fault(line.operation, status=line.statuses[0], body={"error": code})

    def send(self, line):
        headers = dict(line.headers)
        if line.actor in self.keys:
            headers["authorization"] = f"Bearer {self.keys[line.actor]}"
        url = self.sandbox.url + fill(line.path, self.values)
        with httpx.Client(verify=self.sandbox.tls, trust_env=False) as client:
            return client.request(line.method, url, headers=headers, json=fill(line.body, self.values))


@pytest.fixture(scope="module")
def sandbox():
    """One for all lines, each with people of its own: starting eighty would take longer than all else here."""
    with running_sandbox() as running:
        yield running


@pytest.mark.parametrize("line", EXCHANGES, ids=str)
def test_the_sandbox_keeps_the_contract(sandbox, line):
    sandbox.clear_faults()
    sandbox.advance(hours=25)  # the faucet's day for an address is over
    stage = Stage(sandbox)
    stage.set(line)
    answer = stage.send(line)
    assert answer.status_code in line.statuses, answer.text
    assert mismatch(line.answer, read(answer, line.sse), stage.values) is None
    assert sandbox.statement()["balanced"]


def read(answer, sse):
    if not sse:
        return answer.json()
    assert answer.headers["content-type"].startswith("text/event-stream")
    (data,) = [row.removeprefix("data: ") for row in answer.text.splitlines() if row.startswith("data: ")]
    return httpx.Response(200, text=data).json()
