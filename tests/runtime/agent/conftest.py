"""`start`: agents as real processes, each with a volume of its own, at one sandbox; `go`: the program in Go."""

import io
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.agent.books import PROGRAM
from runtime.agent.settings import MachineSettings
from runtime.environment import read
from runtime.errors import BadInput
from runtime.service import Start
from tests.conformance import go_agent
from tests.conformance.world import World
from tests.runtime import forked
from tests.toolchain.tools import Missing

ROOT = Path(__file__).parents[3]
PYTHON = [sys.executable, "-m", "runtime.agent"]


class Warm(World):
    """Its Python is forked: a start is nearly all imports. What starts by its command is in `tests/conformance`."""

    def spawn(self, environment, log):
        if self.command[0] != sys.executable:
            return super().spawn(environment, log)
        return forked.begin(environment, log.name, self.command[2])


def books_in_process(folder: Path, *words: str, machine: str = "machine-1") -> SimpleNamespace:
    """What the program does on a volume; a process of its own for each word would cost more than the agent."""
    printed = io.StringIO()
    settings = read(MachineSettings, {"DATA_DIR": str(folder), "FLY_MACHINE_ID": machine})
    try:
        with redirect_stdout(printed):
            code, error = PROGRAM.run(Start(settings, PROGRAM.parser().parse_args(words))), ""
    except BadInput as wrong:
        code, error = 2, wrong.message
    return SimpleNamespace(returncode=code, stdout=printed.getvalue(), stderr=error)


@pytest.fixture
def start(sandbox, tmp_path):
    """`start("machine-1", "server", PF_QUEUE_LENGTH="5")`: an agent that serves."""
    with ExitStack() as worlds:

        def started(machine="machine-1", dialect="fly", command=PYTHON, **changed) -> World:
            folder = tmp_path / machine
            folder.mkdir(exist_ok=True)
            world = Warm(command, sandbox, folder, dialect)
            worlds.callback(world.close)
            world.environment |= {"PYTHONPATH": str(ROOT), "FLY_MACHINE_ID": machine, **changed}
            world.start()
            return world

        yield started


@pytest.fixture(scope="session")
def go():
    try:
        return [str(go_agent.build())]
    except Missing as error:
        pytest.skip(f"the agent in Go cannot be built: {error}")
