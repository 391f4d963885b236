"""What the programs' tests share on a real API server."""

import pytest

from tests.runtime.operator import world as worlds


@pytest.fixture(scope="session")
def definition(control_plane):
    """The rendered definitions on the control plane."""
    worlds.install_definition(control_plane)
    return control_plane
