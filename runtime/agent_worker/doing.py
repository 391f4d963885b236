"""Doing one task: its command runs in a process group of its own, bounded in time and in what it may say."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.agent_worker.settings import TaskSettings
from runtime.money import Usdc
from runtime.redaction import excerpt
from runtime.work_log import TaskOutcome, digest

OUTPUT_BYTES: Final = 1 << 20
"""Most that a task may print as its result; one that prints more has failed."""
KILL_SECONDS: Final = 3.0
"""From the request to end to the end."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done.

    Args:
        id: Its id; a queue's task has its escrow's.
        escrow: What pays for it; None in a Job, whose escrow is the operator's.
        amount: What is locked for it, where that is known.
    """

    id: str
    escrow: str | None = None
    amount: Usdc | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Args:
        code: Exit code, as a shell has it; 0 is success.
        output: What it printed.
        problem: Why it failed, for a person; empty where it did not.
    """

    code: int
    output: bytes
    problem: str = ""

    @property
    def outcome(self) -> TaskOutcome:
        """As the log has it."""
        return TaskOutcome.FAILED if self.code or self.problem else TaskOutcome.DONE

    @property
    def evidence(self) -> str:
        """As the log has it."""
        return digest(self.output)


async def do(task: Task, settings: TaskSettings) -> Result:
    """Run its command to the end. Cancelled, it ends the whole process group and says nothing."""
    amount = settings.budget if task.amount is None else task.amount
    told = {
        "task": task.id,
        "description": settings.description,
        "escrow": task.escrow,
        "amountUsdc": str(amount) if amount is not None else None,
    }
    try:
        process = await _started(settings)
    except OSError as error:
        return Result(127, b"", f"{settings.words[0]} cannot be run: {error.strerror}")
    try:
        async with asyncio.timeout(settings.seconds):
            output = await _exchange(process, json.dumps(told).encode())
            if output is None:
                return Result(1, b"", f"it printed more than {OUTPUT_BYTES} bytes")
            code = await process.wait()
    except TimeoutError:
        return Result(124, b"", f"it took longer than {settings.seconds} s")
    finally:
        await _end(process)
    shown = 128 - code if code < 0 else code
    return Result(shown, output, f"exit code {shown}: {excerpt(output.decode(errors='replace'), 200)}" if code else "")


async def _started(settings: TaskSettings) -> asyncio.subprocess.Process:
    """Start its command. Cancelled meanwhile, it is ended with its children, of which asyncio knows nothing."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *settings.words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=settings.workspace,
            env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))},
            start_new_session=True,
            limit=OUTPUT_BYTES,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise


async def _exchange(process: asyncio.subprocess.Process, told: bytes) -> bytes | None:
    """Tell it the task and take what it prints; None for too much."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None  # noqa: S101, PT018 - both are pipes
    with suppress(ConnectionError):  # it need not read
        stdin.write(told)
        await stdin.drain()
    with suppress(ConnectionError):
        stdin.close()
    try:
        await stdout.readexactly(OUTPUT_BYTES + 1)
    except asyncio.IncompleteReadError as all_of_it:
        return all_of_it.partial
    return None


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what is left of its group: asked first, then killed, since its children may go on without it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), KILL_SECONDS)
