"""`python -m runtime.metrics_server`: the depth of the escrow queue, for an HPA, for KEDA and for Prometheus."""

import logging
import sys

from runtime.contract import METRICS_SERVICE, QUEUE_AUDIENCE
from runtime.metrics_server.settings import Settings
from runtime.service import Program, Start

LIST_BYTES = 64 << 20
"""Most that is read of the payer's list: a hundred thousand escrows are 20 to 30 MB."""

_log = logging.getLogger("runtime.metrics_server")


async def run(start: Start[Settings]) -> None:
    """Read the queue and serve what is known of it, until asked to stop."""
    import asyncio
    import time

    from runtime.kubernetes.client import KubernetesApi
    from runtime.kubernetes.escrow_objects import EscrowObjects
    from runtime.kubernetes.task_claims import TaskClaims
    from runtime.kubernetes.token_review import TokenReviews
    from runtime.metrics_server.pages import QueuePages
    from runtime.metrics_server.queue import Poller, Queue
    from runtime.metrics_server.reading import Readings
    from runtime.metrics_server.serving import ApiServer
    from runtime.payments import Limits

    settings = start.settings
    readings = Readings(settings.stale_seconds, time.monotonic)
    async with (
        KubernetesApi("purpleflea-metrics-server") as api,
        settings.payments.client(limits=Limits(body_bytes=LIST_BYTES)) as client,
    ):
        namespace = settings.namespace or api.namespace
        claims = TaskClaims(api, namespace, METRICS_SERVICE)
        queue = Queue(client, EscrowObjects(api), claims, namespace, settings.wallet)
        poller = Poller(queue, readings, settings.poll_seconds)
        server = ApiServer(api, readings, namespace, settings.tls_directory) if settings.api_port else None
        unready = server.unready if server else poller.stalled
        pages = QueuePages(readings, poller, TokenReviews(api, QUEUE_AUDIENCE), settings.reader_names, unready)
        async with pages.serving(settings.probes.ports), asyncio.TaskGroup() as group:
            group.create_task(poller.run(start.stop))
            if server:
                group.create_task(server.run(settings.api_port, start.stop))
            _log.info("reads the queue of %s every %s s", namespace, settings.poll_seconds)


PROGRAM = Program(
    "python -m runtime.metrics_server",
    "Tells autoscalers how much paid work waits: custom metrics API, plain JSON, Prometheus.",
    Settings,
    run,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
