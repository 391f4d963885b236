"""The ledgers of Fly.io agents as lines of a statement, from the copies that `runtime.agent.books backup` makes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from runtime.contract import LEDGER_APPLICATION_ID, LEDGER_VERSION, LedgerState
from runtime.errors import BadInput
from runtime.money import Usdc
from runtime.settlement.table import Outcome
from runtime.statement.lines import Facts, Line, filled
from runtime.statement.period import Period

_OUTCOMES: Final = {
    LedgerState.RELEASED: Outcome.PAID,
    LedgerState.COMPLETED: Outcome.COMPLETED,
    LedgerState.CANCELLED: Outcome.CANCELLED,
    LedgerState.DISPUTED: Outcome.DISPUTED,
    LedgerState.REFUNDED: Outcome.REFUNDED,
}
_OWN: Final = "SELECT *, (SELECT app FROM ledger) AS app FROM escrows WHERE state <> 'declined' ORDER BY created_ms, id"


class FlyLedgers:
    """Several, one line an inference; one that is in two copies counts once.

    Args:
        files: The copies. One without its `-wal` may lack its newest rows, so a Machine's own file is no copy.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.doubts: list[str] = []
        """Creates of which nobody knows what they locked, in words."""

    def lines(self, period: Period) -> Iterator[Line]:
        """Every line of the period. Raises BadInput: A file is no ledger, or not whole."""
        seen: set[str] = set()
        for file in self._files:
            for row in _rows(file):
                if row["id"] in seen:
                    continue
                seen.add(row["id"])
                if row["escrow_id"] is None:
                    amount = Usdc(row["amount_micro"])
                    self.doubts.append(f"{row['app']}/{row['id']}: a create of {amount} USDC has no known outcome")
                elif (line := _line(row, period)) is not None:
                    yield line


def _rows(file: Path) -> list[sqlite3.Row]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
            ledger.row_factory = sqlite3.Row
            found = [ledger.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            if found != [LEDGER_APPLICATION_ID, LEDGER_VERSION]:
                raise BadInput(f"--ledger {file}: is no ledger of a Fly agent of version {LEDGER_VERSION}")
            if (verdict := ledger.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise BadInput(f"--ledger {file}: is damaged: {verdict}")
            return ledger.execute(_OWN).fetchall()
    except sqlite3.Error as error:
        raise BadInput(f"--ledger {file}: {error}") from None


def _line(row: sqlite3.Row, period: Period) -> Line | None:
    state = LedgerState(row["state"])
    outcome = _OUTCOMES.get(state)
    line = Line(
        namespace=row["app"],
        name=row["id"],
        uid=row["id"],
        kind="Inference",
        work=row["id"],
        agent=row["app"],
        payee=row["payee"],
        region=row["region"],
        labels={"machine": row["machine"], "payer": row["payer"]},
        escrow_id=row["escrow_id"],
        phase=state,
        outcome=outcome.value if outcome else "",
        locked_at=_moment(row["created_ms"]),
        closed_at=None if row["settled_ms"] is None else _moment(row["settled_ms"]),
    )
    facts = Facts(
        amount=row["amount_micro"],
        settled=outcome is not None,
        review=state is LedgerState.REVIEW,
        outcome=outcome,
        paid=row["paid_micro"],
        fee=row["fee_micro"],
    )
    return line if line.locked_at < period.end and filled(line, facts, period) else None


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
