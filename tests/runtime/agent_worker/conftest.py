"""`world`: a namespace on the real API server with workers' and payroll's rights, and a sandbox."""

import pytest

from tests.runtime.payroll.world import payroll_world


@pytest.fixture(params=["kubernetes"])
def world(request, definition, namespace, sandbox, tmp_path):
    """One test's world; its dialect by `request.param`."""
    with payroll_world(definition, namespace.name, namespace.client, sandbox, request.param, tmp_path) as built:
        yield built
