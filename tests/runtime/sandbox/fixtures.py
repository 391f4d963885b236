"""`sandbox`: a real sandbox on loopback, fresh for each test."""

import pytest

from runtime.sandbox.testing import running_sandbox


@pytest.fixture
def sandbox():
    with running_sandbox() as running:
        yield running
