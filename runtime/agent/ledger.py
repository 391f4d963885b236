"""The ledger: one row an inference, written before anything is sent. `schema.sql` says what stands in it.

What must not come apart is in one transaction: that an inference began and that its escrow is about to be created; that
its work ended, with its result, and that the escrow is about to be released or cancelled.
"""

import asyncio
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from runtime.agent.database import Database
from runtime.contract import LEDGER_APPLICATION_ID, LEDGER_FILE, LEDGER_RESTORED, LEDGER_VERSION, LedgerState, Phase
from runtime.errors import BadInput
from runtime.money import Usdc
from runtime.payments.creation import Creation
from runtime.settlement.record import JournalConflict, LastAnswer, Settlement, from_json, to_json
from runtime.settlement.table import ActResult, Intent, Outcome

OPEN: Final = (LedgerState.CREATING, LedgerState.LOCKED, LedgerState.SETTLING)
FREE_AGAIN: Final = (LedgerState.CANCELLED, LedgerState.DECLINED)
"""They cost nothing, so that their idempotency key may be used again."""

_ENDS: Final = {
    Outcome.PAID: LedgerState.RELEASED,
    Outcome.COMPLETED: LedgerState.COMPLETED,
    Outcome.CANCELLED: LedgerState.CANCELLED,
    Outcome.DISPUTED: LedgerState.DISPUTED,
    Outcome.REFUNDED: LedgerState.REFUNDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """One row. Amounts are micro-USDC and times milliseconds, as in the file; see `schema.sql`."""

    id: str
    slot: int
    idempotency_key: str | None
    fingerprint: str
    payer: str
    payee: str
    amount_micro: int
    region: str
    machine: str
    created_ms: int
    state: LedgerState = LedgerState.CREATING
    escrow_id: str | None = None
    sent_ms: int = 0
    creates: int = 0
    intent: Intent | None = None
    result: str | None = None
    note: str = ""
    version: int = 0
    settlement: str | None = None
    answer: str | None = None
    answered_ms: int | None = None
    attempts: int = 0
    paid_micro: int | None = None
    fee_micro: int | None = None
    settled_ms: int | None = None

    @property
    def amount(self) -> Usdc:
        """What is locked."""
        return Usdc(self.amount_micro)


COLUMNS: Final = tuple(each.name for each in fields(Inference))
_INSERT: Final = f"INSERT INTO escrows ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})"  # noqa: S608
_BY_KEY: Final = "idempotency_key = ? AND state NOT IN ('cancelled', 'declined')"


class KeyTaken(Exception):
    """The idempotency key, or the escrow that was brought, belongs to another inference."""

    def __init__(self, inference: Inference) -> None:
        super().__init__(inference.id)
        self.inference = inference


class EscrowTaken(Exception):
    """The service named an escrow as new that pays for another inference."""


def now_ms() -> int:
    """The time as rows have it."""
    return time.time_ns() // 1_000_000


class Ledger:
    """An opened ledger; `close` it.

    Args:
        folder: On the volume.
        app: Whose it is.
        wallet: Who is paid by it.
        slot: Which server process of the Machine this is: it finishes what this slot began.

    Raises:
        BadInput: Another process has the slot; the file is damaged, of a newer version, or somebody else's.
    """

    def __init__(self, folder: Path, app: str, wallet: str, slot: int = 0) -> None:
        self.slot = slot
        self._restored = folder / LEDGER_RESTORED
        self._lock = locked(folder, slot)
        try:
            self.database = _opened(folder / LEDGER_FILE, app, wallet)
        except BaseException:
            os.close(self._lock)
            raise
        self.database.has_room()

    @property
    def unconfirmed(self) -> str:
        """Why nothing new may begin on a ledger that was restored; empty otherwise."""
        if not self._restored.exists():
            return ""
        return "the ledger was restored: compare it with the payment service, then `books confirm`"

    def close(self) -> None:
        """Close the file and give up the slot."""
        self.database.close()
        os.close(self._lock)

    async def begin(self, inference: Inference) -> None:
        """Put it on record. Raises `KeyTaken`, `LedgerFull`."""

        def write(db: sqlite3.Connection) -> None:
            for where, value in ((_BY_KEY, inference.idempotency_key), (_BY_ESCROW, inference.escrow_id)):
                if value is not None and (taken := _one(db, where, value)):
                    raise KeyTaken(taken)
            self.may_begin(db, inference)
            db.execute(_INSERT, _values(inference))

        await self.database.write(write, new=True)

    def may_begin(self, db: sqlite3.Connection, inference: Inference) -> None:
        """A rule on what is open, within the transaction that writes the row; `begin` raises what it raises."""

    async def forget(self, inference_id: str) -> None:
        """Nothing was created: as if it had never begun."""
        await self.database.write(
            lambda db: db.execute("DELETE FROM escrows WHERE id = ? AND state = 'creating'", (inference_id,)).rowcount
        )

    async def update(self, inference_id: str, **values: Any) -> None:
        """Set some columns of one row."""
        names = ", ".join(f"{name} = :{name}" for name in values)
        sql = f"UPDATE escrows SET {names} WHERE id = :id"  # noqa: S608 - names of columns, from our own calls
        await self.database.write(lambda db: db.execute(sql, {**values, "id": inference_id}).rowcount)

    async def by_id(self, inference_id: str) -> Inference | None:
        """Return one."""
        return await self.database.write(lambda db: _one(db, "id = ?", inference_id))

    async def by_escrow(self, escrow_id: str) -> Inference | None:
        """Return the one that was paid by this escrow."""
        return await self.database.write(lambda db: _one(db, _BY_ESCROW, escrow_id))

    async def unfinished(self, slots: int) -> list[Inference]:
        """What is open of this slot, whichever Machine began it; for slot 0 also of slots that are no more."""
        mine = "slot = ?" if self.slot else "(slot = ? OR slot >= ?)"
        values = (self.slot,) if self.slot else (0, slots)
        sql = f"SELECT * FROM escrows WHERE settled_ms IS NULL AND {mine} ORDER BY created_ms"  # noqa: S608
        return await self.database.write(lambda db: [_read(row) for row in db.execute(sql, values)])

    async def earnings(self) -> list[sqlite3.Row]:
        """The rows of the view `earnings`; see `totals`."""
        return await asyncio.to_thread(totals, self.database.path)


def totals(path: Path) -> list[sqlite3.Row]:
    """The rows of the view `earnings`, which reads the whole file: on a connection of its own, no payment waits for it.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM earnings").fetchall()


_BY_ESCROW: Final = "escrow_id = ? AND state <> 'declined'"


def _one(db: sqlite3.Connection, where: str, value: str) -> Inference | None:
    row = db.execute(f"SELECT * FROM escrows WHERE {where}", (value,)).fetchone()  # noqa: S608 - ours, above
    return _read(row) if row else None


def _read(row: sqlite3.Row) -> Inference:
    values = {name: row[name] for name in COLUMNS}
    values["state"] = LedgerState(values["state"])
    values["intent"] = values["intent"] and Intent(values["intent"])
    return Inference(**values)


def _values(inference: Inference) -> dict[str, Any]:
    return {name: getattr(inference, name) for name in COLUMNS}


class CreationEntry:
    """The journal of one escrow's creation, in its inference's row."""

    def __init__(self, ledger: Ledger, inference: Inference, fingerprint: str) -> None:
        self._ledger = ledger
        self.inference = inference
        self._fingerprint = fingerprint

    async def read(self, token: str) -> Creation | None:
        """Return what is on record; None before the first write."""
        row = self.inference
        if not row.creates:
            return None
        sent_at = datetime.fromtimestamp(row.sent_ms / 1000, UTC)
        return Creation(
            token=token,
            fingerprint=self._fingerprint,
            sent_at=sent_at,
            attempts=row.creates,
            escrow_id=row.escrow_id,
        )

    async def write(self, creation: Creation) -> None:
        """Write it; the first time with the inference itself. Raises `EscrowTaken`."""
        found = replace(
            self.inference,
            sent_ms=int(creation.sent_at.timestamp() * 1000),
            creates=creation.attempts,
            escrow_id=creation.escrow_id,
            state=LedgerState.LOCKED if creation.escrow_id else LedgerState.CREATING,
        )
        if not self.inference.creates:
            await self._ledger.begin(found)
        else:
            try:
                await self._ledger.update(
                    found.id, sent_ms=found.sent_ms, creates=found.creates, escrow_id=found.escrow_id, state=found.state
                )
            except sqlite3.IntegrityError:
                raise EscrowTaken(f"create: escrow {found.escrow_id} pays for another inference") from None
        self.inference = found

    async def clear(self, token: str) -> None:
        """Forget the inference: nothing was created for it."""
        await self._ledger.forget(token)
        self.inference = replace(self.inference, creates=0)


class SettlementJournal:
    """The journal of all settlements, each in its inference's row; the key is the inference's id."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.results: dict[str, str] = {}
        """What the caller gets, by key: written together with the intent."""
        self.begun: set[str] = set()
        """Keys of rows that this process has just locked: they have no record, and the first `load` asks nobody."""

    async def load(self, key: str) -> Settlement | None:
        """Return the record; of a row that another language's agent wrote, what its columns tell."""
        if key in self.begun:
            self.begun.discard(key)
            return None
        row = await self._ledger.by_id(key)
        if row is None or row.intent is None or row.escrow_id is None:
            return None
        if row.settlement is not None:
            return from_json(json.loads(row.settlement), str(row.version))
        return _from_columns(row, row.escrow_id, row.intent)

    async def write(self, record: Settlement) -> Settlement:
        """Write if nobody wrote since it was read."""
        before, state = int(record.version or 0), state_of(record)
        answer = record.answer
        values = {
            "id": record.key,
            "before": before,
            "version": before + 1,
            "state": state,
            "intent": record.intent,
            "answer": answer.kind if answer else None,
            "answered_ms": int(answer.at.timestamp() * 1000) if answer else None,
            "attempts": record.attempts,
            "paid_micro": None if record.paid is None else record.paid.micro,
            "fee_micro": None if record.fee is None else record.fee.micro,
            "note": record.evidence if state is LedgerState.REVIEW else "",
            "settlement": json.dumps(to_json(record)),
            "settled_ms": None if state is LedgerState.SETTLING else now_ms(),
            "result": self.results.get(record.key),
        }
        done = await self._ledger.database.write(lambda db: db.execute(_SETTLE, values).rowcount)
        if not done:
            raise JournalConflict(record.key)
        self.results.pop(record.key, None)
        return replace(record, version=str(before + 1))


def state_of(record: Settlement) -> LedgerState:
    """Where its row stands."""
    if record.phase is Phase.NEEDS_REVIEW:
        return LedgerState.REVIEW
    return LedgerState.SETTLING if record.outcome is None else _ENDS[record.outcome]


_SETTLE: Final = """
UPDATE escrows SET version = :version, state = :state, intent = :intent, answer = :answer, answered_ms = :answered_ms,
  attempts = :attempts, paid_micro = :paid_micro, fee_micro = :fee_micro, note = :note, settlement = :settlement,
  settled_ms = :settled_ms, result = coalesce(:result, result)
WHERE id = :id AND version = :before
"""


def _from_columns(row: Inference, escrow_id: str, intent: Intent) -> Settlement:
    at = datetime.fromtimestamp((row.answered_ms or row.created_ms) / 1000, UTC)
    return Settlement(
        row.id,
        escrow_id,
        intent,
        Phase.VERIFYING,
        "on record",
        at,
        row.amount,
        row.payee,
        row.attempts,
        LastAnswer(ActResult(row.answer), at) if row.answer else None,
        version=str(row.version),
    )


# --- opening


def locked(folder: Path, slot: int) -> int:
    """Take the slot; whoever closes the descriptor gives it up. Raises BadInput: Another agent has it."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}: mount the volume there, or set DATA_DIR")
    try:
        lock = os.open(folder / f"slot-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise BadInput(f"another agent works on {folder} (slot {slot}): each has a volume of its own") from None
    return lock


def _opened(path: Path, app: str, wallet: str) -> Database:
    try:
        database = Database(path)
    except sqlite3.Error as error:
        raise BadInput(f"{path} cannot be opened as a ledger: {error}") from None
    try:
        _check(database.connection, path, app, wallet)
    except sqlite3.Error as error:
        database.close()
        raise BadInput(f"{path} is damaged or no ledger: {error}; {_RESTORE}") from None
    except BaseException:
        database.close()
        raise
    return database


_RESTORE: Final = "put it aside and restore a copy"


def _check(db: sqlite3.Connection, path: Path, app: str, wallet: str) -> None:
    if wrong := [row[0] for row in db.execute("PRAGMA quick_check") if row[0] != "ok"]:
        raise BadInput(f"{path} is damaged: {'; '.join(wrong[:3])}; {_RESTORE}")
    db.execute("BEGIN IMMEDIATE")
    try:
        _create_or_recognize(db, path, app, wallet)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _create_or_recognize(db: sqlite3.Connection, path: Path, app: str, wallet: str) -> None:
    version, owner = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    if not tables:
        for statement in _statements(files("runtime.agent").joinpath("schema.sql").read_text(encoding="utf-8")):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {LEDGER_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")
        db.execute("INSERT INTO ledger VALUES (1, ?, ?, ?)", (app, wallet, now_ms()))
    elif owner != LEDGER_APPLICATION_ID:
        raise BadInput(f"{path} is no agent's ledger, it has {', '.join(tables[:3])}: is this another app's volume?")
    elif version != LEDGER_VERSION:
        which = "the newer program again" if version > LEDGER_VERSION else "the program that wrote it, and ask there"
        raise BadInput(f"{path} has version {version}, this program knows {LEDGER_VERSION}: deploy {which}")
    else:
        theirs = db.execute("SELECT app, wallet FROM ledger").fetchone()
        if tuple(theirs) != (app, wallet):
            raise BadInput(
                f"{path} is the ledger of app {theirs[0]} with wallet {theirs[1]}, not of {app} with {wallet}: "
                "mount that app's own volume, or set AGENT_WALLET back and deploy a new app for the new wallet"
            )


def _statements(script: str) -> Iterable[str]:
    """One after the other: `executescript` would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
