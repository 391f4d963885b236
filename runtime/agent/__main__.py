"""`python -m runtime.agent`: serves the Fly.io agent, in one process or in several."""

import argparse
import asyncio
import socket
import sys

from runtime.agent.settings import Settings
from runtime.service import Program, Start


async def run(start: Start[Settings]) -> int | None:
    """Serve until asked to stop."""
    from runtime.agent.serving import serve
    from runtime.service.sockets import EVERY_ADDRESS, listen

    settings, slot = start.settings, start.arguments.slot
    if slot is not None:
        return await serve(settings, slot, [socket.socket(fileno=start.arguments.socket)], start.stop)
    if settings.workers == 1:
        return await serve(settings, 0, listen(EVERY_ADDRESS, settings.port), start.stop)
    from runtime.agent.workers import supervise

    return await supervise(settings, start.stop)


def _arguments(parser: argparse.ArgumentParser) -> None:
    """Those by which `workers` starts its server processes."""
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--socket", type=int, help=argparse.SUPPRESS)


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's: a sixth less CPU an inference, because each payment has a connection of its own."""
    import uvloop

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
