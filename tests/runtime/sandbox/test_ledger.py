"""The books: what the database itself refuses, and that no sequence of acts unbalances them."""

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from runtime.sandbox.database import Database
from runtime.sandbox.escrows import Terms
from runtime.sandbox.ledger import FEES, Target, held, wallet
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Service
from runtime.sandbox.statement import statement


@pytest.fixture
def service(tmp_path):
    database = Database(tmp_path / "ledger.db")
    yield Service(database)
    database.close()


@pytest.fixture
def escrow_id(service):
    service.deposit("payer", 5_000_000)
    return service.escrows.create("payer", Terms("payee", 1_000_000, "work"), payee_must_exist=False)["id"]


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE entries SET at = 0", "append-only"),
        ("DELETE FROM entries", "append-only"),
        ("UPDATE legs SET amount = 1", "append-only"),
        ("DELETE FROM legs", "append-only"),
        ("INSERT OR REPLACE INTO entries SELECT * FROM entries", "append-only"),
        ("UPDATE events SET note = ''", "append-only"),
        ("INSERT INTO legs VALUES (1, 1, 5, 'paid')", "no further leg"),
        ("INSERT INTO entries VALUES (99, 0, 'deposit', NULL)", "sum to zero"),
        ("UPDATE escrows SET amount = 2", "never change"),
        ("UPDATE accounts SET balance = -1 WHERE kind = 'wallet'", "CHECK"),
        ("UPDATE escrows SET status = 'lost'", "CHECK"),
        ("INSERT INTO legs VALUES (99, 1, 0.5, 'paid')", "REAL"),
    ],
)
def test_the_database_refuses_what_would_falsify_the_books(service, escrow_id, statement, why):
    with pytest.raises(sqlite3.IntegrityError, match=why), service.database.transaction() as connection:
        connection.execute(statement)
    assert service.ledger.audit() == []


def test_legs_that_do_not_sum_to_zero_cannot_become_an_entry(service, escrow_id):
    with service.database.transaction() as connection:
        connection.execute("SAVEPOINT falsified")
        connection.execute("INSERT INTO legs VALUES (99, 1, 5, 'paid'), (99, 2, -4, 'source')")
        with pytest.raises(sqlite3.IntegrityError, match="sum to zero"):
            connection.execute("INSERT INTO entries VALUES (99, 0, 'release', NULL)")
        connection.execute("ROLLBACK TO falsified")
    assert service.ledger.audit() == []


def test_legs_without_an_entry_cannot_be_committed(service, escrow_id):
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), service.database.transaction() as connection:
        connection.execute("INSERT INTO legs VALUES (99, 1, 5, 'paid')")


def test_no_wallet_is_overdrawn(service, escrow_id):
    with pytest.raises(sqlite3.IntegrityError, match="balance"):
        service.ledger.post("release", wallet("payer"), [Target(FEES, 4_000_001, "fee")])
    assert service.ledger.balance(wallet("payer")) == 4_000_000


def test_a_settled_escrow_keeps_its_status(service, escrow_id):
    service.escrows.release(escrow_id, "payer")
    with pytest.raises(sqlite3.IntegrityError, match="keeps its status"), service.database.transaction() as connection:
        connection.execute("UPDATE escrows SET status = 'funded'")


def test_a_failing_act_leaves_nothing_behind(service, escrow_id):
    def release_and_fail():
        with service.database.transaction():
            service.escrows.release(escrow_id, "payer")
            service.escrows.release(escrow_id, "payer")

    with pytest.raises(RefusedError):
        release_and_fail()
    assert service.ledger.balance(held(escrow_id)) == 1_000_000
    assert service.escrows.get(escrow_id)["status"] == "funded"


def test_the_audit_finds_a_balance_that_was_tampered_with(service, escrow_id):
    with service.database.transaction() as connection:
        connection.execute("UPDATE accounts SET balance = balance + 1 WHERE kind = 'wallet' AND holder = 'payer'")
    assert any("wallet:payer" in finding for finding in service.ledger.audit())
    assert not statement(service)["balanced"]


def test_an_audit_of_many_escrows_finds_one_that_kept_its_money(service, escrow_id):
    with service.database.transaction() as connection:
        connection.execute("UPDATE escrows SET status = 'released'")
    assert service.ledger.audit() == [f"escrow {escrow_id} is released but holds 1000000"]


AGENTS = st.sampled_from(["ann", "bob", "cyd"])


def attempt(act):
    try:
        return 200, act()
    except RefusedError as refused:
        return refused.status, None


class Books(RuleBasedStateMachine):
    """Any acts by anybody in any order: money is neither made nor lost, and no escrow is settled twice."""

    escrows = Bundle("escrows")

    def __init__(self):
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.service = Service(Database(Path(self.scratch.name) / "ledger.db"))
        self.came_in = 0

    def teardown(self):
        self.service.database.close()
        self.scratch.cleanup()

    @rule(agent=AGENTS, micros=st.integers(1, 10**10))
    def deposit(self, agent, micros):
        self.service.deposit(agent, micros)
        self.came_in += micros

    @rule(agent=AGENTS, ip=st.sampled_from(["10.0.0.1", "10.0.0.2"]), strict=st.booleans())
    def claim(self, agent, ip, strict):
        status, _ = attempt(lambda: self.service.agents.claim(agent, ip, per_ip=strict, new_only=strict))
        assert status in (200, 403, 404, 409, 429)
        self.came_in += 1_000_000 if status == 200 else 0

    @rule(target=escrows, payer=AGENTS, payee=AGENTS, micros=st.integers(1_000, 10**10), hours=st.integers(1, 40))
    def create(self, payer, payee, micros, hours):
        self.service.agents.ensure(payer)
        code = self.service.agents.find(payer)["referral_code"]
        terms = Terms(payee, micros, "work", timeout_hours=hours, referral_code=code)
        status, escrow = attempt(lambda: self.service.escrows.create(payer, terms, payee_must_exist=False))
        assert status in (200, 402)
        return escrow["id"] if escrow else "esc_never_made"

    @rule(escrow_id=escrows, agent=AGENTS, half=st.booleans())
    def release(self, escrow_id, agent, half):
        self.settle(lambda: self.service.escrows.release(escrow_id, agent, fail_after_credit=half))

    @rule(escrow_id=escrows, agent=AGENTS, act=st.sampled_from(["complete", "cancel", "dispute"]))
    def act(self, escrow_id, agent, act):
        extra = ("why",) if act == "dispute" else ()
        self.settle(lambda: getattr(self.service.escrows, act)(escrow_id, agent, *extra))

    @rule(escrow_id=escrows, release=st.booleans())
    def resolve(self, escrow_id, release):
        self.settle(lambda: self.service.escrows.resolve(escrow_id, release=release))

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours):
        self.service.clock.advance(hours * 3600)
        self.service.escrows.refund_due()

    def settle(self, act):
        status, _ = attempt(act)
        assert status in (200, 403, 404, 409, 500)

    @invariant()
    def books_balance(self):
        document = statement(self.service)
        assert document["findings"] == []
        with self.service.database.transaction() as connection:
            query = "SELECT sum(balance) AS total FROM accounts WHERE kind IN ('wallet', 'escrow', 'fees')"
            assert (connection.execute(query).fetchone()["total"] or 0) == self.came_in


TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
