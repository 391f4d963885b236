"""`python -m runtime.agent.books`: the ledger for a person, while the agent runs: what waits, a copy, a decision.

On a Machine: `fly ssh console -C "python -m runtime.agent.books"`.
"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from runtime.agent.ledger import now_ms
from runtime.agent.restoring import confirm, decided, restore
from runtime.agent.settings import MachineSettings
from runtime.contract import LEDGER_APPLICATION_ID, LEDGER_FILE, ExitCode, FlyEnv, LedgerState
from runtime.errors import BadInput
from runtime.money import Usdc
from runtime.payments.model import checked_escrow_id
from runtime.service import Kind, Program, Start

_DECISIONS: Final = {
    LedgerState.RELEASED: "release",
    LedgerState.CANCELLED: "cancel",
    LedgerState.DISPUTED: "dispute",
    LedgerState.REFUNDED: "cancel",
    LedgerState.DECLINED: None,
}
"""What a review can be resolved as, and the intent that this means; `declined`: there is no escrow."""


def run(start: Start[MachineSettings]) -> int:
    """Do what the arguments say."""
    chosen = start.arguments
    if chosen.verb == "restore":
        return restore(start.settings.data, chosen.replica)
    if chosen.verb == "confirm":
        return confirm(start.settings.data, chosen)
    with _opened(start.settings.data / LEDGER_FILE) as ledger:
        if chosen.verb == "backup":
            return _backup(ledger, chosen.to)
        if chosen.verb == "resolve":
            return _resolve(ledger, chosen)
        if chosen.verb == "adopt":
            return _adopt(ledger, start.settings.machine, chosen)
        return _list(ledger, start.settings.machine)


@contextmanager
def _opened(file: Path) -> Generator[sqlite3.Connection]:
    """Raises BadInput where there is no ledger."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=10)) as ledger:
            ledger.isolation_level = None
            ledger.row_factory = sqlite3.Row
            ledger.execute("PRAGMA synchronous = FULL")
            if ledger.execute("PRAGMA application_id").fetchone()[0] != LEDGER_APPLICATION_ID:
                raise BadInput(f"{file} is no agent's ledger")
            yield ledger
    except sqlite3.Error as error:
        raise BadInput(f"{file}: {error}; set {FlyEnv.DATA_DIRECTORY} to the ledger's folder") from None


def _say(*words: Any) -> None:
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")


def _list(ledger: sqlite3.Connection, machine: str) -> int:
    """What was earned, and what waits for whom. Exit code 1 where something waits for a person, or is damaged."""
    verdict = ledger.execute("PRAGMA integrity_check(1)").fetchone()[0]
    _say("integrity:", verdict)
    for row in ledger.execute("SELECT region, state, escrows, amount_micro FROM earnings"):
        _say(f"{row['region']:<8}{row['state']:<11}{row['escrows']:>8}{Usdc(row['amount_micro'])!s:>16} USDC")
    waiting = ledger.execute("SELECT * FROM escrows WHERE state = 'review' ORDER BY created_ms").fetchall()
    for row in waiting:
        at = datetime.fromtimestamp(row["created_ms"] / 1000, UTC)
        _say(f"\n{row['id']}  {Usdc(row['amount_micro'])} USDC  {at:%Y-%m-%dT%H:%M:%SZ}  escrow {row['escrow_id']}")
        _say("  ", row["note"].replace("\n", "\n   "))
        _say("   Ask the payment service how it stands; then: books resolve", row["id"], "--as ... --by ... --why ...")
    others = ledger.execute(
        "SELECT machine, count(*) AS open FROM escrows WHERE settled_ms IS NULL AND machine <> ? GROUP BY machine",
        (machine,),
    ).fetchall()
    for row in others:
        _say(f"\n{row['open']} unfinished that Machine {row['machine']} began, and may be working on.")
        _say("   If it is gone for good: books adopt", row["machine"], "--by ... --why ...")
    return ExitCode.FAILED if waiting or others or verdict != "ok" else ExitCode.OK


def _backup(ledger: sqlite3.Connection, to: Path) -> int:
    """Copy it by SQLite's own online copy: what a commit has made durable is in it, whatever is written meanwhile."""
    if to.exists():
        raise BadInput(f"{to} is there already: name a new file")
    part = to.with_name(to.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(part)) as copy:
            ledger.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole without a -wal beside it
            if (verdict := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise BadInput(f"the copy is damaged: {verdict}")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(to)
    except sqlite3.Error as error:
        raise BadInput(f"{to} cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    _say(f"copied to {to}")
    return ExitCode.OK


def _adopt(ledger: sqlite3.Connection, machine: str, chosen: argparse.Namespace) -> int:
    """Make this Machine finish what one began that is gone for good. Nothing is sent before its next start."""
    decided(chosen)
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    note = f"\n{at} {chosen.by}: taken over from Machine {chosen.machine}: {chosen.why}"
    taken = ledger.execute(
        "UPDATE escrows SET machine = ?, note = note || ? WHERE settled_ms IS NULL AND machine = ?",
        (machine, note, chosen.machine),
    ).rowcount
    if not taken:
        raise BadInput(f"Machine {chosen.machine} has nothing unfinished in this ledger")
    _say(f"{taken} taken over: this Machine finishes them at its next start")
    return ExitCode.OK


def _resolve(ledger: sqlite3.Connection, chosen: argparse.Namespace) -> int:
    """Close a review as a person has found it. Nothing is sent."""
    state = LedgerState(chosen.outcome)
    decided(chosen)
    ledger.execute("BEGIN IMMEDIATE")
    row = ledger.execute("SELECT state, escrow_id FROM escrows WHERE id = ?", (chosen.id,)).fetchone()
    if row is None or row["state"] != LedgerState.REVIEW:
        raise BadInput(f"{chosen.id} is {row['state'] if row else 'not in the ledger'}: only a review can be resolved")
    escrow_id = row["escrow_id"] or (checked_escrow_id(chosen.escrow_id) if chosen.escrow_id else None)
    if escrow_id is None and state is not LedgerState.DECLINED:
        raise BadInput("no escrow is on record: name it by --escrow-id, or resolve it as declined if there is none")
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    decision = f"\n{at} {chosen.by}: closed as {state}: {chosen.why}"
    ledger.execute(
        "UPDATE escrows SET state = ?, escrow_id = ?, intent = coalesce(intent, ?), note = note || ?, settled_ms = ?,"
        " settlement = NULL, version = version + 1 WHERE id = ?",
        (state, escrow_id, _DECISIONS[state], decision, now_ms(), chosen.id),
    )
    ledger.execute("COMMIT")
    _say(f"{chosen.id} is {state}")
    return ExitCode.OK


def _arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.add_parser("list", help="what was earned, and what waits for a person (the default)")
    backup = verbs.add_parser("backup", help="copy the ledger while it is in use")
    backup.add_argument("to", type=Path, help="a new file")
    resolve = verbs.add_parser("resolve", help="close what waits for a person; nothing is sent")
    resolve.add_argument("id", help="of the inference, pf-...")
    resolve.add_argument("--as", dest="outcome", required=True, choices=[str(state) for state in _DECISIONS])
    resolve.add_argument("--escrow-id", help="the escrow, where the ledger does not know it")
    adopt = verbs.add_parser("adopt", help="finish here what a Machine began that is gone for good")
    adopt.add_argument("machine", help="its id, as `list` names it")
    bring = verbs.add_parser("restore", help="fetch the ledger that Litestream copied, onto a volume without one")
    bring.add_argument("replica", help="s3://bucket/folder/APP/MACHINE-TIME, as the agent's log names it")
    checked = verbs.add_parser("confirm", help="let a restored ledger begin new work")
    for verb in (resolve, adopt, checked):
        verb.add_argument("--by", required=True, help="who decides")
        verb.add_argument("--why", required=True, help="what was found")


PROGRAM = Program(
    "python -m runtime.agent.books",
    "Shows a Fly.io agent's ledger, copies it, and closes what only a person can decide.",
    MachineSettings,
    run,
    Kind.COMMAND,
    add_arguments=_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
