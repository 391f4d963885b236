"""Answers that go wrong on the wire: what a fault does to the response, down to the socket."""

import asyncio
import json
import socket
import struct
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from runtime.sandbox.faults import Fault, Kind
from runtime.service.http import BoundedProtocol

_CONNECTION: Final = "sandbox_connection"
_LARGE_BYTES: Final = 10 * 1024 * 1024
_HTML: Final = (
    "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
)


class FaultableProtocol(BoundedProtocol):
    """The server's HTTP/1.1 connection, which the application can reach as `scope["state"]` to break it for real."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, {**app_state, _CONNECTION: self}, _loop)


async def send_faulty(fault: Fault, answer: Response | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as the fault says; `answer` is the true one, None where the operation was not run."""
    true = answer or JSONResponse({"error": "internal_error"}, 500)
    transport: asyncio.Transport = scope["state"][_CONNECTION].transport
    if fault.kind is Kind.RESET:
        reset(transport)
        await _disconnected(receive)
    elif fault.kind is Kind.HALF:
        await _send_half(true, send)
        transport.close()
        await _disconnected(receive)
    elif fault.kind is Kind.DUPLICATE:
        transport.write(_raw(true))  # first: after the true one the connection may be closed
        await true(scope, receive, send)
    else:
        await _substitute(fault, true)(scope, receive, send)


def came_whole(scope: Scope) -> bool:
    """Whether the peer sent its request to the end, though it may be gone by now."""
    return not scope["state"][_CONNECTION].cycle.more_body


def reset(transport: asyncio.Transport) -> None:
    """Close with RST: a zero linger time drops what is queued and says so to the peer."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _disconnected(receive: Receive) -> None:
    """Until the server knows, too; it would complain of an unfinished answer otherwise."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_half(answer: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    half = bytes(answer.body[: len(answer.body) // 2])
    await send({"type": "http.response.body", "body": half, "more_body": True})


def _raw(answer: Response) -> bytes:
    head = f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}\r\n".encode()
    return (
        head
        + b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        + b"\r\n"
        + bytes(answer.body)
    )


def _substitute(fault: Fault, true: Response) -> Response:
    if fault.kind is Kind.STATUS:
        body = {"error": "internal_error"} if fault.body is None else fault.body
        return JSONResponse(body, fault.status or 500, fault.headers)
    if fault.kind is Kind.CONTENT_TYPE:
        return Response(true.body, true.status_code, {"content-type": "text/plain; charset=utf-8"})
    if fault.kind is Kind.HTML:
        return Response(_HTML, fault.status or 502, {"content-type": "text/html"} | fault.headers)
    if fault.kind is Kind.EMPTY:
        return Response(b"", fault.status or 200, {"content-type": "application/json"} | fault.headers)
    if fault.kind is Kind.LARGE:
        return JSONResponse(json.loads(bytes(true.body)) | {"padding": "x" * _LARGE_BYTES}, true.status_code)
    if fault.kind is Kind.REPLACE:
        return JSONResponse(json.loads(bytes(true.body)) | (fault.body or {}), fault.status or true.status_code)
    return true
