"""The custom metrics API's server: its socket, its certificate, and whom it believes."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.contract import METRICS_SERVICE
from runtime.kubernetes.client import KubernetesApi
from runtime.metrics_server.certificates import MountedCertificate, OwnCertificate, ServingContext
from runtime.metrics_server.front_proxy import AccessReviews, FrontProxy, follow
from runtime.metrics_server.pages import ApiProtocol, CustomMetricsApi
from runtime.metrics_server.reading import Readings
from runtime.service.http import HttpServer
from runtime.service.sockets import EVERY_ADDRESS, listen

_log = logging.getLogger(__name__)


def dns_names(namespace: str) -> Sequence[str]:
    """By which the aggregator dials the Service; the first one is what it checks."""
    name = f"{METRICS_SERVICE}.{namespace}.svc"
    return name, f"{name}.cluster.local"


class ApiServer:
    """Serves the API.

    Args:
        directory: Where a pair is mounted; None to make one.
        own: Makes the own certificate, with other times in a test.
    """

    def __init__(
        self,
        api: KubernetesApi,
        readings: Readings,
        namespace: str,
        directory: Path | None = None,
        own: Callable[..., OwnCertificate] = OwnCertificate,
    ) -> None:
        self._api = api
        self._serving = ServingContext()
        self._app = CustomMetricsApi(readings, namespace, AccessReviews(api))
        self._certificate: OwnCertificate | MountedCertificate = (
            MountedCertificate(self._serving, directory) if directory else own(api, self._serving, dns_names(namespace))
        )
        self._server: HttpServer | None = None

    def unready(self) -> str | None:
        """Why the aggregator cannot reach it yet."""
        if not self._serving.ready:
            return "there is no certificate, or whom to believe is not known"
        return None if self._certificate.registered else "the CA is not registered"

    async def run(self, port: int, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises `BadInput` where the port cannot be listened on."""
        self._server = HttpServer(self._app, listen(EVERY_ADDRESS, port), stop, ApiProtocol, tls=self._serving.outer)
        background = [asyncio.create_task(self._certificate.run()), asyncio.create_task(follow(self._api, self._trust))]
        serving = asyncio.create_task(self._server.run_until_stopped())
        try:
            done, _ = await asyncio.wait([serving, *background], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            stop.set()
            await serving

    def _trust(self, proxy: FrontProxy) -> None:
        try:
            self._serving.use(clients=proxy.authority)
        except ssl.SSLError as error:
            _log.error("the front proxy's authority cannot be used: %s; the one before still holds", error)
            return
        self._app.proxy = proxy
        if self._server:
            self._server.let_go()  # who came by the authority before must show a certificate of this one
        _log.info("believes the front proxy with the names %s", ", ".join(sorted(proxy.names)) or "of its authority")
