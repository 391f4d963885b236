"""Creating an escrow once, against a service without idempotency keys.

nothing recorded ──record the intent──▶ sent ──answer──▶ bound
                                         │ no usable answer, or a crash here
                                         ▼
                 look for the token: found ──▶ bound
                                     cannot look, or it is there twice ──▶ NeedsReview
                                     not there, the create may still be on its way ──▶ Retryable, come back later
                                     not there, long enough after ──▶ record the next attempt, send again
                                     not there, most of a day after ──▶ NeedsReview: it may have come and gone
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from runtime.errors import BadInput, OutcomeUnknown, Permanent, Retryable, Unauthorized
from runtime.payments.client import PaymentsClient
from runtime.payments.model import Escrow, EscrowRequest, Operation
from runtime.payments.search import find_escrow

GRACE: Final = timedelta(seconds=90)
"""How long a create whose answer was lost may still take effect: above every time-out of client, proxy and service."""

LISTED: Final = timedelta(hours=23)
"""How long an escrow surely stays in the lists: less than the default time-out, which refunds it."""

MOST_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What the journal keeps of one create.

    Args:
        token: The business identity, unique in the journal.
        fingerprint: Of the request; the same token with another request is a bug and is refused.
        sent_at: When the create was last about to be sent, by the service's clock.
        attempts: How often it was sent without a known outcome.
        escrow_id: The escrow, once it is known.
    """

    token: str
    fingerprint: str
    sent_at: datetime
    attempts: int = 1
    escrow_id: str | None = None


class CreationJournal(Protocol):
    """Where it outlives a crash. `write` returns only when it is durable."""

    async def read(self, token: str) -> Creation | None:
        """Return what is recorded under a token."""

    async def write(self, creation: Creation) -> None:
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


class NotCreatedError(Exception):
    """There is no escrow, and none is created any more because nobody wants it."""


async def create_once(
    client: PaymentsClient,
    journal: CreationJournal,
    order: EscrowRequest,
    now: Callable[[], datetime] | None = None,
    *,
    again: bool = True,
) -> Created | NeedsReview:
    """Create the escrow, or find the one that an earlier call created. Call it again whenever it was interrupted.

    One caller per token at a time: the journal's owner (a custom resource, a database row) sees to that. Where nobody
    wants the escrow any more, `again` is False: one that was created before is found, and nothing is sent.

    Raises:
        NotCreatedError: It surely was not created, and `again` is False.
        Retryable: Nothing was sent, or it is too early to tell; come back after `delay_seconds`.
        Permanent: The service refused, or the token was used for another request before.
    """
    earlier = await journal.read(order.token)
    create = _Create(client, journal, order, now or client.now, again)
    if earlier is None:
        return await create.send(None)
    if earlier.fingerprint != fingerprint(order):
        raise BadInput(f"token {order.token} was used for another request", operation=Operation.CREATE)
    if earlier.escrow_id:
        return Created(escrow_id=earlier.escrow_id)
    return await create.search(earlier, "an earlier create was interrupted")


@dataclass(frozen=True, slots=True)
class _Create:
    client: PaymentsClient
    journal: CreationJournal
    order: EscrowRequest
    now: Callable[[], datetime]
    again: bool

    async def send(self, earlier: Creation | None) -> Created | NeedsReview:
        """Record one more attempt, then send it."""
        attempts = earlier.attempts + 1 if earlier else 1
        creation = Creation(
            token=self.order.token, fingerprint=fingerprint(self.order), sent_at=self.now(), attempts=attempts
        )
        await self.journal.write(creation)
        try:
            escrow = await self.client.create_escrow(self.order)
        except (Retryable, Permanent):
            # This attempt did nothing; what was known before it still holds.
            await (self.journal.write(earlier) if earlier else self.journal.clear(self.order.token))
            raise
        except OutcomeUnknown as error:
            if error.escrow_id:  # there is an escrow, and it is not the one that was asked for
                return self._review(str(error))
            return await self.search(creation, str(error))
        return await self._bind(creation, escrow)

    async def search(self, creation: Creation, cause: str) -> Created | NeedsReview:
        """Look for the escrow of an attempt whose outcome is unknown."""
        try:
            escrow = await find_escrow(self.client, self.order.token, creation.sent_at)
        except Unauthorized as error:
            # A `Permanent` would mean to the caller that nothing was created. Nobody knows: a mended key will tell.
            raise Retryable(
                f"{cause}; {error.message}", operation=Operation.CREATE, delay_seconds=GRACE.total_seconds()
            ) from None
        except Permanent as error:
            return self._review(f"{cause}; {error}")
        if escrow:
            return await self._bind(creation, escrow)
        age = self.now() - creation.sent_at
        if age < GRACE:
            reason = f"{cause}; no escrow carries {self.order.token} yet"
            raise Retryable(reason, operation=Operation.CREATE, delay_seconds=(GRACE - age).total_seconds())
        if age > LISTED:
            return self._review(f"{cause}; no escrow carries the token now, but one may have been refunded since")
        if not self.again:
            await self.journal.clear(self.order.token)
            raise NotCreatedError(f"{cause}; no escrow carries {self.order.token}")
        if creation.attempts >= MOST_ATTEMPTS:
            return self._review(f"{creation.attempts} creates were sent and none can be found")
        return await self.send(creation)

    async def _bind(self, creation: Creation, escrow: Escrow) -> Created | NeedsReview:
        if escrow.amount not in (None, self.order.amount) or escrow.payee not in (None, self.order.payee):
            return self._review(f"escrow {escrow.id} has the token but another amount or payee")
        await self.journal.write(replace(creation, escrow_id=escrow.id))
        return Created(escrow_id=escrow.id, escrow=escrow)

    def _review(self, reason: str) -> NeedsReview:
        return NeedsReview(token=self.order.token, reason=reason)


def fingerprint(order: EscrowRequest) -> str:
    """Return a digest of everything that makes it this payment and no other."""
    parts = (order.payee, order.amount.micro, order.payer, order.timeout_hours)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
