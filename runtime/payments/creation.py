"""Creating an escrow once, against a service without idempotency keys.

nothing recorded ──record the intent──▶ sent ──answer──▶ bound
                                         │ no usable answer, or a crash here
                                         ▼
                 look for the token: found ──▶ bound
                                     cannot look, or it is there twice ──▶ NeedsReview
                                     not there, the create may still be on its way ──▶ Retryable, come back later
                                     not there, long enough after ──▶ record the next attempt, send again
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from runtime.errors import BadSetting, Contradiction, OutcomeUnknown, Retryable, Unsupported
from runtime.errors import Final as FinalError
from runtime.payments.client import PaymentsClient
from runtime.payments.model import Escrow, EscrowRequest, Operation

GRACE: Final = timedelta(seconds=90)
"""How long a create whose answer was lost may still take effect: above every time-out of client, proxy and service."""

MOST_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the journal keeps of one create.

    Args:
        token: The business identity, unique in the journal.
        fingerprint: Of the request; the same token with another request is a bug and is refused.
        sent_at: When the create was last about to be sent.
        attempts: How often it was sent without a known outcome.
        escrow_id: The escrow, once it is known.
    """

    token: str
    fingerprint: str
    sent_at: datetime
    attempts: int = 1
    escrow_id: str | None = None


class Journal(Protocol):
    """Where intents outlive a crash. `write` returns only when the intent is durable."""

    async def read(self, token: str) -> Intent | None:
        """Return the intent recorded under a token."""

    async def write(self, intent: Intent) -> None:
        """Record it, in place of an earlier one of the same token."""

    async def clear(self, token: str) -> None:
        """Forget it: nothing was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """There is exactly one escrow for the token. `escrow` is None if it was bound before."""

    escrow_id: str
    escrow: Escrow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsReview:
    """Whether there is an escrow cannot be told from here. A person looks for the token; nothing more is sent."""

    token: str
    reason: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def create_once(
    client: PaymentsClient, journal: Journal, order: EscrowRequest, now: Callable[[], datetime] = _utc_now
) -> Created | NeedsReview:
    """Create the escrow, or find the one that an earlier call created. Call it again whenever it was interrupted.

    One caller per token at a time: the journal's owner (a custom resource, a database row) sees to that.

    Raises:
        Retryable: Nothing was sent, or it is too early to tell; come back after `delay_seconds`.
        Final: The service refused, or the token was used for another request before.
    """
    intent = await journal.read(order.token)
    if intent is None:
        return await _send(
            client, journal, order, Intent(token=order.token, fingerprint=fingerprint(order), sent_at=now())
        )
    if intent.fingerprint != fingerprint(order):
        raise BadSetting(f"token {order.token} was used for another request", operation=Operation.CREATE)
    if intent.escrow_id:
        return Created(escrow_id=intent.escrow_id)
    return await _look(client, journal, order, intent, now)


async def _send(
    client: PaymentsClient, journal: Journal, order: EscrowRequest, intent: Intent
) -> Created | NeedsReview:
    await journal.write(intent)
    try:
        escrow = await client.create_escrow(order)
    except (Retryable, FinalError):
        if (
            intent.attempts == 1
        ):  # after an earlier attempt of unknown outcome, this refusal says nothing about that one
            await journal.clear(order.token)
        raise
    except OutcomeUnknown as error:
        return await _look(client, journal, order, intent, lambda: intent.sent_at, str(error))
    return await _bind(journal, intent, escrow)


async def _look(
    client: PaymentsClient,
    journal: Journal,
    order: EscrowRequest,
    intent: Intent,
    now: Callable[[], datetime],
    cause: str = "an earlier create was interrupted",
) -> Created | NeedsReview:
    try:
        escrow = await client.find_escrow(order.token)
    except (Unsupported, Contradiction) as error:
        return NeedsReview(token=order.token, reason=f"{cause}; {error}")
    if escrow:
        if (escrow.amount or order.amount) != order.amount or (escrow.payee or order.payee) != order.payee:
            return NeedsReview(
                token=order.token, reason=f"escrow {escrow.id} has the token but another amount or payee"
            )
        return await _bind(journal, intent, escrow)
    too_early = GRACE - (now() - intent.sent_at)
    if too_early > timedelta(0):
        raise Retryable(
            f"{cause}; no escrow carries {order.token} yet",
            operation=Operation.CREATE,
            delay_seconds=too_early.total_seconds(),
        )
    if intent.attempts >= MOST_ATTEMPTS:
        return NeedsReview(token=order.token, reason=f"{intent.attempts} creates were sent and none can be found")
    return await _send(client, journal, order, replace(intent, sent_at=now(), attempts=intent.attempts + 1))


async def _bind(journal: Journal, intent: Intent, escrow: Escrow) -> Created:
    await journal.write(replace(intent, escrow_id=escrow.id))
    return Created(escrow_id=escrow.id, escrow=escrow)


def fingerprint(order: EscrowRequest) -> str:
    """Return a digest of everything that makes it this payment and no other."""
    parts = (order.payee, order.amount.micro, order.payer, order.timeout_hours)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
