"""Every agent of this project is held to every check."""

import sys
from pathlib import Path

import pytest

from tests.conformance.checks import CHECKS
from tests.conformance.world import world

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["python"])
def agent(request, tmp_path_factory):
    """The agent in one language, serving; shared by all checks."""
    command = [sys.executable, "-m", "runtime.agent"]
    with world(command, tmp_path_factory.mktemp("agent") / "volume") as built:
        built.environment["PYTHONPATH"] = str(ROOT)
        built.start()
        yield built


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_agent_conforms(agent, check):
    check(agent)
