"""What a worker serves: its work log for payroll alone, and probes and metrics for everybody."""

import logging
import time
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry, Gauge

from runtime.contract import Route
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError
from runtime.kubernetes.token_review import TokenReviews
from runtime.service.http import Receive, Scope, Send
from runtime.service.probes import Check, Probes
from runtime.work_log import WorkLog

_log = logging.getLogger(__name__)


class WorkerPages(Probes):
    """`/work-log?since=OFFSET`: whole lines from there on. Header `PF-Next`: the offset after them; `PF-Size`: of all.

    Args:
        reader: The one user who may read; empty for nobody.
    """

    def __init__(
        self, log: WorkLog, reviews: TokenReviews, reader: str, live: Check, ready: Check, registry: CollectorRegistry
    ) -> None:
        super().__init__(live, ready, registry)
        self._work_log = log
        self._reviews = reviews
        self._reader = reader
        self._read_at = Gauge(
            "worker_log_read_timestamp_seconds", "When payroll last read the work log.", registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] != Route.WORK_LOG:
            await super().__call__(scope, receive, send)
            return
        status, after, body = await self._lines(scope)
        headers = [
            (b"content-type", b"application/x-ndjson" if status == 200 else b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            *([(b"pf-next", b"%d" % after), (b"pf-size", b"%d" % self._work_log.size())] if status == 200 else []),
            *([(b"www-authenticate", b"Bearer")] if status == 401 else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _lines(self, scope: Scope) -> tuple[int, int, bytes]:
        if scope["method"] != "GET":
            return 405, 0, b"GET only\n"
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
        scheme, _, token = header.partition(" ")
        try:
            user = await self._reviews.user(token.strip()) if scheme.lower() == "bearer" else ""
        except (KubernetesError, ApiUnreachable) as error:
            _log.warning("nobody can read the work log now: %s", error)
            return 503, 0, b"the API server was asked who you are, and did not say\n"
        if not user:
            return 401, 0, b"a ServiceAccount's token for this audience is needed\n"
        if user != self._reader:
            return 403, 0, b"you may not read this work log\n"
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("since", ["0"])[0]
        if not (asked.isascii() and asked.isdigit() and len(asked) < 18):
            return 400, 0, b"since is an offset: a whole number\n"
        body, after = self._work_log.read(int(asked))
        self._read_at.set(time.time())
        return 200, after, body
