"""`python -m runtime.sandbox`: a local Purple Flea until it is stopped."""

import argparse
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from runtime.contract import Env, ExitCode, Port
from runtime.sandbox.database import DatabaseUnusableError
from runtime.sandbox.server import Options, PortUnusableError, SandboxServer


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    parser = argparse.ArgumentParser("python -m runtime.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=int(Port.SANDBOX), help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--database", type=Path, default=os.environ.get(Env.SANDBOX_DATABASE) or None,
        help=f"the ledger's file (default: {Env.SANDBOX_DATABASE}, else a temporary one)",
    )  # fmt: skip
    parser.add_argument("--no-rate-limits", action="store_true", help="drop the limits per path, address and minute")
    parser.add_argument(
        "--no-claim-per-ip", action="store_true", help="drop the faucet's rule of one claim an address and day"
    )
    parser.add_argument(
        "--linger", type=_seconds, default=0, metavar="SECONDS",
        help="how long SIGTERM is put off at most while money is locked (default: %(default)s)",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    level = os.environ.get(Env.LOG_LEVEL, "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        parser.error(f"{Env.LOG_LEVEL} is {level!r}, not one of {', '.join(logging.getLevelNamesMapping())}")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # uvicorn stops gracefully, then raises the signal once more; as PID 1 there is no default action to end us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.OK))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
    if chosen.database:  # a container's root file system is read-only: make no folder that is not needed
        return _serve(chosen, chosen.database)
    with tempfile.TemporaryDirectory(prefix="purpleflea-sandbox-") as scratch:
        return _serve(chosen, Path(scratch) / "ledger.db")


def _serve(chosen: argparse.Namespace, database: Path) -> int:
    options = Options(
        database=database,
        host=chosen.host,
        port=chosen.port,
        start_key=os.environ.get(Env.SANDBOX_API_KEY),
        admin_token=os.environ.get(Env.SANDBOX_ADMIN_TOKEN),
        rate_limits=not chosen.no_rate_limits,
        claim_per_ip=not chosen.no_claim_per_ip,
        linger_seconds=chosen.linger,
    )
    try:
        SandboxServer(options, _announce).run_until_stopped()
    except (DatabaseUnusableError, PortUnusableError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return ExitCode.BAD_SETTING
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _announce(server: SandboxServer) -> None:
    sys.stdout.write(f"sandbox ready on {server.url}\n")
    sys.stdout.flush()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
