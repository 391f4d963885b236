"""`world`: a namespace on the real API server with the metrics server's rights, and a sandbox."""

import pytest

from tests.runtime.metrics_server.world import MetricsWorld


@pytest.fixture(params=["kubernetes"])
def world(request, definition, namespace, sandbox, tmp_path):
    """One test's world; its dialect by `request.param`."""
    built = MetricsWorld(definition, namespace.name, namespace.client, sandbox, request.param, folder=tmp_path)
    try:
        yield built
    finally:
        built.close()
