"""`start`: agents as real processes, each with a volume of its own, at one sandbox; `go`: the program in Go."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance import go_agent
from tests.conformance.world import World
from tests.toolchain.tools import Missing

ROOT = Path(__file__).parents[3]
PYTHON = [sys.executable, "-m", "runtime.agent"]


@pytest.fixture
def start(sandbox, tmp_path):
    """`start("machine-1", "server", PF_QUEUE_LENGTH="5")`: an agent that serves."""
    with ExitStack() as worlds:

        def started(machine="machine-1", dialect="fly", command=PYTHON, **changed) -> World:
            folder = tmp_path / machine
            folder.mkdir(exist_ok=True)
            world = World(command, sandbox, folder, dialect)
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
