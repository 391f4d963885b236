"""What a session of the older era has beside its calls: a stream to listen to by GET, and an end by DELETE."""

import asyncio
from typing import TYPE_CHECKING, Final

from runtime.http1.client import ANSWER_BYTES, NotSent
from runtime.http1.client import Answer as UpstreamAnswer
from runtime.http1.connection import Broken
from runtime.http1.written import Headers
from runtime.mcp_proxy import message
from runtime.mcp_proxy.events import EventCutter, data_of
from runtime.mcp_proxy.http_server import Answer, Request
from runtime.mcp_proxy.upstream import AGENT, Upstream
from runtime.trace import HEADER, outgoing

if TYPE_CHECKING:
    from runtime.mcp_proxy.exchange import Line

_FORWARDED: Final = (b"mcp-session-id", b"mcp-protocol-version", b"last-event-id")


async def pass_session(upstream: Upstream, request: Request, answer: Answer, line: "Line") -> None:
    """Pass a GET or DELETE on, and a stream until either side ends it."""
    line.traceparent = outgoing()[HEADER]
    headers: Headers = [AGENT, (b"accept", b"text/event-stream"), (HEADER.encode(), line.traceparent.encode())]
    headers += [(name, value) for name, value in request.headers if name in _FORWARDED]
    try:
        found = await upstream.client.send(request.method, "", headers, seconds=upstream.call_seconds)
    except (NotSent, Broken) as error:
        text = f"{upstream.name} cannot be reached: {error}"
        return await answer.send(502, message.error(None, message.SIDECAR_ERROR, text))
    try:
        if request.method == "GET" and found.status == 200:
            return await _listen(upstream, found, answer)
        body = bytes(await found.whole()) if request.method == "DELETE" or found.status >= 400 else b""
        await answer.send(found.status, body, found.header(b"content-type") or "text/plain")
    except Broken:
        if not answer.status:
            await answer.send(502, message.error(None, message.SIDECAR_ERROR, f"{upstream.name} gave half an answer"))
    finally:
        found.close()


async def _listen(upstream: Upstream, found: UpstreamAnswer, answer: Answer) -> None:
    """The events of a stream, without a time-out: a server may have nothing to say for hours."""
    if found.kind != "text/event-stream":  # the published servers show a page here
        await answer.send(405, more=[(b"allow", b"POST")])
        return
    await answer.start(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")])
    cutter, task = EventCutter(ANSWER_BYTES), asyncio.current_task()
    assert task is not None  # noqa: S101 - a handler is one
    answer.when_gone(task.cancel)
    try:
        async for piece in found.pieces():
            for event in cutter.feed(piece):
                if b"list_changed" in data_of(event):
                    upstream.cache.clear()
                await answer.write(event)
    except (Broken, ValueError):
        pass  # the agent listens again, by the last id that it saw
    except asyncio.CancelledError:
        pass  # it has left, or the sidecar ends
    await answer.end()
