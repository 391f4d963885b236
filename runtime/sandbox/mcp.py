"""The two published MCP servers: Streamable HTTP, stateless, the protocol of 2025-11-25 and before.

A POST must accept JSON and server-sent events (406 otherwise) and is answered by one event; a GET answers a page. The
tools are in `mcp_tools`. A fault finds a tool's call by its operation (`create`, `claim`, …) in the dialect `mcp`, and
any other request by its method, e.g. `tools/list`.
"""

import json
from collections import deque
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from runtime.contract import VERSION
from runtime.contract import Route as Path
from runtime.money import loads
from runtime.sandbox.faults import Fault
from runtime.sandbox.mcp_tools import ESCROW_TOOLS, FAUCET_TOOLS, Tool, call_tool
from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, Endpoint, RestOperation, Service

PROTOCOL_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

_METHODS: Final = ("initialize", "notifications/initialized", "ping", "tools/call", "tools/list", "server/discover")
_ACCEPTED: Final = ("application/json", "text/event-stream")
_PARSE_ERROR, _INVALID_REQUEST, _METHOD_NOT_FOUND, _REFUSED = -32700, -32600, -32601, -32000


class McpServer:
    """One server, the ASGI application of its path.

    Args:
        name: What it calls itself, e.g. `agent-escrow`.
        dialect: What its calls are called in faults and figures.
    """

    def __init__(self, service: Service, name: str, tools: tuple[Tool, ...], dialect: str = "mcp") -> None:
        self._service = service
        self._name = name
        self._dialect = dialect
        self.tools = {tool.name: tool for tool in tools}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or break the answer as a fault says."""
        if scope["method"] == "GET":
            page = {"service": f"{self._name}-mcp", "transport": "StreamableHTTP", "tools": list(self.tools)}
            return await JSONResponse(page)(scope, receive, send)
        messages = await read_whole(receive)
        message = parsed(messages)
        tool = self._tool(message)
        method = message.get("method")
        name = tool.operation if tool else method if method in _METHODS else "invalid"
        operation = RestOperation(name, self._dialect, "POST", scope["path"], self._answer, needs_key=False)

        async def again() -> Message:
            return messages.popleft() if messages else await receive()

        return await _Exchange(self._service, operation)(scope, again, send)

    def _tool(self, message: dict[str, Any]) -> Tool | None:
        params = message.get("params")
        called = message.get("method") == "tools/call" and isinstance(params, dict)
        name = params.get("name") if called and isinstance(params, dict) else None
        return self.tools.get(name) if isinstance(name, str) else None

    def _answer(self, service: Service, call: Call) -> dict[str, Any]:
        request_id = call.body.get("id")
        if not isinstance(call.body.get("method"), str):
            raise RefusedError(400, str(_INVALID_REQUEST), "Invalid Request: not one JSON-RPC message")
        if "id" not in call.body:
            return {}
        try:
            outcome = {"result": self._result(service, call)}
        except RefusedError as refusal:
            outcome = {"error": {"code": int(refusal.code), "message": refusal.message}}
        return {"jsonrpc": "2.0", "id": request_id, **outcome}

    def _result(self, service: Service, call: Call) -> dict[str, Any]:
        params = call.body.get("params")
        params = params if isinstance(params, dict) else {}
        match call.body["method"]:
            case "initialize":
                asked = params.get("protocolVersion")
                return {
                    "protocolVersion": asked if asked in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[0],
                    "capabilities": {"tools": {"listChanged": True}},  # as published, though it never tells
                    "serverInfo": {"name": self._name, "version": VERSION},
                }
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [tool.listed() for tool in self.tools.values()]}
            case "tools/call":
                arguments = params.get("arguments", {})
                if (tool := self._tool(call.body)) is None or not isinstance(arguments, dict):
                    text = f"MCP error -32602: Tool {params.get('name')} not found"
                    return {"content": [{"type": "text", "text": text}], "isError": True}
                return call_tool(service, tool, arguments, call)
        raise RefusedError(200, str(_METHOD_NOT_FOUND), "Method not found")


class _Exchange(Endpoint):
    """One request to an MCP server."""

    def render(self, document: dict[str, Any], status: int) -> Response:
        """An answer as an event; what is refused before that, and what nothing is answered to, without one."""
        if status != 200:
            code = document["error"] if document["error"].lstrip("-").isdigit() else _REFUSED
            error = {"code": int(code), "message": document.get("message", document["error"])}
            return JSONResponse({"jsonrpc": "2.0", "error": error, "id": None}, status)
        if not document:
            return Response(status_code=202)
        return Response(
            f"event: message\ndata: {json.dumps(document, default=float)}\n\n", media_type="text/event-stream"
        )

    async def run(self, request: Request, fault: Fault | None = None) -> dict[str, Any]:
        """Like the published servers, insist on both media types, on JSON, and on a version that they know."""
        headers = request.headers
        if not all(kind in headers.get("accept", "") for kind in _ACCEPTED):
            raise RefusedError(406, str(_REFUSED), f"Not Acceptable: Client must accept both {' and '.join(_ACCEPTED)}")
        if headers.get("content-type", "").partition(";")[0].strip() != _ACCEPTED[0]:
            raise RefusedError(415, str(_REFUSED), "Unsupported Media Type: Content-Type must be application/json")
        version = headers.get("mcp-protocol-version", PROTOCOL_VERSIONS[0])
        if version not in PROTOCOL_VERSIONS:
            known = ", ".join(PROTOCOL_VERSIONS)
            raise RefusedError(400, str(_REFUSED), f"Unsupported protocol version: {version} (supported: {known})")
        return await super().run(request, fault)


async def read_whole(receive: Receive) -> deque[Message]:
    """The messages of a request's body, up to its end, the peer's, or the most that is read of one."""
    messages: deque[Message] = deque()
    size = 0
    while not messages or (messages[-1].get("more_body") and size <= 64 * 1024):
        messages.append(await receive())
        size += len(messages[-1].get("body", b""))
    return messages


def parsed(messages: deque[Message]) -> dict[str, Any]:
    """The JSON object that came; empty where it is none."""
    try:
        document = loads(b"".join(message.get("body", b"") for message in messages))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def servers(service: Service, dialect: str | None = None) -> dict[str, McpServer]:
    """The servers by path; `/mcp` is the faucet's in the `fly` dialect, whose base URL is the sandbox itself."""
    found = {
        Path.SANDBOX_MCP_FAUCET.value: McpServer(service, "agent-faucet", FAUCET_TOOLS),
        Path.SANDBOX_MCP_ESCROW.value: McpServer(service, "agent-escrow", ESCROW_TOOLS),
    }
    if dialect in (None, "fly"):
        found["/mcp"] = McpServer(service, "agent-faucet", FAUCET_TOOLS, "fly")
    return found
