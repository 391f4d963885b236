"""`python -m runtime.sandbox`: a local Purple Flea until it is stopped."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.contract import MINIMUM_ESCROW_USDC, Env, Port
from runtime.environment import path, secret
from runtime.service import Program, Start

LONGEST_LINGER_SECONDS = 3600
_DRAIN_SECONDS = 15
"""From SIGTERM on, beside the time to linger: open requests, then the database."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sandbox reads."""

    database: Path | None = path(Env.SANDBOX_DATABASE, "The ledger's file", default=None, unset="a temporary one")
    start_key: str | None = secret(
        Env.SANDBOX_API_KEY, "A key that works from the start; its agent has 1000 USDC in a new ledger", default=None
    )
    admin_token: str | None = secret(Env.SANDBOX_ADMIN_TOKEN, "Opens `/admin`; without it there is none", default=None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sandbox's own arguments."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; :: is all of IPv4 and IPv6 (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=_whole(65_535), default=int(Port.SANDBOX), help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--database", type=Path, help=f"the ledger's file; wins over {Env.SANDBOX_DATABASE}")
    parser.add_argument("--no-rate-limits", action="store_true", help="drop the limits per path, address and minute")
    parser.add_argument(
        "--no-claim-per-ip", action="store_true", help="drop the faucet's rule of one claim an address and day"
    )
    parser.add_argument(
        "--exact-balances", action="store_true", help="do not let the server dialect add balances up as binary floats"
    )
    parser.add_argument(
        "--dialect",
        choices=sorted(MINIMUM_ESCROW_USDC),
        help="the only one to serve; the paths of the others are 404 (default: all three)",
    )
    parser.add_argument(
        "--linger", type=_whole(LONGEST_LINGER_SECONDS), default=0, metavar="SECONDS",
        help="how long SIGTERM is put off at most while money is locked (default: %(default)s)",
    )  # fmt: skip


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {most}")
        return int(text)

    return read


async def run(start: Start[Settings]) -> None:
    """Serve until asked to stop, and then for as long as it lingers."""
    database = start.arguments.database or start.settings.database
    if database:  # a container's root file system is read-only: make no folder that is not needed
        return await _serve(start, database)
    with tempfile.TemporaryDirectory(prefix="purpleflea-sandbox-") as scratch:
        return await _serve(start, Path(scratch) / "ledger.db")


async def _serve(start: Start[Settings], database: Path) -> None:
    from runtime.sandbox.server import Options, SandboxServer

    chosen = start.arguments
    options = Options(
        database=database,
        host=chosen.host,
        port=chosen.port,
        start_key=start.settings.start_key,
        admin_token=start.settings.admin_token,
        rate_limits=not chosen.no_rate_limits,
        claim_per_ip=not chosen.no_claim_per_ip,
        float_balances=not chosen.exact_balances,
        dialect=chosen.dialect,
        linger_seconds=chosen.linger,
    )
    await SandboxServer(options, start.stop).run_until_stopped()


PROGRAM = Program(
    "python -m runtime.sandbox",
    "A local Purple Flea: three dialects, one ledger, play money. docs/sandbox.md tells all of it.",
    Settings,
    run,
    add_arguments=add_arguments,
    stop_seconds=lambda arguments: arguments.linger + _DRAIN_SECONDS,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
