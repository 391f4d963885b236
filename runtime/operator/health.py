"""`/livez`, `/readyz` and `/metrics`, on the HTTP server that kopf brings along (aiohttp)."""

import time
from collections.abc import Iterable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.contract import Route
from runtime.operator.metrics import Metrics


class Health:
    """Progress, not mere life: a dead watch or a stuck queue must end the pod, however well it answers."""

    def __init__(self, metrics: Metrics, stall_seconds: float) -> None:
        self._metrics = metrics
        self._stall_seconds = stall_seconds
        self._progress = time.monotonic()
        self.ready = False

    def progress(self) -> None:
        """Everything was listed, so watches, queue and API server are alive."""
        self._progress = time.monotonic()

    async def _livez(self, _: web.Request) -> web.Response:
        stalled = time.monotonic() - self._progress
        if stalled > self._stall_seconds:
            return web.Response(status=503, text=f"no complete list for {stalled:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503, text="ok\n" if self.ready else "not listed yet\n")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def serve(self, ports: Iterable[int]) -> web.AppRunner:
        """Start serving the same pages on every port; the caller cleans the runner up."""
        app = web.Application()
        app.router.add_get(Route.LIVEZ, self._livez)
        app.router.add_get(Route.READYZ, self._readyz)
        app.router.add_get(Route.METRICS, self._metrics_page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for port in ports:
            await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - the kubelet probes the pod's address
        return runner
