"""`world`: a namespace on the real API server, a sandbox, and operators as real processes."""

import pytest

from tests.runtime.operator import world as worlds
from tests.runtime.operator.proof import sent_once


@pytest.fixture(params=["server"])
def world(request, definition, namespace, sandbox):
    """One test's world, in which nothing was sent twice; its dialect by `request.param`."""
    with worlds.world(definition, namespace.name, namespace.client, sandbox, request.param) as built:
        yield built
        sent_once(sandbox)
