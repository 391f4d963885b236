"""Finding escrows by the token of their create: in the service's lists, else in the payer's own ledger.

Many who look at the same time share one reading of the lists.
"""

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from runtime.errors import Contradiction, NotFound, Problem, Rejected, Unavailable, Unsupported
from runtime.payments.client import PaymentsClient
from runtime.payments.model import Escrow, EscrowStatus, Operation, RecentLedger

CLOCKS_DIFFER: Final = timedelta(minutes=10)
"""How far the service's clock may be from ours: what was debited so much earlier is looked at as well."""
NOT_ASKED_AGAIN_SECONDS: Final = 600.0
"""After the service could not be asked: its missing list does not appear between two Jobs."""


@dataclass
class Found:
    """What was seen.

    Args:
        operation: By which the service was asked.
        matches: Escrows by token and id.
        unseen: Why some may be missing; empty where none can be.
    """

    operation: Operation
    matches: dict[str, dict[str, Escrow]] = field(default_factory=dict)
    unseen: str = ""

    def add(self, escrow: Escrow, tokens: Collection[str]) -> None:
        """Keep the escrow if it carries one of the tokens."""
        if escrow.token is not None and escrow.token in tokens:
            self.matches.setdefault(escrow.token, {})[escrow.id] = escrow

    def get(self, token: str) -> Escrow | None:
        """The escrow that carries the token; None means that there is none. Raises as `find_escrow` does."""
        matches = self.matches.get(token, {})
        if len(matches) > 1:
            found = f"{token} is on several escrows: {', '.join(sorted(matches))}"
            raise Contradiction(found, operation=self.operation, problem=Problem.DUPLICATE)
        if not matches and self.unseen:
            raise Unsupported(self.unseen, operation=self.operation)
        return next(iter(matches.values()), None)


async def find_escrow(client: PaymentsClient, token: str, since: datetime | None = None) -> Escrow | None:
    """Find the escrow that carries a token; None means that the service was asked and has none.

    Where it has no list, the escrows are read that the payer's account has paid into since the create was sent.

    Raises:
        Unsupported: It cannot be looked for: no list, or one that does not show tokens; no ledger, or a short one.
        Contradiction: Several escrows carry it; their ids are in the message.
    """
    try:
        return (await _listed(client, {token})).get(token)
    except Unsupported as error:
        if since is None or not client.supports(Operation.LEDGER):
            raise
        cause = error.message
    try:
        ledger = await client.read_ledger()
    except Unsupported as error:
        raise Unsupported(f"{cause}; {error.message}", operation=Operation.LEDGER) from None
    found = await _debited(client, ledger, token, since - CLOCKS_DIFFER)
    found.unseen = found.unseen and f"{cause}; {found.unseen}"
    return found.get(token)


async def open_escrows(client: PaymentsClient, known: Collection[str]) -> list[Escrow]:
    """The key's escrows whose money is still locked, but for the known ones: all that a list has, else those that its
    account paid for lately.

    Raises:
        Unsupported: The service tells neither.
    """
    still_open = (EscrowStatus.LOCKED, EscrowStatus.COMPLETED)
    try:
        wanted = [status for status in still_open if status in client.dialect.list_words] or [EscrowStatus.LOCKED]
        listed = [escrow for status in wanted async for escrow in client.list_escrows(status)]
        return [escrow for escrow in listed if escrow.id not in known]
    except Unsupported:
        if not client.supports(Operation.LEDGER):
            raise
    found: list[Escrow] = []
    for debit in (await client.read_ledger()).debits:
        if debit.escrow_id not in known:
            with suppress(NotFound):
                found.append(await client.read_escrow(debit.escrow_id))
    return [escrow for escrow in found if escrow.status in still_open]


async def _listed(client: PaymentsClient, tokens: Collection[str]) -> Found:
    """Escrows that carry these tokens, by one reading of every list; `Unsupported` without any."""
    found = Found(Operation.LIST)
    if not client.supports(Operation.LIST):
        client.dialect.request(Operation.LIST)  # raises Unsupported
    for status in client.dialect.list_words:  # in the order of an escrow's life, so that one on the move is met
        try:
            escrows = [escrow async for escrow in client.list_escrows(status)]
        except (Rejected, Unavailable) as error:
            if isinstance(error, Unavailable) and error.problem is not Problem.TOO_LARGE:
                raise
            found.unseen = f"the {status} escrows cannot be listed: {error.message}"
            continue
        for escrow in escrows:
            found.add(escrow, tokens)
        if any(escrow.token is None for escrow in escrows):
            found.unseen = "the list does not show which escrow carries which token"
    return found


async def _debited(client: PaymentsClient, ledger: RecentLedger, token: str, since: datetime) -> Found:
    """The escrow that carries the token, among those that the account has paid into."""
    found = Found(Operation.LEDGER)
    lost: list[str] = []
    for debit in ledger.debits:
        if debit.at < since:
            continue
        try:
            found.add(await client.read_escrow(debit.escrow_id), {token})
        except NotFound:
            lost.append(debit.escrow_id)
    if lost:
        found.unseen = f"the payer's ledger has paid into {', '.join(lost)}, which the service does not know"
    elif ledger.since and ledger.since > since:
        found.unseen = f"the payer's ledger shows nothing before {ledger.since:%H:%M:%S} UTC"
    return found


class Search:
    """Looks through one client's lists; share it, because those who look at the same time share the requests."""

    def __init__(self, client: PaymentsClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._next: tuple[set[str], asyncio.Task[Found]] | None = None
        self._silent_until = 0.0

    async def find(self, token: str) -> Escrow | None:
        """The escrow that carries the token, by lists that were asked for after this call began.

        None: there is none, or the service cannot be asked. Raises `Retryable`, and `Contradiction` where several
        escrows carry it or a list cannot be understood.
        """
        if time.monotonic() < self._silent_until:
            return None
        if self._next is None:
            wanted: set[str] = set()
            self._next = wanted, asyncio.create_task(self._read(wanted))
        wanted, reading = self._next
        wanted.add(token)
        try:
            return (await asyncio.shield(reading)).get(token)
        except Unsupported:
            self._silent_until = time.monotonic() + NOT_ASKED_AGAIN_SECONDS
            return None

    async def _read(self, wanted: set[str]) -> Found:
        async with self._lock:
            self._next = None  # whoever comes from now on needs a later reading
            return await _listed(self._client, wanted)
