"""Double-entry books in integer micro-USDC: accounts, entries, and the proof that they balance."""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from runtime.money import MICRO
from runtime.sandbox.clock import Clock
from runtime.sandbox.database import Database


class AccountKind(StrEnum):
    """What an account stands for; `holder` is an agent's id, an escrow's id, or empty."""

    WALLET = "wallet"
    ESCROW = "escrow"
    FEES = "fees"
    FAUCET = "faucet"
    DEPOSITS = "deposits"
    """The outside world: as much below zero as was ever deposited."""


@dataclass(frozen=True)
class Account:
    """Names one account."""

    kind: AccountKind
    holder: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.holder}" if self.holder else str(self.kind)


FEES = Account(AccountKind.FEES)
FAUCET = Account(AccountKind.FAUCET)
DEPOSITS = Account(AccountKind.DEPOSITS)


def wallet(agent_id: str) -> Account:
    """Where an agent's money lies."""
    return Account(AccountKind.WALLET, agent_id)


def held(escrow_id: str) -> Account:
    """Where one escrow's money lies until it is settled."""
    return Account(AccountKind.ESCROW, escrow_id)


@dataclass(frozen=True)
class Target:
    """The receiving side of an entry: who gets how many micro-USDC, and as what."""

    account: Account
    micros: int
    role: str


class Ledger:
    """Writes entries and answers for balances; the database refuses what would not balance."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def post(self, kind: str, source: Account, targets: list[Target], escrow_id: str | None = None) -> int:
        """Write one entry from `source` to `targets`; a target of nothing is left out. Returns the entry's number."""
        legs = [target for target in targets if target.micros]
        with self._database.transaction() as connection:
            entry_id = connection.execute("SELECT ifnull(max(id), 0) + 1 FROM entries").fetchone()[0]
            rows = [(entry_id, self._account_id(t.account), t.micros, t.role) for t in legs]
            rows.append((entry_id, self._account_id(source), -sum(t.micros for t in legs), "source"))
            connection.executemany("INSERT INTO legs VALUES (?, ?, ?, ?)", rows)
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?)", (entry_id, self._clock.now(), kind, escrow_id)
            )
        return entry_id

    def balance(self, account: Account) -> int:
        """Micro-USDC in an account; 0 for one that never had an entry."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT balance FROM accounts WHERE kind = ? AND holder = ?", (account.kind, account.holder)
            ).fetchone()
        return row["balance"] if row else 0

    def float_balance(self, account: Account) -> float:
        """USDC in an account as binary floats add it up, leg by leg. Never booked: only decided by and shown."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT float_balance FROM accounts WHERE kind = ? AND holder = ?", (account.kind, account.holder)
            ).fetchone()
        return row["float_balance"] if row else 0.0

    def newest(self, account: Account, limit: int) -> list[tuple[sqlite3.Row, int, float]]:
        """What changed an account, newest first, and what it held then: in micro-USDC, and as `float_balance` has it.

        A row has the entry's id, time, kind and escrow, and the amount in micro-USDC.
        """
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT entries.id, at, entries.kind, escrow_id, amount"
                " FROM legs JOIN entries ON entries.id = entry_id JOIN accounts ON accounts.id = account_id"
                " WHERE accounts.kind = ? AND holder = ? ORDER BY entries.id, legs.rowid",
                (account.kind, account.holder),
            ).fetchall()
        exact = accumulate(row["amount"] for row in rows)
        floats = accumulate(row["amount"] / MICRO for row in rows)
        return list(zip(rows, exact, floats, strict=True))[: -limit - 1 : -1]

    def deposit(self, agent_id: str, micros: int) -> None:
        """Money from outside into an agent's wallet."""
        self.post("deposit", DEPOSITS, [Target(wallet(agent_id), micros, "deposited")])

    def audit(self) -> list[str]:
        """Prove the books from the legs up. Returns what is wrong, in words; an empty list is a clean bill."""
        with self._database.snapshot() as connection:
            return audit(connection)

    def _account_id(self, account: Account) -> int:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO accounts (kind, holder) VALUES (?, ?)", (account.kind, account.holder)
            )
            return connection.execute(
                "SELECT id FROM accounts WHERE kind = ? AND holder = ?", (account.kind, account.holder)
            ).fetchone()["id"]


def audit(connection: sqlite3.Connection) -> list[str]:
    """`Ledger.audit` on a snapshot that the caller holds."""
    return [row["finding"] for row in connection.execute(_AUDIT)]


_AUDIT = """
SELECT 'the ledger sums to ' || total || ' instead of 0' AS finding
  FROM (SELECT ifnull(sum(amount), 0) AS total FROM legs) WHERE total <> 0
UNION ALL
SELECT 'entry ' || entry_id || ' sums to ' || sum(amount) FROM legs GROUP BY entry_id HAVING sum(amount) <> 0
UNION ALL
SELECT 'account ' || kind || ':' || holder || ' says ' || balance || ', its legs say ' || total FROM (
  SELECT kind, holder, balance, (SELECT ifnull(sum(amount), 0) FROM legs WHERE account_id = accounts.id) AS total
    FROM accounts) WHERE balance <> total
UNION ALL
SELECT 'escrow ' || escrows.id || ' is ' || status || ' but holds ' || ifnull(balance, 0)
  FROM escrows LEFT JOIN accounts ON kind = 'escrow' AND holder = escrows.id
 WHERE CASE WHEN status IN ('released', 'refunded', 'cancelled') THEN ifnull(balance, 0) <> 0
            ELSE ifnull(balance, 0) NOT IN (0, amount) END
UNION ALL
SELECT 'escrow ' || escrow_id || ' was settled ' || count(*) || ' times'
  FROM entries WHERE kind IN ('release', 'refund', 'cancel') GROUP BY escrow_id HAVING count(*) > 1
"""
