"""Where every cent came from and went: the books as one document, for people, programs and auditors."""

import csv
import io
import sqlite3
from typing import Any, Final

from runtime.money import MICRO, Usdc
from runtime.sandbox.clock import iso_time
from runtime.sandbox.ledger import audit
from runtime.sandbox.rest import Service

MOVEMENT_FIELDS: Final = ("entry", "at", "kind", "escrow_id", "from", "to", "role", "amount_usdc")

_MOVEMENTS: Final = """
SELECT entries.id AS entry, entries.at, entries.kind, entries.escrow_id, target.amount, target.role,
       payer.kind AS from_kind, payer.holder AS from_holder, payee.kind AS to_kind, payee.holder AS to_holder
  FROM entries
  JOIN legs AS target ON target.entry_id = entries.id AND target.role <> 'source'
  JOIN legs AS source ON source.entry_id = entries.id AND source.role = 'source'
  JOIN accounts AS payee ON payee.id = target.account_id
  JOIN accounts AS payer ON payer.id = source.account_id
 ORDER BY entries.id DESC, target.rowid LIMIT ?
"""

_TOTALS: Final = """
SELECT ifnull(sum(amount) FILTER (WHERE role = 'deposited'), 0) AS deposited,
       ifnull(sum(amount) FILTER (WHERE role = 'granted'), 0) AS granted,
       ifnull(sum(amount) FILTER (WHERE role = 'locked'), 0) AS locked,
       ifnull(sum(amount) FILTER (WHERE role = 'paid'), 0) AS paid,
       ifnull(sum(amount) FILTER (WHERE role = 'fee'), 0) AS fee,
       ifnull(sum(amount) FILTER (WHERE role = 'referral'), 0) AS referral,
       ifnull(sum(amount) FILTER (WHERE role = 'refunded'), 0) AS refunded,
       (SELECT ifnull(sum(balance), 0) FROM accounts WHERE kind = 'escrow') AS held,
       (SELECT ifnull(sum(balance), 0) FROM accounts WHERE kind = 'wallet') AS in_wallets
  FROM legs
"""


def statement(service: Service) -> dict[str, Any]:
    """The whole ledger, amounts as decimal text in USDC, oldest first.

    `totals` obey two identities: locked = paid + fee + referral + refunded + held, and what came in
    (deposited + granted) = in_wallets + held + fee. `balanced` says that both hold and that the audit found nothing.
    """
    with service.database.snapshot() as connection:
        return statement_summary(connection, service.clock.now()) | {
            "accounts": accounts(connection),
            "escrows": escrows(connection),
            "entries": movements(connection)[::-1],
        }


def statement_summary(connection: sqlite3.Connection, now: int) -> dict[str, Any]:
    """The head of the statement: totals and whether the books balance."""
    totals = dict(connection.execute(_TOTALS).fetchone())
    findings = audit(connection) + _broken_identities(totals)
    return {
        "generated_at": iso_time(now),
        "currency": "USDC",
        "balanced": not findings,
        "findings": findings,
        "totals": {name: usdc(micros) for name, micros in totals.items()},
    }


def statement_csv(service: Service) -> str:
    """Every movement as one row, oldest first; the columns are `MOVEMENT_FIELDS`."""
    with service.database.snapshot() as connection:
        rows = movements(connection)[::-1]
    text = io.StringIO()
    writer = csv.DictWriter(text, MOVEMENT_FIELDS)
    writer.writeheader()
    # An id is free text: one that starts like a formula must stay text in a spreadsheet.
    writer.writerows({k: f"'{v}" if str(v)[:1] in "=+-@\t\r" and v else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def usdc(micros: int) -> str:
    """Micro-USDC as decimal text; an account that owes is below zero."""
    return str(Usdc(micros)) if micros >= 0 else f"-{Usdc(-micros)}"


def accounts(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Every account with its balance, emptied escrow accounts left out."""
    rows = connection.execute(
        "SELECT kind, holder, balance FROM accounts WHERE kind <> 'escrow' OR balance <> 0"
        " ORDER BY kind = 'escrow', kind, holder"
    )
    return [{"account": _name(row["kind"], row["holder"]), "balance_usdc": usdc(row["balance"])} for row in rows]


def escrows(connection: sqlite3.Connection, limit: int = -1) -> list[dict[str, Any]]:
    """Escrows, oldest first; with a limit the newest ones, newest first.

    `settled_by` is the money's view (`release`, `refund`, `cancel` or null): a release that stopped half-way is paid
    although its status still says open.
    """
    order = "rowid" if limit < 0 else "rowid DESC"
    settled_by = "(SELECT kind FROM entries WHERE escrow_id = escrows.id AND kind <> 'lock')"
    rows = connection.execute(f"SELECT *, {settled_by} AS settled_by FROM escrows ORDER BY {order} LIMIT ?", (limit,))  # noqa: S608
    return [_escrow(row) for row in rows]


def movements(connection: sqlite3.Connection, limit: int = -1) -> list[dict[str, Any]]:
    """Every movement of money, newest first: a row for each receiving leg."""
    return [
        {
            "entry": row["entry"],
            "at": iso_time(row["at"]),
            "kind": row["kind"],
            "escrow_id": row["escrow_id"],
            "from": _name(row["from_kind"], row["from_holder"]),
            "to": _name(row["to_kind"], row["to_holder"]),
            "role": row["role"],
            "amount_usdc": usdc(row["amount"]),
        }
        for row in connection.execute(_MOVEMENTS, (limit,))
    ]


def _escrow(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "escrow_id": row["id"],
        "status": row["status"],
        "settled_by": row["settled_by"],
        "from": row["payer_id"],
        "to": row["payee_id"],
        "locked_usdc": usdc(row["amount"]),
        "fee_usdc": usdc(row["fee"]),
        "referral_usdc": usdc(row["referral"]),
        "paid_usdc": usdc(row["amount"] - row["fee"] if row["settled_by"] == "release" else 0),
        "description": row["description"],
        "created_at": iso_time(row["created_at"]),
        "settled_at": iso_time(row["settled_at"]),
    }


def _broken_identities(totals: dict[str, int]) -> list[str]:
    out = totals["paid"] + totals["fee"] + totals["referral"] + totals["refunded"] + totals["held"]
    have = totals["in_wallets"] + totals["held"] + totals["fee"]
    came = totals["deposited"] + totals["granted"]
    findings = (
        [] if totals["locked"] == out else [f"{totals['locked'] / MICRO} was locked, {out / MICRO} is accounted for"]
    )
    return findings if came == have else [*findings, f"{came / MICRO} came in, {have / MICRO} is there"]


def _name(kind: str, holder: str) -> str:
    return f"{kind}:{holder}" if holder else kind
