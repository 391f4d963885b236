"""Every agent of this project is held to every check."""

import sys
from pathlib import Path

import pytest

from components.manifests.fly_go import go_files
from tests.conformance import __main__ as command
from tests.conformance import go_agent, surface
from tests.conformance.checks import CHECKS
from tests.conformance.world import world
from tests.toolchain.tools import Missing

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-m", "runtime.agent"]


def _go():
    try:
        return [str(go_agent.build())]
    except Missing as error:
        pytest.skip(f"the agent in Go cannot be built: {error}")


@pytest.fixture(scope="module", params=["python", "go"])
def agent(request, tmp_path_factory):
    """The agent in one language, serving; shared by all checks."""
    started_by = PYTHON if request.param == "python" else _go()
    with world(started_by, tmp_path_factory.mktemp("agent") / "volume") as built:
        built.environment |= {"PYTHONPATH": str(ROOT), "GORACE": "halt_on_error=1"}
        built.start()
        yield built


@pytest.mark.parametrize("check", surface.CHECKS, ids=lambda check: check.__name__)
def test_an_agents_surface_conforms(agent, check):
    check(agent.http)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_agent_conforms(agent, check):
    check(agent)


@pytest.mark.skipif(not go_agent.STRICT, reason="a minute to build it; TEST_GO=1 runs it, and all else with -race")
def test_staticcheck_finds_nothing_in_the_go_agent(tmp_path):
    go_agent.run(go_agent.write(go_files(), tmp_path), "run", go_agent.STATICCHECK, "./...")


def test_the_command_asks_an_agent_that_runs(agent, capsys):
    assert command.main([str(agent.http.base_url)]) == 0
    assert f"{len(surface.CHECKS)} passed, 0 failed" in capsys.readouterr().out
