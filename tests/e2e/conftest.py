"""What tests with real pods share."""

from typing import Any

import pytest

from components.settings import Settings
from runtime.sandbox.testing import running_sandbox
from tests.e2e.stack import sandboxed
from tests.runtime.payroll.world import WALLET
from tests.toolchain.faulty_link import FaultyLink


@pytest.fixture
def sandbox(host_address):
    """A sandbox on this machine and the URL at which pods reach it."""
    with running_sandbox() as running:
        port = int(running.url.rpartition(":")[2])
        with FaultyLink("127.0.0.1", port, listen_host=host_address) as link:
            yield running, link


def workers_settings(namespace: str, image: str, service: str, **changes: Any) -> Settings:
    """A stack of workers, without operator and sidecar, whose payment service is on this machine."""
    return Settings.parse(
        {
            **{part: {"enabled": False} for part in ("mcp", "operator", "admission")},
            **sandboxed(namespace, image, service),
            "worker": {"payee": WALLET},
            **changes,
        }
    )
