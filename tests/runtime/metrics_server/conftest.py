"""Namespaces on the real API server with the metrics server's rights, and a sandbox; also one server for all."""

import secrets

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from runtime.sandbox.testing import running_sandbox
from tests.runtime.metrics_server.world import MetricsWorld


@pytest.fixture(params=["kubernetes"])
def world(request, definition, namespace, sandbox, tmp_path):
    """One test's world; its dialect by `request.param`."""
    built = MetricsWorld(definition, namespace.name, namespace.client, sandbox, request.param, folder=tmp_path)
    try:
        yield built
    finally:
        built.close()


@pytest.fixture(scope="package")
def served(definition, tmp_path_factory):
    """A world for all tests that leave its queue alone, with one escrow in its queue, and a server that has read it."""
    name = f"test-{secrets.token_hex(4)}"
    client = definition.client(name)
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    with running_sandbox() as sandbox:
        world = MetricsWorld(definition, name, client, sandbox, "kubernetes", folder=tmp_path_factory.mktemp("served"))
        try:
            world.task(1)
            server = world.metrics_server()
            world.await_(lambda: server.metric() == 1, "the queue is read")
            yield world, server
        finally:
            world.close()
            client.delete(Namespace, name)
