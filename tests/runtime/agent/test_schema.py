"""What the ledger's file itself refuses: a row whose columns do not go with its state."""

import sqlite3
from importlib.resources import files
from itertools import product

import pytest

from runtime.contract import LedgerState
from runtime.settlement.table import ActResult, Intent

OPEN = {LedgerState.CREATING, LedgerState.LOCKED, LedgerState.SETTLING}
WITHOUT_ESCROW = {LedgerState.CREATING, LedgerState.REVIEW, LedgerState.DECLINED}
WITHOUT_INTENT = WITHOUT_ESCROW | {LedgerState.LOCKED}
INSERT = """
INSERT INTO escrows (id, slot, fingerprint, payer, payee, amount_micro, region, machine, sent_ms, created_ms,
                     state, escrow_id, intent, settled_ms, answer)
VALUES ('i', 0, '', '', '', 1, '', '', 0, 0, ?, ?, ?, ?, ?)
"""


@pytest.fixture(scope="module")
def ledger():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(files("runtime.agent").joinpath("schema.sql").read_text(encoding="utf-8"))
    yield connection
    connection.close()


def takes(ledger, state, escrow_id="e", intent="release", settled_ms=0, answer=None):
    ledger.execute("BEGIN")
    try:
        ledger.execute(INSERT, (state, escrow_id, intent, settled_ms, answer))
    except sqlite3.IntegrityError:
        return False
    finally:
        ledger.execute("ROLLBACK")
    return True


@pytest.mark.parametrize("state", LedgerState)
def test_a_state_has_the_columns_that_go_with_it(ledger, state):
    for escrow_id, intent, settled_ms in product((None, "e"), (None, "release"), (None, 0)):
        whole = (escrow_id or state in WITHOUT_ESCROW) and (intent or state in WITHOUT_INTENT)
        expected = bool(whole) and (settled_ms is None) == (state in OPEN)
        assert takes(ledger, state, escrow_id, intent, settled_ms) is expected, (escrow_id, intent, settled_ms)


def test_words_that_nobody_knows_are_refused(ledger):
    assert not takes(ledger, "paid")
    assert not takes(ledger, "released", intent="pay")
    assert not takes(ledger, "released", answer="yes")
    assert all(takes(ledger, "released", intent=intent) for intent in Intent)
    assert all(takes(ledger, "released", answer=answer) for answer in {*ActResult} - {ActResult.NONE})


def test_no_write_builds_a_table_for_itself(ledger):
    """As a list by IN in a check does, for each statement."""
    for write in (INSERT, "UPDATE escrows SET state = ?, settled_ms = ?, intent = ?, answer = ? WHERE id = ?"):
        steps = ledger.execute(f"EXPLAIN {write}", (None,) * write.count("?"))
        assert "OpenEphemeral" not in {step[1] for step in steps}
