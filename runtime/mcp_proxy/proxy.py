"""The sidecar's pages: who may ask at all, for which upstream, and the probes."""

import asyncio
import logging
import re
import time
from typing import Any, Final

from runtime.contract import Route
from runtime.credentials import Credentials
from runtime.errors import PurpleFleaError
from runtime.mcp_proxy import listening, message
from runtime.mcp_proxy.breaker import State
from runtime.mcp_proxy.budgets import Ledger
from runtime.mcp_proxy.exchange import Exchange, Line
from runtime.mcp_proxy.http_server import Answer, Request
from runtime.mcp_proxy.metrics import KIND, Metrics
from runtime.mcp_proxy.rules_file import RulesFile
from runtime.mcp_proxy.upstream import Upstream
from runtime.money import MICRO
from runtime.trace import HEADER, tracing

_HERE: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_HERE_ORIGIN: Final = re.compile(rf"https?://{_HERE.pattern}", re.IGNORECASE)
_PLAIN: Final = "text/plain; charset=utf-8"
_log: Final = logging.getLogger("runtime.mcp_proxy")

_METRICS: Final = {
    "mcp_proxy_exchanges_total": ("counter", "Exchanges with agents."),
    "mcp_proxy_attempts_total": ("counter", "Requests sent to an upstream."),
    "mcp_proxy_refusals_total": ("counter", "Errors of the sidecar's own, by reason."),
    "mcp_proxy_cache_total": ("counter", "Lists, by where they came from."),
    "mcp_proxy_exchange_seconds": ("histogram", "Time of an exchange, streams included."),
    "mcp_proxy_under_way": ("gauge", "Exchanges under way."),
    "mcp_proxy_breaker_open": ("gauge", "1 while an upstream is left alone."),
    "mcp_proxy_rules_wrong": ("gauge", "1 while the newest rules file is wrong and an older one holds."),
    "mcp_proxy_budget_usdc": ("gauge", "A budget's limit."),
    "mcp_proxy_budget_spent_usdc": ("gauge", "What is charged to it."),
}


class Proxy:
    """What all exchanges share, and the handlers of both ports."""

    def __init__(self, upstreams: list[Upstream], credentials: Credentials, rules: RulesFile, ledger: Ledger) -> None:
        self.upstreams = {f"/{upstream.name}": upstream for upstream in upstreams}
        self.credentials = credentials
        self.rules = rules
        self.ledger = ledger
        self.under_way: set[Exchange] = set()
        self.streams: set[asyncio.Task[Any]] = set()
        self.stop_at: float | None = None
        self.metrics = Metrics()
        for name, (kind, text) in _METRICS.items():
            self.metrics.describe(name, kind, text)

    # --- the agent's port

    async def handle(self, request: Request, answer: Answer) -> None:
        """Answer one request of an agent's."""
        upstream, refused = self.upstreams.get(request.target), _not_from_here(request)
        if refused is None and upstream is None:
            refused = 404, f"there are {', '.join(sorted(self.upstreams))}"
        refused = refused or _not_understood(request)
        if refused or upstream is None:
            status, text = refused or (404, "")
            more = [(b"allow", b"POST")] if status == 405 else []
            return await answer.send(status, message.error(None, message.INVALID_REQUEST, text), more=more)
        serve = self._exchange if request.method == "POST" else self._session
        with tracing(request.header(HEADER.encode())):
            return await serve(upstream, request, answer)

    async def _exchange(self, upstream: Upstream, request: Request, answer: Answer) -> None:
        exchange = Exchange(self, upstream, request, answer)
        try:
            await exchange.run()
        finally:
            self._record(exchange.line, request, answer, exchange.attempts)

    async def _session(self, upstream: Upstream, request: Request, answer: Answer) -> None:
        line = Line(upstream.name, method=request.method, era="legacy")
        line.version = request.header(b"mcp-protocol-version")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler is one
        self.streams.add(task)
        try:
            await listening.pass_session(upstream, request, answer, line)
        finally:
            self.streams.discard(task)
            self._record(line, request, answer, 1)

    def _record(self, line: Line, request: Request, answer: Answer, attempts: int) -> None:
        seconds = time.monotonic() - line.began
        fields = {name: value for name, value in vars(line).items() if value not in ("", None)}
        del fields["began"]
        fields |= {"status": answer.status, "attempts": attempts, "ms": round(seconds * 1000, 2)}
        fields |= {"bytes_in": len(request.body), "bytes_out": answer.sent_bytes}
        fields["breaker"] = self.upstreams[f"/{line.server}"].breaker.state.value
        _log.info("exchange", extra=fields)
        self.metrics.count("mcp_proxy_exchanges_total", server=line.server, method=_known(line.method), era=line.era)
        if attempts:
            self.metrics.count("mcp_proxy_attempts_total", attempts, server=line.server)
        if line.reason:
            self.metrics.count("mcp_proxy_refusals_total", server=line.server, reason=line.reason)
        if line.cache:
            self.metrics.count("mcp_proxy_cache_total", server=line.server, cache=line.cache)
        self.metrics.took(seconds)

    def complain(self, what: str) -> None:
        """Something that a person has to see to."""
        _log.error("%s", what)

    def stop(self, at: float) -> None:
        """End every stream now, and every call by then, in seconds of the loop's clock."""
        self.stop_at = at
        for task in self.streams:
            task.cancel()
        for exchange in list(self.under_way):
            exchange.stop(at)

    # --- the probes' ports

    async def handle_probe(self, request: Request, answer: Answer) -> None:
        """`/livez`, `/readyz`, `/metrics`."""
        page = request.target.partition("?")[0]
        if page == Route.METRICS:
            self._look()
            await answer.send(200, self.metrics.text(), KIND)
        elif page in (Route.LIVEZ, Route.READYZ):
            wrong = self._unready() if page == Route.READYZ else None
            await answer.send(503 if wrong else 200, f"{wrong or 'ok'}\n".encode(), _PLAIN)
        else:
            await answer.send(404, b"there are /livez, /readyz, /metrics\n", _PLAIN)

    def _unready(self) -> str | None:
        """Why no agent should come. An upstream that is away is none: agents are told so, and a pod that is restarted
        for it mends nothing."""
        if self.stop_at is not None:
            return "stopping"
        try:
            self.credentials.key()
        except PurpleFleaError as error:
            return error.message
        return None

    def _look(self) -> None:
        """Set the gauges."""
        gauge = self.metrics.gauge
        gauge("mcp_proxy_under_way", float(len(self.under_way)))
        gauge("mcp_proxy_rules_wrong", float(self.rules.wrong is not None))
        for upstream in self.upstreams.values():
            gauge("mcp_proxy_breaker_open", float(upstream.breaker.state is State.OPEN), server=upstream.name)
        for budget in self.rules.current().budgets:
            gauge("mcp_proxy_budget_usdc", budget.limit.micro / MICRO, budget=budget.name)
            gauge("mcp_proxy_budget_spent_usdc", self.ledger.spent(budget).micro / MICRO, budget=budget.name)


_METHODS: Final = frozenset(
    {"tools/call", "tools/list", "prompts/list", "resources/list", "resources/read", "server/discover", "initialize",
     "ping", "notifications/initialized", "notifications/cancelled", "GET", "DELETE"}
)  # fmt: skip


def _known(method: str) -> str:
    """The method as a label: an agent could make up any number of them."""
    return method if method in _METHODS else "other"


def _not_from_here(request: Request) -> tuple[int, str] | None:
    """Why this is no agent of this pod: a name that a web page made point here, or a page's own origin."""
    hosts, origins = request.all(b"host"), request.all(b"origin")
    if len(hosts) != 1 or not _HERE.fullmatch(hosts[0]):
        return 403, "Host is not localhost"
    if len(origins) > 1 or (origins and not _HERE_ORIGIN.fullmatch(origins[0])):
        return 403, "Origin is not localhost"
    return None


def _not_understood(request: Request) -> tuple[int, str] | None:
    """Why a request is none to an MCP server."""
    if request.method in ("GET", "DELETE") and request.header(b"mcp-session-id"):
        return None  # only a server with sessions is listened to, or has one to end
    if request.method != "POST":
        return 405, "only POST, and within a session GET and DELETE"
    kinds = request.all(b"content-type")
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
        return 415, "Content-Type is not application/json"
    if request.all(b"content-encoding"):
        return 415, "no Content-Encoding is understood"
    accepted = ",".join(request.all(b"accept")).lower() or "*/*"
    if "*/*" not in accepted and not ("application/json" in accepted and "text/event-stream" in accepted):
        return 406, "Accept must name application/json and text/event-stream"
    return None
