"""What was created for a work before: by a request without an answer, by another operator, by a cluster that is lost.

Before a create is sent, or sent again, the payment service is asked for an escrow that carries the work's token.
"""

from contextlib import suppress
from datetime import timedelta

from runtime.errors import BadInput, Contradiction, Problem, Retryable, Unauthorized, Unavailable, Unsupported
from runtime.kubernetes.claims import ReviewRequired
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.shape import stamp
from runtime.operator.waits import LONGEST_SECONDS
from runtime.payments import Escrow as FoundEscrow
from runtime.payments import EscrowStatus, Operation, PaymentsClient
from runtime.payments.creation import GRACE
from runtime.payments.search import Search, find_escrow


class EarlierCreates:
    """Looks for them through one client."""

    def __init__(self, client: PaymentsClient) -> None:
        self._client = client
        self._search = Search(client)

    @property
    def sender(self) -> str:
        """Digest of the key; empty while there is none, and then nothing is sent."""
        with suppress(Unauthorized, BadInput):
            return self._client.sender
        return ""

    async def check_sender(self, escrow: Escrow) -> None:
        """Raise `ReviewRequired` unless a create that was sent with another key is found with this one.

        The key may be another payer's, who cannot see the first one's escrows and would pay a second one.
        """
        creation = escrow.status.creation
        if creation is None or creation.sender in ("", self.sender):
            return
        problem = f"a create was sent at {stamp(creation.sent_at)} with another API key, and is not found with this one"
        with suppress(Unsupported):
            if await find_escrow(self._client, escrow.spec.token, creation.sent_at):
                return
        if (left := GRACE - (self._client.now() - creation.sent_at)) > timedelta(0):
            raise Unavailable(problem, operation=Operation.CREATE, delay_seconds=left.total_seconds())
        remedy = f"Look for an escrow that carries {escrow.spec.token} with the earlier key, then escrowctl resolve."
        raise ReviewRequired(escrow, problem, remedy)

    async def lost(self, escrow: Escrow) -> FoundEscrow | None:
        """The escrow of this work at the service, where the cluster lost its account, e.g. by a restored snapshot.

        None where there is none or the dialect cannot be asked. Raises `Retryable`.
        """
        if escrow.work.id is None:
            return None
        try:
            return await self._search.find(escrow.spec.token)
        except Contradiction as error:
            if error.problem is Problem.DUPLICATE:
                raise
            # A line that makes no sense may be about any escrow, also about this one.
            raise Unavailable(
                f"the service's list cannot be understood: {error}",
                operation=Operation.LIST,
                delay_seconds=LONGEST_SECONDS,
            ) from error

    async def seconds_under_way(self, escrow: Escrow) -> float:
        """Seconds until a create that cannot be searched for is over; 0 where it can be searched for.

        Another operator may be sending it right now. Trying again before it is over could create a second escrow.
        """
        creation = escrow.status.creation
        left = GRACE - (self._client.now() - creation.sent_at) if creation else timedelta(0)
        if left <= timedelta(0):
            return 0.0
        try:
            await find_escrow(self._client, escrow.spec.token, creation.sent_at if creation else None)
        except (Unsupported, Retryable):
            return left.total_seconds()
        return 0.0


def check_found(escrow: Escrow, found: FoundEscrow) -> None:
    """Raise `ReviewRequired` unless the escrow that carries a work's token is the one that was agreed on."""
    if found.amount not in (None, escrow.spec.amount_usdc) or found.payee not in (None, escrow.spec.payee):
        problem = f"escrow {found.id} carries the token of this work, but another amount or payee; nothing was sent"
        raise ReviewRequired(escrow, problem, "Compare it with what the Job asks for, then escrowctl resolve.")
    if found.status is EscrowStatus.AUTO_RELEASED:
        problem = f"escrow {found.id} of this work reads {found.status}, which does not say who got the money"
        raise ReviewRequired(escrow, problem, "Ask the payment service, then escrowctl resolve as what it says.")
