"""What an upstream's answer means: for the agent, and for what a call is charged."""

import json
from collections.abc import Callable
from typing import Any, Final

from runtime.http1.client import ANSWER_BYTES, Answer
from runtime.http1.connection import Broken
from runtime.mcp_proxy import message
from runtime.mcp_proxy.budgets import Fate
from runtime.mcp_proxy.events import EventCutter, data_of
from runtime.mcp_proxy.message import Executed, Reason
from runtime.mcp_proxy.upstream import Failure

_ELSEWHERE: Final = (301, 302, 307, 308)
_IN_DOUBT: Final = (408, 409, 499)
"""4xx that may come after the call was begun."""
_UNREAD: Final = (message.PARSE_ERROR, message.INVALID_REQUEST, -32601, message.INVALID_PARAMS, message.HEADER_MISMATCH)
"""JSON-RPC errors that come before a tool is run."""
_REFUSALS: Final = frozenset(
    {
        "unauthorized", "forbidden", "invalid_request", "invalid_amount", "invalid_description", "invalid_counterparty",
        "self_escrow", "counterparty_not_found", "creator_not_found", "insufficient_balance", "rate_limited",
    }
)  # fmt: skip
"""The published server's words for having done nothing. `internal_error` and `debit_failed` are not among them."""


class Passed(Exception):
    """An answer to a list that is no list, and is the agent's to read."""

    def __init__(self, status: int, body: bytes, kind: str, error: dict[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.kind = kind
        self._body = body
        self._error = error
        code = error.get("code") if error else None
        self.code = code if isinstance(code, int) else None

    def body_for(self, request_id: str | int | None) -> bytes:
        """The body, under the id of whoever asked."""
        if self._error is None:
            return self._body
        return message.write({"jsonrpc": "2.0", "id": request_id, "error": self._error})


def check_status(answer: Answer, executed: Executed) -> None:
    """Raise Failure for an answer that is none to pass on: a redirect, a 429, a 5xx, nothing."""
    status = answer.status
    if status == 200:
        return
    if status in _ELSEWHERE:
        text = f"The service asked to look elsewhere ({status}), which is not done with a key. A person has to mend it."
        raise Failure(Reason.REDIRECT, Executed.NO, text)
    if status == 429:
        wait = answer.header(b"retry-after")
        facts = {"retryAfter": wait} if wait.isdigit() else {}
        text = "The service takes no more calls for now (429). Nothing was carried out; wait before you ask again."
        raise Failure(Reason.THROTTLED, Executed.NO, text, **facts)
    if status >= 500 or status < 400:
        if executed is Executed.UNKNOWN:
            text = (
                f"The service answered {status}. The call may have been carried out, and was not sent again. "
                "Look first, e.g. by get_escrow, or ask a person; do not simply repeat it."
            )
            raise Failure(Reason.BROKEN, Executed.UNKNOWN, text)
        raise Failure(Reason.UNREACHABLE, Executed.NO, f"The service answered {status}. Try again later.")


def result_in(
    answer: Answer, body: bytes, is_result: Callable[[bytes], bool], outcome: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The result of a list, whichever of both media types it came as.

    Raises:
        Broken: It is no answer to this message.
        Passed: It is an error, which is never kept.
    """
    if answer.status != 200:
        raise Passed(answer.status, body, answer.header(b"content-type") or "text/plain")
    if answer.kind == "text/event-stream":
        found = any(is_result(data_of(event)) for event in EventCutter(ANSWER_BYTES).feed(body))
    else:
        found = answer.kind == "application/json" and is_result(body)
    if not found:
        raise Broken("the answer is not the answer to this list")
    said = outcome()
    error, result = said.get("error"), said.get("result")
    if isinstance(error, dict):
        raise Passed(200, b"", "application/json", error)
    if not isinstance(result, dict) or not any(isinstance(value, list) for value in result.values()):
        raise Broken("the answer holds no list")  # of tools or, from discover, of versions
    return result


def fate_of(outcome: dict[str, Any]) -> Fate:
    """What an answer says of a call that locks money. In doubt it may have been carried out."""
    if "status" in outcome:
        refused = 400 <= outcome["status"] < 500 and outcome["status"] not in _IN_DOUBT
        return Fate.REFUSED if refused else Fate.SENT
    error, result = outcome.get("error"), outcome.get("result")
    if isinstance(error, dict):
        return Fate.REFUSED if error.get("code") in _UNREAD else Fate.SENT
    if not isinstance(result, dict):
        return Fate.SENT
    if result.get("resultType") == "input_required":
        return Fate.ASKED
    if result.get("isError") is not True:
        return Fate.DONE
    return Fate.REFUSED if _is_refusal(result) else Fate.SENT


def _is_refusal(result: dict[str, Any]) -> bool:
    """Whether a failed tool says, in the published words, that nothing was done."""
    content = result.get("content")
    first = content[0] if isinstance(content, list) and content else None
    text = first.get("text") if isinstance(first, dict) else None
    if not isinstance(text, str):
        return False
    if text.startswith(f"MCP error {message.INVALID_PARAMS}:"):  # the arguments, which come before the tool
        return True
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("error") in _REFUSALS
