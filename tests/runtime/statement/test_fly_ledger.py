"""Ledgers of Fly agents in a statement: every state in its column, to the micro-USDC."""

import argparse
import asyncio
import io
import json
import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest

from runtime.contract import LEDGER_APPLICATION_ID, LEDGER_VERSION
from runtime.errors import BadInput
from runtime.statement import command

NOON = 1_780_000_000_000
"""In milliseconds: a day in May 2026."""
ROWS = {
    # state: amount, region, escrow, intent, paid, fee
    "released": (1000, "lhr", "esc_1", "release", 990, 10),
    "released untold": (500, "lhr", "esc_2", "release", None, None),
    "completed": (400, "nrt", "esc_3", "complete", None, None),
    "cancelled": (300, "nrt", "esc_4", "cancel", None, None),
    "disputed": (200, "nrt", "esc_5", "dispute", None, None),
    "review": (100, "syd", "esc_6", "release", None, None),
    "locked": (50, "syd", "esc_7", None, None, None),
    "review of a create": (25, "syd", None, None, None, None),
    "declined": (12, "syd", "esc_8", None, None, None),
}


@pytest.fixture
def ledger(tmp_path):
    """`ledger("app")`: a copy with a row of each state."""

    def written(app):
        path = tmp_path / f"{app}.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(files("runtime.agent").joinpath("schema.sql").read_text(encoding="utf-8"))
            db.execute(f"PRAGMA application_id = {LEDGER_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
            db.execute("INSERT INTO ledger VALUES (1, ?, 'wallet', 0)", (app,))
            for name, (amount, region, escrow, intent, paid, fee) in ROWS.items():
                state = name.split()[0]
                db.execute(
                    "INSERT INTO escrows (id, slot, fingerprint, payer, payee, amount_micro, region, machine, state,"
                    " sent_ms, escrow_id, intent, paid_micro, fee_micro, created_ms, settled_ms)"
                    " VALUES (?, 0, '', 'caller', 'wallet', ?, ?, 'm1', ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(f"{app}-{name}", amount, region, state, NOON, escrow, intent, paid, fee, NOON),
                        None if state == "locked" else NOON + 1000,
                    ),
                )
            db.commit()
        return str(path)

    return written


def run(*words):
    """Exit code and output."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = io.StringIO()
    code = asyncio.run(command.make(parser.parse_args(words), out))
    return code, out.getvalue()


def test_every_state_is_in_its_column(ledger):
    code, text = run("--ledger", ledger("app"), "--by", "region", "-o", "json")
    told = json.loads(text)
    groups = told["groups"]
    assert code == 0, text
    assert {key: groups["lhr"][f"{key}_usdc"] for key in ("locked", "paid", "fee", "unexplained")} == {
        "locked": "0.001500",
        "paid": "0.000990",
        "fee": "0.000010",
        "unexplained": "0.000500",
    }
    held = [groups["nrt"][f"{key}_usdc"] for key in ("open", "refunded", "disputed")]
    assert held == ["0.000400", "0.000300", "0.000200"]
    assert [groups["syd"][key] for key in ("accounts", "review_usdc", "open_usdc")] == [2, "0.000100", "0.000050"]
    assert "0.000025" in text, "the create that nobody knows of is a doubt"


def test_machines_are_added_up_and_a_copy_that_is_given_twice_counts_once(ledger):
    one, two = ledger("app"), ledger("other")
    _, text = run("--ledger", one, "--ledger", two, "--ledger", one, "--by", "agent,label:machine", "-o", "json")
    groups = json.loads(text)["groups"]
    assert {name: group["accounts"] for name, group in groups.items()} == {"app m1": 7, "other m1": 7}


def test_a_later_period_has_what_is_still_held(ledger):
    december = ("--since", "2026-12-01", "--until", "2027-01-01")
    _, text = run("--ledger", ledger("app"), *december, "--by", "agent", "-o", "json")
    [group] = json.loads(text)["groups"].values()
    assert [group[f"{key}_usdc"] for key in ("opening", "locked", "paid")] == ["0.001250", "0.000000", "0.000000"]


@pytest.mark.parametrize("content", [b"", b"no database" * 500])
def test_what_is_no_ledger_is_said_so(tmp_path, content):
    (tmp_path / "other.db").write_bytes(content)
    with pytest.raises(BadInput, match=r"other\.db"):
        run("--ledger", str(tmp_path / "other.db"))
    with pytest.raises(BadInput, match="--reconcile"):
        run("--ledger", "x", "--reconcile")
