"""What can go wrong, drawn once. The class is the policy: whoever catches an error knows what may be sent next.

    PurpleFleaError
    ├── Retryable           nothing happened: the same request may be sent again after `delay_seconds`
    │   ├── Unreachable     no connection came about (DNS, connect, TLS, no free connection)
    │   ├── RateLimited     429
    │   └── Unavailable     a read got no usable answer; reading again harms nobody
    ├── Permanent           nothing happened, and the same request would end the same
    │   ├── Rejected        the service refused it (400, 402, 403, 422, ...); `code` says why
    │   ├── Unauthorized    401, or there is no usable key to send
    │   ├── NotFound        404, in the service's own words
    │   ├── Conflict        409: the escrow is in another state; only a read tells which
    │   ├── Unsupported     this dialect has no such operation or field
    │   ├── Contradiction   a read was answered with something that cannot be true
    │   ├── BadInput      a URL, key or argument that cannot work
    │   └── AmountError     not an amount of USDC
    └── OutcomeUnknown      it may have happened: read before anything else is sent

`problem` names what was wrong with the answer, independent of what follows from it.
"""

from enum import StrEnum
from typing import TypedDict, Unpack

from runtime.redaction import redact


class Problem(StrEnum):
    """What was wrong on the wire."""

    NO_CONNECTION = "no-connection"
    TIMEOUT = "timeout"
    BROKEN_OFF = "broken-off"
    REDIRECT = "redirect"
    SERVER_ERROR = "server-error"
    UNEXPECTED_STATUS = "unexpected-status"
    TOO_LARGE = "too-large"
    CONTENT_TYPE = "content-type"
    MALFORMED = "malformed"
    MISSING_FIELD = "missing-field"
    UNKNOWN_STATUS = "unknown-status"
    WRONG_AMOUNT = "wrong-amount"
    WRONG_ESCROW = "wrong-escrow"
    WRONG_PARTY = "wrong-party"
    DUPLICATE = "duplicate"


class Facts(TypedDict, total=False):
    """What every error can carry, see `PurpleFleaError`."""

    operation: str | None
    escrow_id: str | None
    request_id: str | None
    status: int | None
    code: str | None
    problem: Problem | None


class PurpleFleaError(Exception):
    """Base of everything below. Every text in it is redacted on the way in, so no `str`, `repr` or log shows a key.

    Args:
        message: What was wrong and what to do.
        operation: `runtime.payments.Operation` value, e.g. `release`.
        escrow_id: The escrow concerned, where one is known.
        request_id: The `X-Request-Id` that was sent.
        status: HTTP status of the answer; None when there was none.
        code: The service's own word for the error, e.g. `invalid_status`.
        problem: What was wrong with the answer, if it was not the service that refused.
    """

    def __init__(
        self,
        message: str,
        **facts: Unpack[Facts],
    ) -> None:
        self.message = redact(message)
        self.operation = facts.get("operation")
        self.escrow_id = _redacted(facts.get("escrow_id"))
        self.request_id = facts.get("request_id")
        self.status = facts.get("status")
        self.code = _redacted(facts.get("code"))
        self.problem = facts.get("problem")
        super().__init__(self.message)

    def __str__(self) -> str:
        subject = " of escrow ".join(part for part in (self.operation, self.escrow_id) if part)
        facts = {"HTTP": self.status, "code": self.code, "problem": self.problem, "request": self.request_id}
        detail = ", ".join(f"{name} {fact}" for name, fact in facts.items() if fact)
        return (f"{subject}: " if subject else "") + self.message + (f" ({detail})" if detail else "")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class Retryable(PurpleFleaError):
    """Nothing happened: the same request may be sent again.

    `delay_seconds` is how long the service asked to wait; None leaves the pace to the caller.
    """

    def __init__(self, message: str, *, delay_seconds: float | None = None, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.delay_seconds = delay_seconds


class Unreachable(Retryable):
    """No connection came about, so not one byte was sent."""


class RateLimited(Retryable):
    """The service counts requests and refused this one unread."""


class Unavailable(Retryable):
    """A read got no usable answer."""


class Permanent(PurpleFleaError):
    """Nothing happened, and the same request would end the same."""


class Rejected(Permanent):
    """The service refused; `status` and `code` say why."""


class Unauthorized(Permanent):
    """The key is missing, wrong or expired."""


class NotFound(Permanent):
    """The service does not know it, and says so in JSON."""


class Conflict(Permanent):
    """The escrow's state does not allow it. It may already be where it should be: only a read tells."""


class Unsupported(Permanent):
    """The dialect has no such operation or field; nothing was sent."""


class Contradiction(Permanent):
    """A read was answered with something that cannot be true."""


class BadInput(Permanent):
    """A setting or argument that cannot work; nothing was sent."""


class AmountError(Permanent, ValueError):
    """Not an amount of USDC; nothing was sent."""


class OutcomeUnknown(PurpleFleaError):
    """It may have happened. Never counts as success and is never repeated blindly: read first, or ask a person."""


def _redacted(text: str | None) -> str | None:
    return redact(text) if text else None
