"""What a Job's annotations ask for: an escrow that it brings, or a request for one. Whoever wrote them may be wrong."""

import json
from dataclasses import dataclass
from typing import Any, Final

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION
from runtime.errors import AmountError, BadInput
from runtime.money import Usdc
from runtime.payments.model import checked_escrow_id

REQUEST_KEYS: Final = frozenset({"payee", "amountUsdc"})
REQUEST_LIMIT: Final = 4096
ESCROW_ID_LIMIT: Final = 200
"""Characters that are kept of what anybody may write as long as etcd takes it; one more tells that it was too long."""


class AnnotationError(Exception):
    """An annotation of the Job cannot be used; the message says which and why."""


@dataclass(frozen=True)
class FundingRequest:
    """The annotation `purpleflea.com/escrow-request`, parsed; `amount` None means the default budget."""

    payee: str
    amount: Usdc | None


def parse_escrow_id(annotation: str) -> str:
    """The escrow id of the annotation; raises `AnnotationError`."""
    try:
        return checked_escrow_id(annotation)
    except BadInput as error:
        raise AnnotationError(f"annotation {ESCROW_ID_ANNOTATION}: {error.message}") from error


def parse_request(annotation: str) -> FundingRequest:
    """The funding request of the annotation; raises `AnnotationError`."""
    where = f"annotation {ESCROW_REQUEST_ANNOTATION}"
    example = 'expected JSON like {"payee": "worker-agent-007", "amountUsdc": "0.10"}'
    if len(annotation) > REQUEST_LIMIT:
        raise AnnotationError(f"{where} is longer than {REQUEST_LIMIT} characters: {example}")
    try:
        request = json.loads(annotation, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{where} is not JSON ({error}): {example}") from error
    if not isinstance(request, dict) or set(request) - REQUEST_KEYS:
        raise AnnotationError(f"{where} must be an object with the keys {sorted(REQUEST_KEYS)}: {example}")
    payee, amount = request.get("payee"), request.get("amountUsdc")
    if not isinstance(payee, str) or not 0 < len(payee.strip()) <= 253 or not payee.isprintable():
        raise AnnotationError(f"{where}: payee must be a text of 1-253 printable characters: {example}")
    if amount is not None and not isinstance(amount, str):
        raise AnnotationError(f"{where}: amountUsdc must be a decimal string, not a JSON number: {example}")
    try:
        return FundingRequest(payee.strip(), Usdc.parse(amount) if amount is not None else None)
    except AmountError as error:
        raise AnnotationError(f"{where}: amountUsdc: {error}") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON leaves open which of two amounts counts, and money hangs on it.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
