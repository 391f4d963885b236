"""MCP (Streamable HTTP, stateless) as far as a dialect needs it: the faucet's one tool.

Both names of the tool's argument are understood: the Fly.io guide's `wallet_address`, which needs no registration, and
the published server's `agent_casino_id`, which keeps all of its faucet's rules.
"""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from runtime.sandbox.refused import RefusedError
from runtime.sandbox.rest import Call, Endpoint, RestOperation, Service

_ACCEPTED: Final = ("application/json", "text/event-stream")
_METHOD_NOT_FOUND: Final = -32601


class McpEndpoint(Endpoint):
    """Answers a JSON-RPC request with one server-sent event."""

    def render(self, document: dict[str, Any], status: int) -> Response:
        """A result or a JSON-RPC error as an event; what is refused before that as plain JSON."""
        if status != 200:
            return JSONResponse(document, status)
        return Response(f"event: message\ndata: {json.dumps(document)}\n\n", media_type="text/event-stream")

    async def run(self, request: Request, *, fail_after_credit: bool = False) -> dict[str, Any]:
        """Like the published servers, insist on both media types."""
        if not all(kind in request.headers.get("accept", "") for kind in _ACCEPTED):
            raise RefusedError(406, "not_acceptable", f"Accept must name {' and '.join(_ACCEPTED)}")
        return await super().run(request, fail_after_credit=fail_after_credit)


def _call_tool(service: Service, call: Call) -> dict[str, Any]:
    params = call.body.get("params")
    params = params if isinstance(params, dict) else {}
    request_id = call.body.get("id")
    envelope = {"jsonrpc": "2.0", "id": request_id if isinstance(request_id, int | str) else None}
    if (call.body.get("method"), params.get("name")) != ("tools/call", "claim_faucet"):
        error = {"code": _METHOD_NOT_FOUND, "message": "This sandbox answers tools/call of claim_faucet only"}
        return envelope | {"error": error}
    arguments = params.get("arguments")
    body = arguments if isinstance(arguments, dict) else {}
    try:
        result, failed = _claim(service, Call(None, call.ip, {}, {}, body)), {}
    except RefusedError as refusal:  # a tool's failure is a result, too
        result, failed = refusal.body(), {"isError": True}
    return envelope | {"result": {"content": [{"type": "text", "text": json.dumps(result)}]} | failed}


def _claim(service: Service, call: Call) -> dict[str, Any]:
    if "wallet_address" in call.body:
        agent_id = call.text("wallet_address", "invalid_request")
        service.agents.ensure(agent_id)
        claim_id = service.agents.claim(agent_id, call.ip, per_ip=False, new_only=False)
    else:
        agent_id, code = call.text("agent_casino_id", "invalid_request"), call.optional_text("referral_code")
        claim_id = service.agents.claim(
            agent_id, call.ip, per_ip=service.claim_per_ip, new_only=True, referral_code=code
        )
    return {"credited": 1, "claim_id": claim_id, "agent_id": agent_id}


MCP: Final = RestOperation(
    "claim", "fly", "POST", "/mcp", _call_tool, needs_key=False,
    request={"jsonrpc": {"const": "2.0"}, "id": {"type": "integer"}, "method": {"const": "tools/call"},
             "params": {"type": "object"}},
)  # fmt: skip
