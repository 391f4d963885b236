"""`world`: a namespace on the real API server with workers' and payroll's rights, and a sandbox."""

import pytest

from tests.runtime.operator import world as worlds
from tests.runtime.payroll.world import payroll_world


@pytest.fixture(scope="session")
def definition(control_plane):
    """The rendered definitions on the control plane."""
    worlds.install_definition(control_plane)
    return control_plane


@pytest.fixture(params=["kubernetes"])
def world(request, definition, namespace, sandbox, tmp_path):
    """One test's world; its dialect by `request.param`."""
    with payroll_world(definition, namespace.name, namespace.client, sandbox, request.param, tmp_path) as built:
        yield built
