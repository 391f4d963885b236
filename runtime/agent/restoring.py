"""A ledger from the bucket onto a volume without one: checked before it is in place, confirmed before it is used."""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from runtime.agent.ledger import locked
from runtime.contract import (
    LEDGER_APPLICATION_ID,
    LEDGER_FILE,
    LEDGER_RESTORED,
    LEDGER_VERSION,
    LITESTREAM,
    ExitCode,
)
from runtime.errors import BadInput
from runtime.money import Usdc


def restore(folder: Path, replica: str) -> int:
    """Fetch it. Raises BadInput: There is a ledger, or what came is not that one, whole.

    A file of no bytes is not a ledger: Litestream would take it for one, leave it, and copy its emptiness over the
    replica. What came is compared with its path, because the pages of two ledgers pass any integrity check.
    """
    file = folder / LEDGER_FILE
    if not is_empty(folder):
        raise BadInput(f"{file} has inferences already: put it aside first")
    if not shutil.which(LITESTREAM):
        raise BadInput("there is no litestream on the PATH: build the image with fly.backup set")
    part = folder / f"{LEDGER_FILE}.part"
    lock = locked(folder, 0)
    try:
        _remove(part)
        command = [LITESTREAM, "restore", "-o", str(part), replica]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode or not part.exists():
            raise BadInput(f"{replica}: nothing could be restored, see above")
        with closing(sqlite3.connect(part)) as ledger:
            told = _checked(ledger, replica)
        (folder / LEDGER_RESTORED).write_text(f"{replica}\n", encoding="utf-8")
        _remove(file)
        part.replace(file)
    except sqlite3.Error as error:
        raise BadInput(f"{replica}: what came is damaged: {error}") from None
    finally:
        _remove(part)
        os.close(lock)
    sys.stdout.write(told)
    return ExitCode.OK


def is_empty(folder: Path) -> bool:
    """Whether no ledger there has a row: no file, one of no bytes, or a ledger that was only just made."""
    file = folder / LEDGER_FILE
    if not file.exists() or not file.stat().st_size:
        return True
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
        try:
            return ledger.execute("SELECT count(*) FROM escrows").fetchone()[0] == 0
        except sqlite3.Error:
            return False


def confirm(folder: Path, chosen: argparse.Namespace) -> int:
    """Let it begin new work. Raises BadInput: It was not restored."""
    decided(chosen)
    if not (folder / LEDGER_RESTORED).exists():
        raise BadInput("the ledger was not restored, or is confirmed already")
    (folder / LEDGER_RESTORED).replace(folder / f"{LEDGER_RESTORED}.confirmed")
    with (folder / f"{LEDGER_RESTORED}.confirmed").open("a", encoding="utf-8") as note:
        note.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {chosen.by}: {chosen.why}\n")
    sys.stdout.write("new work may begin\n")
    return ExitCode.OK


def decided(chosen: argparse.Namespace) -> None:
    """Raises BadInput where a decision names nobody or no reason."""
    if not (chosen.by.strip() and chosen.why.strip()):
        raise BadInput("a decision names who decides and why")


def _checked(ledger: sqlite3.Connection, replica: str) -> str:
    """What it holds, in words; it is whole, ours, and the one of that path."""
    if wrong := [row[0] for row in ledger.execute("PRAGMA integrity_check") if row[0] != "ok"]:
        raise BadInput(f"{replica}: what came is damaged: {wrong[0]}")
    found = [ledger.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if found != [LEDGER_APPLICATION_ID, LEDGER_VERSION]:
        raise BadInput(f"{replica}: what came is no agent's ledger of version {LEDGER_VERSION}")
    app, made = ledger.execute("SELECT app, created_ms FROM ledger").fetchone()
    *_, of_app, name = replica.rstrip("/").split("/")
    if app != of_app or not name.endswith(f"-{made}"):
        raise BadInput(f"{replica}: what came is of {app} and made at {made}: two ledgers were copied to one path")
    early = ledger.execute("SELECT count(*) FROM escrows WHERE created_ms < ?", (made,)).fetchone()[0]
    rows, total = ledger.execute("SELECT count(*), coalesce(sum(amount_micro), 0) FROM escrows").fetchone()
    listed = ledger.execute("SELECT coalesce(sum(escrows), 0), coalesce(sum(amount_micro), 0) FROM earnings").fetchone()
    if early or tuple(listed) != (rows, total):
        raise BadInput(f"{replica}: the books do not add up: {rows} rows, {listed[0]} in the totals, {early} too old")
    newest = ledger.execute("SELECT max(created_ms) FROM escrows").fetchone()[0]
    at = f"{datetime.fromtimestamp(newest / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" if newest else "never"
    return (
        f"restored {rows} inferences of {Usdc(total)} USDC, the newest of {at}; the books add up\n"
        "Up to two seconds of what came after may be missing. Compare it with the payment service, hand over what is "
        "open (books adopt), then: books confirm --by ... --why ...\n"
    )


def _remove(file: Path) -> None:
    for each in (file, *(file.with_name(f"{file.name}-{end}") for end in ("wal", "shm"))):
        each.unlink(missing_ok=True)
