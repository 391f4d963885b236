"""What is served: the custom metrics API to the front proxy, the queue as JSON to its readers, Prometheus' text."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from runtime.contract import QUEUE_AGE_METRIC, QUEUE_METRIC, QUEUE_VALUE_METRIC, Route
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError
from runtime.kubernetes.token_review import TokenReviews
from runtime.metrics_server.custom_metrics import (
    DISCOVERY_ACCEPTED,
    DISCOVERY_KIND,
    UNAUTHORIZED,
    Asked,
    Refusal,
    answer,
    internal,
)
from runtime.metrics_server.front_proxy import AccessReviews, FrontProxy
from runtime.metrics_server.queue import Poller
from runtime.metrics_server.reading import Figures, Readings, Unknown
from runtime.money import Usdc
from runtime.service.http import PEER_CERTIFICATE, BoundedProtocol, Bounds, Receive, Scope, Send
from runtime.service.probes import Check, Probes

_log = logging.getLogger(__name__)


MOST_STRANGERS: Final = 32
"""Connections without a certificate, which get no answer but a refusal: the front proxy must find room beside them."""


class ApiProtocol(BoundedProtocol):
    """The aggregator's: few peers with many requests, which send nothing but a head."""

    bounds = Bounds(head_seconds=5, body_seconds=5, answer_seconds=10, connections=256, drain_seconds=2)

    @property
    def _is_stranger(self) -> bool:
        return not self.app_state.get(PEER_CERTIFICATE)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, or close at once where there are too many of its kind."""
        super().connection_made(transport)
        strangers = sum(isinstance(one, ApiProtocol) and one._is_stranger for one in self.connections)
        if self._is_stranger and strangers > MOST_STRANGERS:
            transport.abort()


class CustomMetricsApi:
    """The API as an ASGI application; `proxy` is set once it is known whom to believe."""

    def __init__(self, readings: Readings, namespace: str, reviews: AccessReviews) -> None:
        self._readings = readings
        self._namespace = namespace
        self._reviews = reviews
        self.proxy: FrontProxy | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            code, body = 200, await self._body(scope)
        except Refusal as refusal:
            code, body = refusal.code, refusal.body
        await _send(send, scope, code, body)

    async def _body(self, scope: Scope) -> dict[str, Any]:
        certificate = scope["state"].get(PEER_CERTIFICATE)
        user = self.proxy.user(certificate, scope["headers"]) if self.proxy else None
        if user is None:
            raise UNAUTHORIZED
        try:
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"").decode("latin-1")
            asked = Asked.of(scope["method"], scope["path"], scope["query_string"], accept)
        except ValueError:
            raise Refusal(400, "BadRequest", "too many parameters") from None
        try:
            allowed, reason = await self._reviews.allowed(user, asked.attributes)
        except (KubernetesError, ApiUnreachable, TimeoutError) as error:
            _log.warning("whether %s may read a metric is not known: %s", user.name, error)
            raise internal("the API server did not say whether you may") from None
        if not allowed:
            raise asked.forbidden(user.name, reason)
        return answer(asked, self._namespace, self._readings.figures)


class QueuePages(Probes):
    """`/queue-depth` for whoever shows a token of its readers; `/livez`, `/readyz` and `/metrics` for everybody.

    Args:
        readers: Users, as the API server names them; empty for nobody.
    """

    def __init__(
        self, readings: Readings, poller: Poller, reviews: TokenReviews, readers: set[str], ready: Check
    ) -> None:
        registry = CollectorRegistry()
        registry.register(_Collector(readings, poller))
        super().__init__(poller.stalled, ready, registry)
        self._readings = readings
        self._reviews = reviews
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] != Route.QUEUE_DEPTH_JSON:
            await super().__call__(scope, receive, send)
            return
        code, body = await self._queue(scope)
        await _send(send, scope, code, body)

    async def _queue(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
        scheme, _, token = header.partition(" ")
        try:
            user = await self._reviews.user(token.strip()) if scheme.lower() == "bearer" and self._readers else ""
        except (KubernetesError, ApiUnreachable) as error:
            _log.warning("nobody can read the queue now: %s", error)
            return 503, {"error": "the API server was asked who you are, and did not say"}
        if not user:
            return 401, {"error": "a token of a ServiceAccount that may read the queue is needed"}
        if user not in self._readers:
            return 403, {"error": "you may not read the queue"}
        try:
            return 200, _figures(self._readings.figures())
        except Unknown as error:
            return 503, {"error": f"unknown: {error}"}


def _figures(figures: Figures) -> dict[str, Any]:
    """As JSON; what is not known is left out, which readers take for an error, and never for zero."""
    found: dict[str, Any] = {QUEUE_METRIC: figures.depth}
    if figures.oldest_seconds is not None:
        found[QUEUE_AGE_METRIC] = int(figures.oldest_seconds)
    if figures.micro is not None:
        found[QUEUE_VALUE_METRIC] = str(Usdc(figures.micro))
    return found


async def _send(send: Send, scope: Scope, code: int, body: dict[str, Any]) -> None:
    content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    # No Retry-After: client-go waits for it, up to ten times, and one of the controller's few workers waits with it.
    headers = [
        (
            b"content-type",
            b"application/json" + (b";" + DISCOVERY_ACCEPTED.encode() if body.get("kind") == DISCOVERY_KIND else b""),
        ),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-cache, private"),
        *([(b"www-authenticate", b"Bearer")] if code == 401 and scope["scheme"] == "http" else []),
    ]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


class _Collector:
    """The queue for Prometheus. A figure that is unknown has no line, so that no rule takes it for zero."""

    def __init__(self, readings: Readings, poller: Poller) -> None:
        self._readings = readings
        self._poller = poller

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client wants it."""
        try:
            figures = self._readings.figures()
        except Unknown:
            figures = None
        yield GaugeMetricFamily("escrow_queue_known", "1 while the queue's depth is known.", value=bool(figures))
        for name, text, value in _LINES:
            known = None if figures is None else value(figures)
            if known is not None:
                yield GaugeMetricFamily(name, text, value=known)
        yield CounterMetricFamily("escrow_queue_reads", "Complete readings of the queue.", value=self._poller.reads)
        yield CounterMetricFamily("escrow_queue_failures", "Readings that failed.", value=self._poller.failures)


_LINES: Final[tuple[tuple[str, str, Callable[[Figures], float | None]], ...]] = (
    (QUEUE_METRIC, "Escrows that wait for a worker.", lambda figures: figures.depth),
    (QUEUE_AGE_METRIC, "Since when the oldest of them is locked.", lambda figures: figures.oldest_seconds),
    (
        QUEUE_VALUE_METRIC,
        "What is locked in them.",
        lambda figures: None if figures.micro is None else figures.micro / 1_000_000,
    ),
)
