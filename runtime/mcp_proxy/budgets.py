"""What this pod has spent and what a person has approved: SQLite, written down before a call's first byte is sent.

A call that locks money is one row. It is reserved as `sent`, in the transaction that finds that every budget holds it,
so that two calls at one moment never share the last dollar. What follows from its answer is noted afterwards:

    sent      it may have been carried out: charged, and the same call is not sent again without a person's word
    done      it was carried out: charged
    refused   it was not: not charged
    asked     the server asks something back first: charged, and the call that brings the answer is the same one

Without a directory all of it is in memory, where no budget can be kept: a restart would forget what was spent.
"""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from runtime.errors import BadInput
from runtime.mcp_proxy.message import Reason
from runtime.mcp_proxy.rules import Budget, OnExceed, Refused, Window
from runtime.money import Usdc

T = TypeVar("T")

FILE: Final = "spending.db"
_BUSY_SECONDS: Final = 5
_APPROVAL_SECONDS: Final = 24 * 3600
_PENDING: Final = 100
"""Requests for approval that are kept; an agent could make any number."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, day TEXT NOT NULL, tool TEXT NOT NULL, fingerprint TEXT NOT NULL,
    micro INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('sent', 'done', 'refused', 'asked'))
) STRICT;
CREATE INDEX IF NOT EXISTS calls_by_fingerprint ON calls (fingerprint, state);
CREATE TABLE IF NOT EXISTS approvals (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, fingerprint TEXT NOT NULL, tool TEXT NOT NULL, what TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used'))
) STRICT;
"""


class Fate(StrEnum):
    """What a reserved call's answer says."""

    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Spending:
    """One call that locks money.

    Args:
        fingerprint: By which the same call is known again.
        amount: What it locks; None where no rule needs it and it cannot be read.
        payee: For the person who approves.
        resumes: Whether it brings the answers to what the server asked.
    """

    server: str
    tool: str
    fingerprint: str
    amount: Usdc | None
    payee: str
    resumes: bool = False

    @property
    def name(self) -> str:
        """As budgets name it."""
        return f"{self.server}/{self.tool}"

    @property
    def micro(self) -> int:
        """What is charged, in micro-USDC."""
        return self.amount.micro if self.amount is not None else 0


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits for a person."""

    id: str
    tool: str
    what: str
    state: str


class Ledger:
    """The file; used from one thread of its own, since a disk may be slow and no other call shall wait for it.

    Args:
        directory: Where it is kept; None for memory.
        create: Whether to make it where there is none.

    Raises:
        BadInput: It cannot be used.
    """

    def __init__(self, directory: Path | None, *, create: bool = True) -> None:
        self.durable = directory is not None
        file = directory / FILE if directory else None
        if file and not create and not file.exists():
            raise BadInput(f"there is no {file}: no sidecar has kept its books here")
        try:
            self._connection = sqlite3.connect(
                file or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            if file:
                self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise BadInput(f"{file} cannot be used: {error}") from None
        self._thread = ThreadPoolExecutor(1, "ledger") if file else None

    async def reserve(self, spending: Spending, budgets: Iterable[Budget]) -> int:
        """Charge a call before it is sent; returns its row.

        Raises:
            Refused: A budget does not hold it, or the same call was sent before and its fate is not known.
        """
        counting = [budget for budget in budgets if budget.counts(spending.server, spending.tool)]
        try:
            return await self._run(lambda: self._reserve(spending, counting))
        except sqlite3.Error as error:
            raise Refused(
                Reason.STATE, f"What is spent cannot be written down ({error}), so nothing was sent. Try again later."
            ) from None

    async def note(self, row: int, fate: Fate) -> None:
        """What became of a reserved call. Raises sqlite3.Error; it stays charged then."""
        await self._run(lambda: self._connection.execute("UPDATE calls SET state = ? WHERE id = ?", (fate, row)))

    def spent(self, budget: Budget) -> Usdc:
        """What is charged to a budget now."""
        named = sorted(budget.tools)
        query = "SELECT ifnull(sum(micro), 0) FROM calls WHERE state != 'refused'"
        if named:
            query += f" AND tool IN ({', '.join('?' * len(named))})"
        if budget.window is Window.DAY:
            query, named = query + " AND day = ?", [*named, _today()]
        return Usdc(self._connection.execute(query, named).fetchone()[0])

    def approvals(self) -> list[Approval]:
        """What waits for a person or was decided in the last day, oldest first."""
        rows = self._connection.execute(
            "SELECT id, tool, what, state FROM approvals WHERE at > ? ORDER BY at, rowid", (_now() - _APPROVAL_SECONDS,)
        )
        return [Approval(*row) for row in rows]

    def decide(self, approval_id: str, *, approve: bool) -> Approval:
        """A person's decision about a call. Raises BadInput where there is nothing to decide."""
        found = next((each for each in self.approvals() if each.id == approval_id), None)
        if found is None or found.state != "pending":
            state = "is not known" if found is None else f"is {found.state} already"
            raise BadInput(f"{approval_id} {state}; `list` shows what waits for a decision")
        state = "approved" if approve else "denied"
        self._connection.execute("UPDATE approvals SET state = ?, at = ? WHERE id = ?", (state, _now(), approval_id))
        return Approval(found.id, found.tool, found.what, state)

    def close(self) -> None:
        """Close the file."""
        if self._thread:
            self._thread.shutdown()
        self._connection.close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            return work()
        # Shielded: an insert that nobody waits for any more is carried out all the same, and stays charged.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _reserve(self, spending: Spending, budgets: list[Budget]) -> int:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = self._reserved(spending, budgets)
            connection.execute("COMMIT")
            return row
        except Refused:
            connection.execute("COMMIT")  # with the request for approval that it may have written
            raise
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _reserved(self, spending: Spending, budgets: list[Budget]) -> int:
        if spending.resumes and (asked := self._row(spending, "asked")) is not None:
            self._connection.execute("UPDATE calls SET state = 'sent' WHERE id = ?", (asked,))
            return asked
        needs = self._doubts(spending)
        for budget in budgets:
            spent = self.spent(budget)
            if spent.micro + spending.micro > budget.limit.micro:
                needs.append(_exceeded(budget, spent, spending))
                if budget.on_exceed is OnExceed.DENY:
                    raise needs[-1]
        if needs and not self._approved(spending):
            raise self._with_approval(spending, needs[-1])
        inserted = self._connection.execute(
            "INSERT INTO calls (at, day, tool, fingerprint, micro, state) VALUES (?, ?, ?, ?, ?, 'sent')",
            (_now(), _today(), spending.name, spending.fingerprint, spending.micro),
        )
        assert inserted.lastrowid is not None  # noqa: S101 - it was inserted
        return inserted.lastrowid

    def _doubts(self, spending: Spending) -> list[Refused]:
        if self._row(spending, "sent") is None:
            return []
        return [
            Refused(
                Reason.REPEATED,
                "This very call was sent before, and whether it was carried out is not known; it was not sent again. "
                "Look first whether the escrow exists. If it does not, or a second one is meant, say so in the "
                "description, which makes it another call.",
            )
        ]

    def _row(self, spending: Spending, state: str) -> int | None:
        found = self._connection.execute(
            "SELECT id FROM calls WHERE fingerprint = ? AND state = ? LIMIT 1", (spending.fingerprint, state)
        ).fetchone()
        return found[0] if found else None

    def _approved(self, spending: Spending) -> bool:
        """Use up a person's approval of this very call."""
        used = self._connection.execute(
            "UPDATE approvals SET state = 'used' WHERE rowid = (SELECT rowid FROM approvals"
            " WHERE fingerprint = ? AND state = 'approved' AND at > ? LIMIT 1)",
            (spending.fingerprint, _now() - _APPROVAL_SECONDS),
        )
        return used.rowcount == 1

    def _with_approval(self, spending: Spending, refusal: Refused) -> Refused:
        """The refusal, with the way past it: a request for approval, one for each call."""
        if not self.durable:  # nobody else could see it
            return refusal
        since = _now() - _APPROVAL_SECONDS
        found = self._connection.execute(
            "SELECT id, state FROM approvals WHERE fingerprint = ? AND state IN ('pending', 'denied') AND at > ?",
            (spending.fingerprint, since),
        ).fetchone()
        if found and found[1] == "denied":
            return Refused(refusal.reason, f"{refusal.text} A person was asked and said no: do not ask again.")
        approval_id = found[0] if found else f"ap-{secrets.token_hex(4)}"
        if not found:
            amount = f"{spending.amount} USDC" if spending.amount is not None else "an amount that cannot be read"
            self._connection.execute(
                "INSERT INTO approvals VALUES (?, ?, ?, ?, ?, 'pending')",
                (approval_id, _now(), spending.fingerprint, spending.name, f"{amount} for {spending.payee}"),
            )
            self._connection.execute(
                "DELETE FROM approvals WHERE state = 'pending' AND rowid NOT IN"
                " (SELECT rowid FROM approvals WHERE state = 'pending' ORDER BY rowid DESC LIMIT ?)",
                (_PENDING,),
            )
        reason = refusal.reason if refusal.reason is Reason.REPEATED else Reason.APPROVAL
        asks = f"A person can approve it as {approval_id}; then make the same call again, with the same arguments."
        return Refused(reason, f"{refusal.text} {asks}", approval=approval_id)


def _exceeded(budget: Budget, spent: Usdc, spending: Spending) -> Refused:
    left = Usdc(max(0, budget.limit.micro - spent.micro))
    period = "today" if budget.window is Window.DAY else "in this pod's life"
    return Refused(
        Reason.BUDGET,
        f"{spending.amount} USDC is more than the {left} USDC left of the budget {budget.name!r}, {budget.limit} USDC "
        f"{period}. Nothing was sent. Another key or agent id of yours changes nothing, the budget is this pod's: "
        "ask for less, or stop and say so.",
    )


def _now() -> int:
    return int(time.time())


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())
