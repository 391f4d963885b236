"""Several server processes in one Machine: one socket, one ledger file, a slot each, and one page of metrics.

A slot is a number and a lock beside the ledger. What a server process began carries its slot, and whoever holds the
slot next finishes it: nothing is finished twice, and nothing is left to nobody.
"""

import asyncio
import logging
import shutil
import socket
import sys
from asyncio.subprocess import Process

from runtime.agent.settings import Settings
from runtime.contract import ExitCode
from runtime.service import Failure
from runtime.service.probes import Probes
from runtime.service.sockets import EVERY_ADDRESS, listen

_PAUSE_SECONDS = 1.0

_log = logging.getLogger("runtime.agent")


async def supervise(settings: Settings, stop: asyncio.Event) -> None:
    """Run `settings.workers` of them until `stop` is set; one that dies is started anew.

    Raises:
        Failure: One cannot start, because of a wrong setting.
    """
    assert settings.metrics_folder is not None  # noqa: S101 - the settings see to it
    shutil.rmtree(settings.metrics_folder, ignore_errors=True)
    settings.metrics_folder.mkdir(parents=True)
    from runtime.agent.metrics import together

    sockets = listen(EVERY_ADDRESS, settings.port)
    registry = together(settings.data, settings.metrics_folder)
    async with Probes(registry=registry).serving([settings.metrics_port]), asyncio.TaskGroup() as group:
        for slot in range(settings.workers):
            group.create_task(_keep(slot, sockets[0], settings, stop))


async def _keep(slot: int, listening: socket.socket, settings: Settings, stop: asyncio.Event) -> None:
    while not stop.is_set():
        process = await _start(slot, listening)
        if (code := await _ended(process, settings, stop)) == ExitCode.BAD_INPUT:
            raise Failure("a server process could not start, see above", ExitCode.BAD_INPUT)
        if not stop.is_set():
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(process.pid, str(settings.metrics_folder))
            _log.error("server process %d ended with %d, and is started anew", slot, code)
            await asyncio.sleep(_PAUSE_SECONDS)


async def _start(slot: int, listening: socket.socket) -> Process:
    number = listening.fileno()
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runtime.agent", f"--slot={slot}", f"--socket={number}", pass_fds=[number]
    )


async def _ended(process: Process, settings: Settings, stop: asyncio.Event) -> int:
    stopping = asyncio.create_task(stop.wait())
    ending = asyncio.create_task(process.wait())
    await asyncio.wait((stopping, ending), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ending.done():
        process.terminate()
    return await ending
