"""`python -m runtime.agent`: serves the Fly.io agent, in one process or in several."""

import argparse
import asyncio
import socket
import sys
from contextlib import closing

from runtime.agent.settings import Settings
from runtime.service import Program, Start


async def run(start: Start[Settings]) -> int | None:
    """Serve until asked to stop."""
    settings, slot = start.settings, start.arguments.slot
    if slot is None and settings.workers > 1:
        from runtime.agent.workers import supervise

        return await supervise(settings, start.stop)
    from runtime.agent.ledger import Ledger

    # Before the server is loaded, which takes three times as long: a ledger that cannot be used ends it at once.
    with closing(Ledger(settings.data, settings.app, settings.billing.wallet, slot or 0)) as ledger:
        from runtime.agent.serving import serve
        from runtime.service.sockets import EVERY_ADDRESS, listen

        alone = slot is None
        sockets = listen(EVERY_ADDRESS, settings.port) if alone else [socket.socket(fileno=start.arguments.socket)]
        return await serve(settings, ledger, sockets, start.stop)


def _arguments(parser: argparse.ArgumentParser) -> None:
    """Those by which `workers` starts its server processes."""
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--socket", type=int, help=argparse.SUPPRESS)


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's: a sixth less CPU an inference, because each payment has a connection of its own.

    It is a tenth of an image, so the image of Kubernetes' programs has none; nor is there one for Windows.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


PROGRAM = Program(
    "python -m runtime.agent",
    "Sells inferences on Fly.io: each is locked, worked, and released or cancelled, on record before it is sent.",
    Settings,
    run,
    stop_seconds=299.0,
    add_arguments=_arguments,
    new_loop=_new_loop,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
