"""One JSON-RPC message: read strictly, and written anew, so that the upstream reads exactly what was judged here.

What two readers could take for two different things is refused: a key that comes twice, in whatever case, NaN, a number
that overflows, a batch. An error that the sidecar itself answers with says in `data.executed` whether the call may have
been carried out.
"""

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

SIDECAR_ERROR: Final = -32010
"""Code of the sidecar's own errors: of those that are free for a server, and no client's word for a lost connection."""
PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, HEADER_MISMATCH = -32700, -32600, -32602, -32020

MODERN_VERSION: Final = "2026-07-28"
"""Protocol versions are dates; from this one on, each request stands alone and a disconnect cancels it."""

_LONGEST_ID: Final = 1000


class Executed(StrEnum):
    """What an agent needs to know before it asks again."""

    NO = "no"
    """It was not carried out."""
    UNKNOWN = "unknown"
    """It may have been: look before anything else is sent."""


class Reason(StrEnum):
    """Why the sidecar answered itself; `data.reason` of its errors, and a label of its figures."""

    DENIED = "denied"
    SPEND_LIMIT = "spend_limit"
    BUDGET = "budget_exceeded"
    PAYEE = "payee_not_allowed"
    AMOUNT = "amount_unreadable"
    APPROVAL = "approval_required"
    REPEATED = "already_sent"
    NO_KEY = "no_key"
    STATE = "state_unwritable"
    UNREACHABLE = "upstream_unreachable"
    OPEN = "circuit_open"
    BUSY = "too_many_calls"
    THROTTLED = "rate_limited"
    REDIRECT = "redirected"
    BROKEN = "answer_lost"
    STOPPED = "sidecar_stopped"


class NotAMessage(Exception):
    """The body is no message that can be passed on."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an agent's.

    Args:
        document: All of it; never changed.
        method: Empty for an answer to the server.
        id: None for a notification and for an answer.
    """

    document: dict[str, Any]
    method: str
    id: str | int | None

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, empty without any."""
        params = self.document.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def is_request(self) -> bool:
        """Whether an answer is expected."""
        return self.id is not None

    @property
    def tool(self) -> str:
        """The name of the tool that is called; empty for any other message."""
        name = self.params.get("name") if self.method == "tools/call" else ""
        return name if isinstance(name, str) else ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The tool's arguments."""
        arguments = self.params.get("arguments")
        return arguments if isinstance(arguments, dict) else {}

    def with_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The document with other arguments."""
        return self.document | {"params": self.params | {"arguments": arguments}}


def read(body: bytes) -> Message:
    """One message out of a request's body.

    Raises:
        NotAMessage: It is none, or one that cannot be passed on.
    """
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_distinct, parse_float=_finite, parse_constant=_no_constant
        )
    except RecursionError:
        raise NotAMessage(PARSE_ERROR, "the body is nested too deeply") from None
    except NotAMessage:
        raise
    except ValueError as error:  # UnicodeDecodeError, JSONDecodeError, a number of thousands of digits
        raise NotAMessage(PARSE_ERROR, f"the body is no JSON: {type(error).__name__}") from None
    if not isinstance(document, dict):
        raise NotAMessage(INVALID_REQUEST, "the body is not one JSON-RPC message (batches are not passed on)")
    return _checked(document)


def _checked(document: dict[str, Any]) -> Message:
    if document.get("jsonrpc") != "2.0":
        raise NotAMessage(INVALID_REQUEST, 'jsonrpc is not "2.0"')
    request_id, method = document.get("id"), document.get("method")
    if "id" in document and not _is_id(request_id):
        raise NotAMessage(INVALID_REQUEST, "id is neither a text nor a whole number")
    if "method" not in document:
        if "id" not in document or ("result" in document) == ("error" in document):
            raise NotAMessage(INVALID_REQUEST, "neither a request nor an answer")
        return Message(document, "", None)
    if not isinstance(method, str) or not 0 < len(method) <= 200 or "result" in document or "error" in document:
        raise NotAMessage(INVALID_REQUEST, "method is no text, or stands beside a result")
    if not isinstance(document.get("params", {}), dict):
        raise NotAMessage(INVALID_PARAMS, "params is not an object")
    message = Message(document, method, request_id)
    if method == "tools/call" and (not message.tool or not isinstance(message.params.get("arguments", {}), dict)):
        raise NotAMessage(INVALID_PARAMS, "a tools/call has a name, a text, and arguments, an object")
    return message


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_ID
    return isinstance(value, int) and not isinstance(value, bool)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keys that differ in case alone are one to a server in Go, which takes the last."""
    if len({key.casefold() for key, _ in pairs}) != len(pairs):
        raise NotAMessage(INVALID_REQUEST, "a key comes twice in one object (upper and lower case are the same)")
    return dict(pairs)


def _finite(text: str) -> float:
    """The double that every JavaScript upstream reads here, too; what is written on is its shortest text."""
    number = float(text)
    if not math.isfinite(number):
        raise NotAMessage(INVALID_REQUEST, "a number is too large")
    return number


def _no_constant(name: str) -> None:
    raise NotAMessage(PARSE_ERROR, f"{name} is not JSON")


def write(document: dict[str, Any]) -> bytes:
    """The document as JSON in ASCII."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def result(request_id: str | int | None, content: dict[str, Any]) -> bytes:
    """An answer."""
    return write({"jsonrpc": "2.0", "id": request_id, "result": content})


def error(request_id: str | int | None, code: int, text: str, data: dict[str, Any] | None = None) -> bytes:
    """An error in answer to a request, or to nobody knows which."""
    found: dict[str, Any] = {"code": code, "message": text}
    return write({"jsonrpc": "2.0", "id": request_id, "error": found | ({"data": data} if data else {})})


def own_error(request_id: str | int | None, reason: Reason, executed: Executed, text: str, **facts: Any) -> bytes:
    """An error of the sidecar's own making."""
    data = {"source": "sidecar", "executed": executed.value, "reason": reason.value, **facts}
    return error(request_id, SIDECAR_ERROR, text, data)
