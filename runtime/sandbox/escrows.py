"""The life of an escrow: funded → completed → released, or disputed, refunded, cancelled.

The rules are the published server's; the dialects only translate words and shapes.
"""

import secrets
import sqlite3
from dataclasses import dataclass
from typing import Final

from runtime.money import MICRO, Usdc
from runtime.sandbox.agents import Agents
from runtime.sandbox.clock import Clock
from runtime.sandbox.database import Database
from runtime.sandbox.ledger import FEES, Ledger, Target, held, wallet
from runtime.sandbox.refused import RefusedError

OPEN: Final = ("funded", "completed")
DEFAULT_TIMEOUT_HOURS: Final = 24
MAX_TIMEOUT_HOURS: Final = 720


@dataclass(frozen=True)
class Terms:
    """What a create asks for; the amount is micro-USDC.

    Args:
        as_double: The amount as the published server compares it with a balance of binary floats; None: exactly.
    """

    payee_id: str
    amount: int
    description: str
    metadata: str = "{}"
    timeout_hours: int = DEFAULT_TIMEOUT_HOURS
    referral_code: str | None = None
    as_double: float | None = None


class Escrows:
    """Every act is one transaction: the money and the status change together or not at all."""

    def __init__(self, database: Database, clock: Clock, ledger: Ledger, agents: Agents) -> None:
        self._database = database
        self._clock = clock
        self._ledger = ledger
        self._agents = agents

    def create(self, payer_id: str, terms: Terms, *, payee_must_exist: bool) -> sqlite3.Row:
        """Lock the payer's money. Without `payee_must_exist` an unknown payee is made an agent without a key."""
        escrow_id = f"esc_{secrets.token_hex(8)}"
        now = self._clock.now()
        with self._database.transaction() as connection:
            if self._agents.find(terms.payee_id) is None:
                if payee_must_exist:
                    raise RefusedError(404, "counterparty_not_found", "Counterparty agent not found")
                self._agents.ensure(terms.payee_id)
            self._require_funds(payer_id, terms)
            fee, referral, referrer_id = self._charges(payer_id, terms)
            timeout_hours = min(max(1, terms.timeout_hours), MAX_TIMEOUT_HOURS)
            row = (escrow_id, payer_id, terms.payee_id, terms.amount, fee, referrer_id, referral, terms.description)
            row += (terms.metadata, timeout_hours, "funded", now, now + timeout_hours * 3600, None, None, None)
            connection.execute(f"INSERT INTO escrows VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
            self._ledger.post("lock", wallet(payer_id), [Target(held(escrow_id), terms.amount, "locked")], escrow_id)
            self._record(escrow_id, "created", payer_id, terms.description)
            return self.get(escrow_id)

    def get(self, escrow_id: str) -> sqlite3.Row:
        """One escrow, or 404."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM escrows WHERE id = ?", (escrow_id,)).fetchone()
        if row is None:
            raise RefusedError(404, "not_found", "Escrow not found")
        return row

    def status_of(self, escrow_id: str) -> str | None:
        """An escrow's status, None where there is none."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT status FROM escrows WHERE id = ?", (escrow_id,)).fetchone()
        return row["status"] if row else None

    def paid_by(self, payer_id: str, status: str, limit: int = -1, offset: int = 0) -> list[sqlite3.Row]:
        """A payer's escrows in one status, oldest first."""
        with self._database.transaction() as connection:
            return connection.execute(
                "SELECT * FROM escrows WHERE payer_id = ? AND status = ? ORDER BY created_at, rowid LIMIT ? OFFSET ?",
                (payer_id, status, limit, offset),
            ).fetchall()

    def events(self, escrow_id: str) -> list[sqlite3.Row]:
        """What happened to an escrow, oldest first."""
        with self._database.transaction() as connection:
            return connection.execute("SELECT * FROM events WHERE escrow_id = ? ORDER BY id", (escrow_id,)).fetchall()

    # --- acts of its participants

    def complete(self, escrow_id: str, caller_id: str) -> sqlite3.Row:
        """The payee says the work is done; no money moves."""
        with self._database.transaction():
            escrow = self.get(escrow_id)
            if not self._agents.acts_for(caller_id, escrow["payee_id"]):
                raise RefusedError(403, "forbidden", "Only the counterparty can mark the task complete")
            self._require("complete", escrow, ("funded",))
            return self._change(escrow, "completed", caller_id, "completed_at")

    def release(self, escrow_id: str, caller_id: str, *, fail_after_credit: bool = False) -> sqlite3.Row:
        """Pay the payee, the fee and the referrer.

        The published server credits first and changes the status second, without a transaction around both.
        `fail_after_credit` stops between the two: paid, still open, and 500 `release_failed` now and for ever.
        """
        with self._database.transaction():
            escrow = self.get(escrow_id)
            if not self._agents.acts_for(caller_id, escrow["payer_id"]):
                raise RefusedError(403, "forbidden", "Only the escrow creator can release funds")
            self._require("release", escrow, OPEN)
            if not self._is_already_paid(escrow):
                self._pay(escrow)
                if not fail_after_credit:
                    return self._change(escrow, "released", caller_id, "settled_at")
        raise RefusedError(500, "release_failed", "Failed to release funds. Contact support.")

    def dispute(self, escrow_id: str, caller_id: str, reason: str, *, judged_status: str | None = None) -> sqlite3.Row:
        """Freeze the money until a person decides (`resolve`).

        The published server judges a dispute by the status that it read before the body had come. With that as
        `judged_status`, an escrow that was settled meanwhile stays so, but the dispute is recorded as done.
        """
        with self._database.transaction():
            escrow = self.get(escrow_id)
            if not any(self._agents.acts_for(caller_id, escrow[party]) for party in ("payer_id", "payee_id")):
                raise RefusedError(403, "forbidden", "Only escrow participants can dispute")
            if judged_status in OPEN and escrow["status"] not in OPEN:
                self._record(escrow_id, "disputed", caller_id, reason)
                return escrow
            self._require("dispute", escrow, OPEN)
            return self._change(escrow, "disputed", caller_id, "disputed_at", reason)

    def cancel(self, escrow_id: str, caller_id: str) -> sqlite3.Row:
        """Give the whole amount back to the payer, without a fee, as long as the work is not marked done."""
        with self._database.transaction():
            escrow = self.get(escrow_id)
            if not self._agents.acts_for(caller_id, escrow["payer_id"]):
                raise RefusedError(403, "forbidden", "Only the escrow creator can cancel")
            self._require("cancel", escrow, ("funded",))
            if self._is_already_paid(escrow):
                raise RefusedError(500, "cancel_failed", "Failed to cancel. Contact support.")
            back = Target(wallet(escrow["payer_id"]), escrow["amount"], "refunded")
            self._ledger.post("cancel", held(escrow_id), [back], escrow_id)
            return self._change(escrow, "cancelled", caller_id, "settled_at")

    def any_open(self) -> bool:
        """Whether money is locked that its payer may yet release, dispute or cancel."""
        with self._database.transaction() as connection:
            return (
                connection.execute("SELECT 1 FROM escrows WHERE status IN (?, ?) LIMIT 1", OPEN).fetchone() is not None
            )

    # --- acts of the service

    def refund_due(self) -> int:
        """Return every open escrow whose time is up to its payer, completed work too, 1 % kept. Returns how many."""
        with self._database.transaction() as connection:
            due = connection.execute(
                "SELECT * FROM escrows WHERE status IN ('funded', 'completed') AND auto_release_at <= ?",
                (self._clock.now(),),
            ).fetchall()
            due = [escrow for escrow in due if not self._is_already_paid(escrow)]
            for escrow in due:
                self._refund(escrow, None, f"Auto-refunded after {escrow['timeout_hours']}h timeout")
        return len(due)

    def resolve(self, escrow_id: str, *, release: bool) -> sqlite3.Row:
        """What the service's support does by hand: end a dispute, or finish a release that failed half-way."""
        with self._database.transaction():
            escrow = self.get(escrow_id)
            self._require("resolve", escrow, ("disputed", *OPEN))
            paid = self._is_already_paid(escrow)
            if paid and not release:
                raise RefusedError(409, "invalid_status", "The payee is already paid; only release can be recorded")
            if not release:
                return self._refund(escrow, None, "Refunded by support")
            if not paid:
                self._pay(escrow)
            return self._change(escrow, "released", None, "settled_at", "Released by support")

    # --- steps, each inside its act's transaction

    def _require_funds(self, payer_id: str, terms: Terms) -> None:
        """The wallet must hold the amount in the books, and as binary floats add up where that is asked for."""
        exact = self._ledger.balance(wallet(payer_id))
        shown, wanted = exact / MICRO, terms.amount / MICRO
        if terms.as_double is not None:
            shown, wanted = self._ledger.float_balance(wallet(payer_id)), terms.as_double
        if shown < wanted or exact < terms.amount:
            raise RefusedError(402, "insufficient_balance", "The wallet holds less than the amount", balance=shown)

    def _charges(self, payer_id: str, terms: Terms) -> tuple[int, int, str | None]:
        referrer_id = self._agents.referrer_for(payer_id, terms.referral_code)
        amount = Usdc(terms.amount)
        return amount.fee().micro, amount.referral().micro if referrer_id else 0, referrer_id

    def _require(self, act: str, escrow: sqlite3.Row, statuses: tuple[str, ...]) -> None:
        if escrow["status"] not in statuses:
            raise RefusedError(409, "invalid_status", f"Cannot {act} escrow in status '{escrow['status']}'")

    def _is_already_paid(self, escrow: sqlite3.Row) -> bool:
        return self._ledger.balance(held(escrow["id"])) == 0

    def _pay(self, escrow: sqlite3.Row) -> None:
        targets = [Target(wallet(escrow["payee_id"]), escrow["amount"] - escrow["fee"], "paid"), *_fee_targets(escrow)]
        self._ledger.post("release", held(escrow["id"]), targets, escrow["id"])

    def _refund(self, escrow: sqlite3.Row, actor_id: str | None, note: str) -> sqlite3.Row:
        back = Target(wallet(escrow["payer_id"]), escrow["amount"] - escrow["fee"], "refunded")
        self._ledger.post("refund", held(escrow["id"]), [back, *_fee_targets(escrow)], escrow["id"])
        return self._change(escrow, "refunded", actor_id, "settled_at", note)

    def _change(
        self, escrow: sqlite3.Row, status: str, actor_id: str | None, stamp: str, note: str = ""
    ) -> sqlite3.Row:
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE escrows SET status = ?, {stamp} = ? WHERE id = ?",  # noqa: S608 - `stamp` is one of our columns
                (status, self._clock.now(), escrow["id"]),
            )
            self._record(escrow["id"], status, actor_id, note)
            return self.get(escrow["id"])

    def _record(self, escrow_id: str, event: str, actor_id: str | None, note: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO events (escrow_id, event, actor_id, note, created_at) VALUES (?, ?, ?, ?, ?)",
                (escrow_id, event, actor_id, note, self._clock.now()),
            )


def _fee_targets(escrow: sqlite3.Row) -> list[Target]:
    targets = [Target(FEES, escrow["fee"] - escrow["referral"], "fee")]
    if escrow["referrer_id"]:
        targets.append(Target(wallet(escrow["referrer_id"]), escrow["referral"], "referral"))
    return targets
