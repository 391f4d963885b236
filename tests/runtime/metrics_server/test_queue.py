"""The queue as the server tells it, on a real API server and a real sandbox; unknown is 503 and no line."""

import pytest
from lightkube.types import PatchType

from components.manifests import naming
from runtime.contract import QUEUE_AUDIENCE, Env
from tests.runtime.metrics_server.world import DEPTH


def test_what_waits_is_counted_and_what_is_done_is_not(world):
    listed = [world.task(number) for number in range(3)]
    world.handed(listed[0])
    handed = world.task(9)
    world.handed(handed)
    world.task(99, payee="somebody-else")
    server = world.metrics_server()
    world.await_(lambda: server.metric() == 4, "each once, and nobody else's")
    assert server.metric("escrow_queue_value_usdc") == 2
    token = world.token_of(naming.QUEUE_READER, QUEUE_AUDIENCE)
    body = server.page("/queue-depth", token).json()
    assert (body[DEPTH], body["escrow_queue_value_usdc"]) == (4, "2.00")
    worker = world.worker("worker-a", **{Env.API_KEY: world.key})
    world.await_(lambda: len(worker.done()) == 4, "all is done, and none is paid")
    world.await_(lambda: server.metric() == 0, "nothing waits any more, by two readings")
    assert server.metric("escrow_queue_oldest_seconds") == 0
    assert server.stop() == 0


def test_what_the_service_does_not_say_is_unknown_and_its_worker_stays(world):
    world.task(1)
    world.sandbox.fault("list", "status", status=400)
    server = world.metrics_server()
    token = world.token_of(naming.QUEUE_READER, QUEUE_AUDIENCE)
    world.await_(lambda: server.metric("escrow_queue_failures_total"), "it was tried")
    assert (server.metric(), server.metric("escrow_queue_known")) == (None, 0)
    assert server.page("/queue-depth", token).status_code == 503
    assert server.page("/readyz"), "that is no reason to take it out: it has an answer"
    world.sandbox.clear_faults()
    world.await_(lambda: server.metric() == 1, "known again")


@pytest.mark.parametrize("world", ["server"], indirect=True)
def test_a_service_without_a_list_is_counted_by_the_escrow_objects(world):
    escrow = world.task(1)
    world.task(2)
    world.handed(escrow)
    server = world.metrics_server()
    world.await_(lambda: server.metric() == 1, "the sandbox has no list in this dialect")
    assert "from the Escrow objects alone" in server.log()


def test_an_object_that_cannot_be_read_makes_the_depth_unknown(world):
    from runtime.kubernetes.new_escrow import task_account
    from tests.runtime.operator.world import Escrow

    escrow = world.task(1)
    world.handed(escrow)
    status = {"lockedAt": "2026-01-01T00:00:00+99:99"}
    world.client.patch(Escrow.Status, task_account(escrow), {"status": status}, patch_type=PatchType.MERGE)
    server = world.metrics_server()
    world.await_(lambda: server.metric("escrow_queue_failures_total"), "it was tried")
    assert server.metric() is None
    assert "cannot be read" in server.log()
