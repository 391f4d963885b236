"""`/livez`, `/readyz` and `/metrics`: what they answer, for a server of their own or as pages of a program's server."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from runtime.contract import Route
from runtime.service.http import BoundedProtocol, Bounds, HttpServer, Receive, Scope, Send
from runtime.service.sockets import EVERY_ADDRESS, listen

Check = Callable[[], str | None]
"""What is wrong, in words for the probe's answer; None when all is well."""

PAGES: Final = (Route.LIVEZ.value, Route.READYZ.value, Route.METRICS.value)

_PLAIN: Final = "text/plain; charset=utf-8"


class ProbeProtocol(BoundedProtocol):
    """Few peers, and none has anything to send."""

    bounds = Bounds(head_seconds=5, body_seconds=5, answer_seconds=10, connections=64, drain_seconds=1)


def well() -> None:
    """Nothing is wrong."""


class Probes:
    """The pages as an ASGI application.

    Args:
        live: What is wrong that only a new process can mend; a failing `/livez` ends the pod.
        ready: Why no traffic may come yet, or any more.
        registry: What `/metrics` shows.
    """

    def __init__(self, live: Check = well, ready: Check = well, registry: CollectorRegistry | None = None) -> None:
        self._checks = {Route.LIVEZ.value: live, Route.READYZ.value: ready}
        self._registry = registry or CollectorRegistry()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; 404 for any other page."""
        status, kind, body = self._page(scope["path"])
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _page(self, path: str) -> tuple[int, str, bytes]:
        if path == Route.METRICS:
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path not in self._checks:
            return 404, _PLAIN, f"there are {', '.join(PAGES)}\n".encode()
        wrong = self._checks[path]()
        return (503 if wrong else 200), _PLAIN, f"{wrong or 'ok'}\n".encode()

    @asynccontextmanager
    async def serving(self, ports: Iterable[int]) -> AsyncGenerator[None]:
        """Within the block every port serves the pages, on every address of both families.

        Raises:
            BadInput: A port cannot be listened on.
        """
        sockets = [each for port in ports for each in listen(EVERY_ADDRESS, port)]
        server = HttpServer(self, sockets, stop := asyncio.Event(), ProbeProtocol)
        serving = asyncio.create_task(server.run_until_stopped())
        try:
            yield
        finally:
            stop.set()
            await serving
