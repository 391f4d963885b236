"""`sandbox`: a real sandbox on loopback, fresh for each test; `as_agent`: HTTP clients with an agent's key."""

from contextlib import ExitStack

import httpx
import pytest

from runtime.sandbox.testing import running_sandbox


@pytest.fixture
def sandbox():
    with running_sandbox() as running:
        yield running


@pytest.fixture
def as_agent(sandbox):
    """`as_agent("payer", "10.00")`: a client with a fresh key of that agent, whose wallet gets that much."""
    with ExitStack() as clients:

        def client(agent_id, amount_usdc=None):
            key = sandbox.issue_key(agent_id)
            if amount_usdc:
                sandbox.deposit(agent_id, amount_usdc)
            headers = {"authorization": f"Bearer {key}"}
            return clients.enter_context(
                httpx.Client(base_url=sandbox.url, headers=headers, verify=sandbox.tls, trust_env=False)
            )

        yield client


@pytest.fixture
def anyone(sandbox):
    """A client without a key."""
    with httpx.Client(base_url=sandbox.url, verify=sandbox.tls, trust_env=False) as client:
        yield client
