"""What tests with real pods share."""

import pytest

from runtime.sandbox.testing import running_sandbox
from tests.toolchain.faulty_link import FaultyLink


@pytest.fixture
def sandbox(host_address):
    """A sandbox on this machine and the URL at which pods reach it."""
    with running_sandbox() as running:
        port = int(running.url.rpartition(":")[2])
        with FaultyLink("127.0.0.1", port, listen_host=host_address) as link:
            yield running, link
