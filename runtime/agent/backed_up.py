"""`python -m runtime.agent.backed_up`: the agent under Litestream, which copies its ledger to a bucket all the time.

The path in the bucket is the ledger's own: app, Machine, and when the ledger was made. Two Machines that copy to one
path give a ledger that neither had, with a clean integrity check; a fork of a volume belongs to another Machine and an
empty volume begins another ledger, so neither can come to the path of the first. Nothing is restored by itself: a
person names the path, here or to `python -m runtime.agent.books restore`.
"""

import argparse
import os
import shlex
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass

from runtime.agent.ledger import Ledger
from runtime.agent.restoring import is_empty, restore
from runtime.agent.settings import AppSettings
from runtime.contract import LEDGER_FILE, LITESTREAM, FlyEnv
from runtime.environment import text
from runtime.errors import BadInput
from runtime.service import Kind, Program, Start


@dataclass(frozen=True, kw_only=True)
class Settings(AppSettings):
    """Which ledger, and where to."""

    url: str = text(FlyEnv.BACKUP_URL, "Where to, `s3://bucket/folder`; Litestream reads AWS_ACCESS_KEY_ID and its kin")
    restore_from: str | None = text(
        FlyEnv.RESTORE_FROM, "A ledger's path in a bucket, restored where none has rows yet", default=None
    )
    wallet: str = text(FlyEnv.AGENT_WALLET, "The wallet or agent id that is paid")

    def __post_init__(self) -> None:
        if not self.url.startswith("s3://"):
            raise BadInput(f"{FlyEnv.BACKUP_URL} is {self.url!r}: expected s3://bucket/folder")


def replica(settings: Settings) -> str:
    """Where this ledger is copied to; a ledger that is not there yet is made. Raises BadInput: It cannot be used."""
    with closing(Ledger(settings.data, settings.app, settings.wallet)) as ledger:
        [made] = ledger.database.connection.execute("SELECT created_ms FROM ledger").fetchone()
    return f"{settings.url.rstrip('/')}/{settings.app}/{settings.machine}-{made}"


def run(start: Start[Settings]) -> int:
    """Become Litestream, which starts the agent, hands it the signals and ends with it."""
    if not shutil.which(LITESTREAM):
        raise BadInput("there is no litestream on the PATH: build the image with fly.backup set")
    if (source := start.settings.restore_from) and is_empty(start.settings.data):
        restore(start.settings.data, source)
    program = "runtime.agent.sidecar" if start.arguments.escrow_app else "runtime.agent"
    agent = shlex.join([sys.executable, "-m", program])
    file = str(start.settings.data / LEDGER_FILE)
    os.execvp(LITESTREAM, [LITESTREAM, "replicate", "-exec", agent, file, replica(start.settings)])  # noqa: S606


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--escrow-app", action="store_true", help="the escrow app of three layers instead of the agent")


PROGRAM = Program(
    "python -m runtime.agent.backed_up",
    "Runs the Fly.io agent under Litestream, which copies its ledger to a bucket as it is written.",
    Settings,
    run,
    Kind.COMMAND,
    add_arguments=_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
