"""The Fly.io guide's surface. It can neither read nor list: the direct answer is all there is."""

from collections.abc import Mapping
from typing import Any, ClassVar

from runtime.errors import BadInput, NotFound, Problem
from runtime.money import loads
from runtime.payments.answer import Answer, AnswerProblem
from runtime.payments.dialect import JSON, Dialect, Endpoint, Fields, Request, Service
from runtime.payments.model import ClaimOutcome, DialectName, EscrowRequest, FaucetClaim, Operation
from runtime.redaction import excerpt

_NO_METHOD, _NO_TOOL = -32601, -32602
"""JSON-RPC's "method not found"; MCP answers "invalid params" for a tool that there is not."""

_OUTCOMES = {
    "already_claimed": ClaimOutcome.ALREADY,
    "ip_rate_limited": ClaimOutcome.RATE_LIMITED,
    "rate_limited": ClaimOutcome.RATE_LIMITED,
}


class FlyDialect(Dialect):
    """`/api/escrow/...` with the id in the body; the token stands in the description and in `metadata.token`.

    The faucet claim is an MCP tool (a JSON-RPC call, usually answered as one server-sent event). It is the only MCP
    call here: money that is owed moves over REST.
    """

    name = DialectName.FLY
    endpoints: ClassVar = {
        Operation.CREATE: Endpoint("POST", "/api/escrow/create"),
        Operation.RELEASE: Endpoint("POST", "/api/escrow/release"),
        Operation.CANCEL: Endpoint("POST", "/api/escrow/cancel"),
        Operation.HEALTH: Endpoint("GET", "/health", authenticated=False),
        Operation.CLAIM: Endpoint(
            "POST", "/mcp", Service.FAUCET, authenticated=False, accept=f"{JSON}, text/event-stream"
        ),
    }
    fields = Fields(amount="amount_usdc", payee="payee_wallet", payer="payer_wallet")
    refuses = ("timeout_hours",)

    def create_body(self, order: EscrowRequest) -> Mapping[str, Any]:
        """Return `{payer_wallet, payee_wallet, amount_usdc, description, metadata}`."""
        if not order.payer:
            raise BadInput("the fly dialect needs the payer's wallet", operation=Operation.CREATE)
        return {
            "payer_wallet": order.payer,
            "payee_wallet": order.payee,
            "amount_usdc": order.amount.to_json_number(),
            "description": f"{order.description} [{order.token}]",
            "metadata": {**order.metadata, "token": order.token},
        }

    def act(self, operation: Operation, escrow_id: str, reason: str | None = None) -> Request:
        """Build a release or cancel: the id goes into the body."""
        body = {"escrow_id": escrow_id} | ({"auto_release": True} if operation is Operation.RELEASE else {})
        return self.request(operation, escrow_id, body=body)

    def claim(self, agent_id: str, name: str | None = None, referral_code: str | None = None) -> Request:
        """Build the MCP call `claim_faucet {wallet_address, agent_name}`."""
        call = {"name": "claim_faucet", "arguments": {"wallet_address": agent_id, "agent_name": name or agent_id}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        return self.request(Operation.CLAIM, body=body)

    def read_claim(self, answer: Answer, agent_id: str) -> FaucetClaim:
        """Read the tool's result. A tool's failure arrives as HTTP 200 with `isError`."""
        result = answer.body.get("result")
        if not isinstance(result, dict):
            raise _not_called(answer.body.get("error"))
        content = _content(result)
        if not result.get("isError"):
            return super().read_claim(content, agent_id)
        code = content.text("error")
        reason = content.text("message") or content.text("text") or code
        outcome = _OUTCOMES.get(code or "", ClaimOutcome.REFUSED)
        return FaucetClaim(outcome=outcome, agent_id=agent_id, code=code, reason=reason)


def _not_called(error: object) -> Exception:
    """A JSON-RPC error: there is no such tool behind this URL, or nobody knows what came of the call."""
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if code in (_NO_METHOD, _NO_TOOL):
        return NotFound(f"the MCP server has no such tool: {excerpt(str(message), 200)}", operation=Operation.CLAIM)
    return AnswerProblem(Problem.MALFORMED, "neither a result of the MCP tool nor a reason why it was not called")


def _content(result: Mapping[str, Any]) -> Answer:
    """Return a tool's result as fields: `structuredContent`, or the JSON in its first text, or that text itself."""
    structured = result.get("structuredContent")
    if isinstance(structured, dict):
        return Answer(structured)
    items = result.get("content")
    text = items[0].get("text") if isinstance(items, list) and items and isinstance(items[0], dict) else None
    if not isinstance(text, str):
        raise AnswerProblem(Problem.MISSING_FIELD, "the MCP tool's result has no content")
    try:
        body = loads(text)
    except ValueError:
        body = None
    return Answer(body if isinstance(body, dict) else {"text": excerpt(text, 200)})
