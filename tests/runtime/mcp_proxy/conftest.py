"""`beside`: a sidecar beside an upstream that plays what a test says; `agent`: whoever asks it."""

from contextlib import ExitStack

import httpx
import pytest

from tests.runtime.mcp_proxy.sidecar import Agent, running_sidecar
from tests.runtime.mcp_proxy.upstream import honest, running_upstream


@pytest.fixture(scope="module")
def pair():
    """One sidecar and one upstream for the module: starting Python takes longer than most tests."""
    with running_upstream(honest) as upstream, running_sidecar({"escrow": upstream.url}) as sidecar:
        yield sidecar, upstream


@pytest.fixture
def upstream(pair, http):
    sidecar, upstream = pair
    upstream.play = honest
    upstream.received.clear()
    yield upstream
    upstream.play = honest
    Agent(f"{sidecar.url}/escrow", http).ask("ping")  # no breaker is left open for the next test


@pytest.fixture
def sidecar(pair, upstream):
    return pair[0]


@pytest.fixture
def http():
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def agent(sidecar, http):
    return Agent(f"{sidecar.url}/escrow", http)


@pytest.fixture
def beside(http):
    """`beside(upstream, PF_…=…)`: a sidecar of the test's own; returns it and its agent."""
    with ExitStack() as started:

        def start(upstream, name="escrow", **environment):
            sidecar = started.enter_context(running_sidecar({name: upstream.url}, **environment))
            return sidecar, Agent(f"{sidecar.url}/{name}", http)

        yield start


@pytest.fixture
def playing():
    """`playing(play)`: an upstream of the test's own."""
    with ExitStack() as started:
        yield lambda play, tls=None: started.enter_context(running_upstream(play, tls))
