"""One message of an agent's, from its reading to its answer and its log line."""

import asyncio
import base64
import binascii
import json
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import PurpleFleaError
from runtime.http1.client import ANSWER_BYTES, NotSent
from runtime.http1.client import Answer as UpstreamAnswer
from runtime.http1.connection import Broken
from runtime.http1.written import Headers
from runtime.mcp_proxy import answers, message, tools
from runtime.mcp_proxy.budgets import Fate, Spending
from runtime.mcp_proxy.events import EventCutter, data_of, has_id
from runtime.mcp_proxy.http_server import Answer, Request
from runtime.mcp_proxy.message import Executed, NotAMessage, Reason
from runtime.mcp_proxy.rules import Refused
from runtime.mcp_proxy.upstream import ACCEPT, AGENT, JSON, PLAIN, Failure, Sending, Upstream, lost
from runtime.redaction import excerpt
from runtime.trace import HEADER, outgoing

if TYPE_CHECKING:
    from runtime.mcp_proxy.proxy import Proxy

ABANDONED_SECONDS: Final = 300.0
"""How long a call is carried through that its agent, of the older era, no longer waits for."""
_END_SECONDS: Final = 1.0
"""How long an upstream may leave a stream open after the result."""

_LISTS: Final = frozenset({"tools/list", "prompts/list", "resources/list", "resources/templates/list"})
_CACHED: Final = _LISTS | {"server/discover"}
_SAFE: Final = _CACHED | {"initialize", "ping", "notifications/initialized", "notifications/cancelled"}
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_FORWARDED: Final = frozenset(
    {b"mcp-session-id", b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"last-event-id", b"tracestate"}
)
_UNAVAILABLE: Final = (502, 503, 504)


@dataclass
class Line:
    """What is logged of an exchange; see docs/mcp.md."""

    server: str
    method: str = ""
    tool: str = ""
    id: str | int | None = None
    era: str = ""
    version: str = ""
    code: int | None = None
    is_error: bool | None = None
    reason: str = ""
    executed: str = ""
    cache: str = ""
    abandoned: bool | None = None
    traceparent: str = ""
    began: float = field(default_factory=time.monotonic)


class Exchange:
    """One POST.

    Args:
        proxy: What all exchanges share.
        upstream: Whom it is for.
    """

    def __init__(self, proxy: "Proxy", upstream: Upstream, request: Request, answer: Answer) -> None:
        self._proxy = proxy
        self._upstream = upstream
        self._request = request
        self._out = answer
        self._sending = Sending(safe=True)
        self._limit = asyncio.timeout(None)
        self._key = ""
        self.line = Line(upstream.name)
        version = request.header(b"mcp-protocol-version")
        self.modern = version >= message.MODERN_VERSION
        self.line.version, self.line.era = version, "modern" if self.modern else "legacy"

    @property
    def attempts(self) -> int:
        """How often it was sent."""
        return self._sending.attempts

    async def run(self) -> None:
        """Answer the agent."""
        try:
            self._message = message.read(self._request.body)
        except NotAMessage as error:
            self.line.code = error.code
            return await self._out.send(400, message.error(None, error.code, str(error)))
        asked = self._message
        self.line.method, self.line.tool, self.line.id = asked.method, asked.tool, asked.id
        if wrong := self._mismatch():
            self.line.code = message.HEADER_MISMATCH
            return await self._out.send(400, message.error(asked.id, message.HEADER_MISMATCH, wrong))
        try:
            async with self._upstream.slot():
                await self._answer()
        except Refused as refusal:
            await self._own_error(refusal.reason, Executed.NO, refusal.text, refusal.facts)
        except Failure as failure:
            await self._own_error(failure.reason, failure.executed, failure.text, failure.facts)

    def stop(self, at: float) -> None:
        """Be done by then, in seconds of the loop's clock."""
        when = self._limit.when()
        if self._limit_is_running and (when is None or when > at):
            self._limit.reschedule(at)

    _limit_is_running = False

    async def _answer(self) -> None:
        if self._message.method in _CACHED:
            return await self._list()
        sending = self._sending
        sending.safe = self._message.method in _SAFE or self._message.tool in tools.SAFE
        sending.money = bool(self._message.tool) and not sending.safe
        document, reserved = await self._admitted()
        body = message.write(document)
        if reserved is None:
            return await self._relay(body)
        fate = Fate.SENT
        try:
            await self._relay(body)
            fate = answers.fate_of(self._outcome)
        except Failure as failure:
            fate = Fate.REFUSED if failure.executed is Executed.NO else Fate.SENT
            raise
        finally:
            await self._noted(reserved, fate)

    # --- what is sent

    async def _admitted(self) -> tuple[dict[str, Any], int | None]:
        """The document to send, with the key in it, and the row that it is charged to. Raises Refused."""
        asked = self._message
        if not asked.tool:
            return asked.document, None
        name, arguments = self._upstream.name, tools.agents_own(asked.arguments)
        rules = self._proxy.rules.current()
        amount = rules.judge(name, asked.tool, arguments)
        row = None
        document = asked.with_arguments(self._with_key(arguments))
        if asked.tool in tools.SPENDS:
            resumes = "inputResponses" in asked.params or "requestState" in asked.params
            mark = tools.fingerprint(name, asked.tool, arguments)
            payee = excerpt(json.dumps(tools.payee_of(arguments)), 100)
            spending = Spending(name, asked.tool, mark, amount, payee, resumes)
            row = await self._proxy.ledger.reserve(spending, rules.budgets)
        return document, row

    def _with_key(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._message.tool not in self._upstream.takes_key:
            return arguments
        try:
            self._key = self._proxy.credentials.key()
        except PurpleFleaError as error:
            text = f"The sidecar has no usable key ({error.message}). Nothing was sent; a person has to mend it."
            raise Refused(Reason.NO_KEY, text) from None
        return arguments | {tools.KEY_ARGUMENT: self._key}

    async def _noted(self, row: int, fate: Fate) -> None:
        if fate is Fate.SENT:
            return
        try:
            await self._proxy.ledger.note(row, fate)
        except sqlite3.Error as error:  # it stays charged, which is the safe side
            self._proxy.complain(f"what became of a call could not be written down: {error}")

    def _headers(self) -> Headers:
        """What the upstream is told: of the agent's headers only those of the protocol."""
        found = [JSON, ACCEPT, PLAIN, AGENT]
        for name, value in self._request.headers:
            if name in _FORWARDED or name.startswith(b"mcp-param-"):
                found.append((name, value))
        trace = outgoing()[HEADER]
        self.line.traceparent = trace
        return [*found, (HEADER.encode(), trace.encode())]

    def _mismatch(self) -> str | None:
        """Where the headers, by which others route, say something else than the body, by which servers act."""
        asked, request = self._message, self._request
        for name in (b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id"):
            if len(request.all(name)) > 1:
                return f"{name.decode()} comes twice"
        if not asked.is_request:
            return None
        method, named = request.all(b"mcp-method"), request.all(b"mcp-name")
        if (self.modern or method) and method != [asked.method]:
            return "mcp-method does not match the body"
        if (key := _NAMED.get(asked.method)) and (self.modern or named):
            expected = asked.params.get(key)
            if not named or _decoded(named[0]) != expected:
                return f"mcp-name does not match the body's {key}"
        return None

    # --- what comes back

    @asynccontextmanager
    async def _bounded(self) -> AsyncGenerator[None]:
        """Within the block the exchange ends when the sidecar does, or when nobody waits for it any more."""
        try:
            async with self._limit:
                self._limit_is_running = True
                self._proxy.under_way.add(self)
                if self._proxy.stop_at is not None:
                    self.stop(self._proxy.stop_at)
                self._out.when_gone(self._left)
                yield
        except TimeoutError:
            if self.line.abandoned:
                raise lost("the agent left") from None
            text = "The sidecar is being stopped."
            if self._sending.executed is Executed.UNKNOWN:
                text += " The call may have been carried out: look first, do not simply repeat it."
            raise Failure(Reason.STOPPED, self._sending.executed, text) from None
        finally:
            self._limit_is_running = False
            self._proxy.under_way.discard(self)

    def _left(self) -> None:
        """The agent closed the connection: since 2026-07-28 that cancels the call; before, it does not."""
        self.line.abandoned = True
        self.stop(asyncio.get_running_loop().time() + (0 if self.modern else ABANDONED_SECONDS))

    async def _relay(self, body: bytes) -> None:
        """Send, and pass on what comes. Raises Failure."""
        self._outcome: dict[str, Any] = {}
        headers = self._headers()
        async with self._bounded():
            while True:
                try:
                    answer = await self._upstream.send(self._sending, headers, body)
                    try:
                        return await self._pass_on(answer)
                    finally:
                        answer.close()
                except (NotSent, Broken) as error:
                    await self._upstream.pause(self._sending, error)

    async def _pass_on(self, answer: UpstreamAnswer) -> None:
        if not self._message.is_request:
            body = self._clean(await self._whole(answer))
            return await self._out.send(answer.status, body, _kind(answer), _kept(answer))
        answers.check_status(answer, self._sending.executed)
        if answer.status != 200:
            self._outcome = {"status": answer.status}
            body = self._clean(await self._whole(answer))
            return await self._out.send(answer.status, body, _kind(answer), _kept(answer))
        if answer.kind == "text/event-stream":
            return await self._stream(answer)
        if answer.kind != "application/json":
            raise Broken(f"the answer is {answer.kind or 'of no type'}")
        body = await self._whole(answer)
        if not self._is_result(body):
            raise Broken("the answer is not the answer to this call")
        return await self._out.send(200, self._clean(body), more=_kept(answer))

    async def _whole(self, answer: UpstreamAnswer) -> bytes:
        try:
            async with asyncio.timeout(self._upstream.call_seconds):
                return bytes(await answer.whole())
        except TimeoutError:
            raise Broken("the answer stopped coming") from None

    async def _stream(self, answer: UpstreamAnswer) -> None:
        """Pass the events on, each as soon as it is whole, up to the result."""
        cutter, resumable = EventCutter(ANSWER_BYTES), False
        try:
            async for piece in answer.pieces():
                for event in cutter.feed(piece):
                    final = self._is_result(data_of(event))
                    resumable = resumable or has_id(event)
                    await self._event(event, answer, last=final)
                    if final:
                        return await _to_its_end(answer)
            raise Broken("the stream ended before the result")
        except ValueError as error:
            raise Broken(str(error)) from None
        except Broken:
            if resumable and not self.modern:  # the agent can fetch the rest by the last id that it saw
                self._outcome = {}
                self.line.reason = Reason.BROKEN.value
                return await self._out.end()
            raise

    async def _event(self, event: bytes, answer: UpstreamAnswer, *, last: bool) -> None:
        event = self._clean(event)
        if self._sending.passed_on:
            return await self._out.write(event, last=last)
        self._sending.passed_on = True
        kept = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"), *_kept(answer)]
        return await self._out.start(200, kept, event, last=last)

    def _is_result(self, data: bytes) -> bool:
        """Whether this is the answer to the message; notes down what it says."""
        if not data:
            return False
        try:
            said = json.loads(data)
        except (ValueError, RecursionError):
            return False
        if not isinstance(said, dict):
            return False
        if "method" in said:
            if str(said["method"]).endswith("list_changed"):
                self._upstream.cache.clear()
            return False
        if said.get("id") != self._message.id or type(said.get("id")) is not type(self._message.id):
            return False
        self._outcome = said
        self._note_outcome(said)
        return True

    def _note_outcome(self, said: dict[str, Any]) -> None:
        error, result = said.get("error"), said.get("result")
        if isinstance(error, dict) and isinstance(error.get("code"), int):
            self.line.code = error["code"]
        if isinstance(result, dict) and self._message.tool:
            self.line.is_error = result.get("isError") is True

    def _clean(self, data: bytes) -> bytes:
        """Without the key, should the upstream have repeated it."""
        for form in {self._key, json.dumps(self._key)[1:-1]} if self._key else ():
            data = data.replace(form.encode(), b"[redacted]")
        return data

    # --- lists

    async def _list(self) -> None:
        cache, asked = self._upstream.cache, self._message
        said = {name: value for name, value in asked.params.items() if name != "_meta"}
        session = self._request.header(b"mcp-session-id")
        key = (asked.method, json.dumps(said, sort_keys=True), self.line.version, session)
        found, self.line.cache = cache.fresh(key), "hit"
        if found is None:
            self.line.cache = "miss"
            try:
                async with self._bounded():
                    found = await cache.once(key, self._fetched)
            except Failure:
                found = cache.stale(key)
                if found is None:
                    raise
                self.line.cache = "stale"
            except answers.Passed as passed:
                self.line.code = passed.code
                await self._out.send(passed.status, passed.body_for(asked.id), passed.kind)
                return
        await self._out.send(200, message.result(asked.id, self._shown(found)))

    async def _fetched(self) -> dict[str, Any]:
        """A list from the upstream. Raises Failure, or Passed with an answer that is none."""
        headers, body = self._headers(), message.write(self._message.document)
        while True:
            try:
                answer = await self._upstream.send(self._sending, headers, body)
                try:
                    if answer.status in _UNAVAILABLE and self._message.method == "server/discover":
                        # One hiccup here, and a client speaks the older era for its whole session.
                        raise Broken(f"the service answered {answer.status}")
                    answers.check_status(answer, Executed.NO)
                    whole = await self._whole(answer)
                    return self._without_key(answers.result_in(answer, whole, self._is_result, lambda: self._outcome))
                finally:
                    answer.close()
            except (NotSent, Broken) as error:
                await self._upstream.pause(self._sending, error)

    def _without_key(self, found: dict[str, Any]) -> dict[str, Any]:
        """A list of tools without the key among their arguments, which are noted as the ones to add it to."""
        listed = found.get("tools")
        if self._message.method != "tools/list" or not isinstance(listed, list):
            return found
        self._upstream.takes_key.update(str(tool.get("name")) for tool in listed if tools.takes_key(tool))
        return found | {"tools": [tools.without_key(tool) for tool in listed if isinstance(tool, dict)]}

    def _shown(self, found: dict[str, Any]) -> dict[str, Any]:
        """A list as the agent sees it: without the tools that the rules keep from it."""
        rules = self._proxy.rules.current().of(self._upstream.name)
        if self._message.method != "tools/list" or "tools" not in found or not rules.hides_tools:
            return found
        return found | {"tools": [tool for tool in found["tools"] if rules.permits(str(tool.get("name")))]}

    # --- the sidecar's own answers

    async def _own_error(self, reason: Reason, executed: Executed, text: str, facts: dict[str, Any]) -> None:
        self.line.reason, self.line.executed = reason.value, executed.value
        self.line.code = message.SIDECAR_ERROR
        body = message.own_error(self._message.id, reason, executed, text, **facts)
        if self._sending.passed_on:
            await self._out.write(b"event: message\ndata: " + body + b"\n\n", last=True)
        elif not self._out.status:
            # 200: what the clients of either era take best as the answer to this call.
            await self._out.send(200 if self._message.is_request else 502, body)


def _kind(answer: UpstreamAnswer) -> str:
    return answer.header(b"content-type") or "text/plain"


def _kept(answer: UpstreamAnswer) -> Headers:
    """Of the upstream's headers those that mean something to the agent."""
    names = (b"mcp-session-id", b"mcp-protocol-version", b"retry-after")
    return [(name, value.encode("latin-1")) for name in names if (value := answer.header(name))]


async def _to_its_end(answer: UpstreamAnswer) -> None:
    """Read what is left, so that the connection can be used again."""
    try:
        async with asyncio.timeout(_END_SECONDS):
            await answer.whole()
    except (TimeoutError, Broken):
        return


def _decoded(header: str) -> str | None:
    """A header's value, which may be wrapped as `=?base64?…?=`; None where that is malformed."""
    if not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return base64.b64decode(header[9:-2], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
