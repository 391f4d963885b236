"""Reading one escrow, by whatever way the dialect has: a read, lists that many readers share, or none."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from runtime.contract import Phase
from runtime.errors import (
    Contradiction,
    NotFound,
    Permanent,
    Problem,
    PurpleFleaError,
    Rejected,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from runtime.payments import Escrow, EscrowStatus, Operation, PaymentsClient
from runtime.settlement.record import Case, Settlement
from runtime.settlement.table import STILL_OPEN, WANTED, ActResult, Intent, Outcome, Seen

PAUSE: Final = 4
"""Between two readings of one list, in times of how long the one before took."""
LONGEST_PAUSE: Final = 5.0

CLOSED_BY_OTHERS: Final = {
    EscrowStatus.RELEASED: (Intent.RELEASE, Outcome.PAID),
    EscrowStatus.DISPUTED: (Intent.DISPUTE, Outcome.DISPUTED),
    EscrowStatus.REFUNDED: (Intent.CANCEL, Outcome.REFUNDED),
    EscrowStatus.CANCELLED: (Intent.CANCEL, Outcome.CANCELLED),
}
"""What a closed escrow amounts to that nobody here has sent anything for."""


def closed_by_others(key: str, found: Escrow, reason: str, now: datetime) -> Settlement:
    """The record of a work whose escrow somebody else closed at the service."""
    intent, outcome = CLOSED_BY_OTHERS[found.status]
    case = Case(key, found.id, intent, reason, found.amount, found.payee)
    return replace(
        Settlement.decided(case, now),
        phase=Phase.SETTLED,
        outcome=outcome,
        drift=True,
        evidence=reason,
        closed_at=now,
    )


@dataclass(frozen=True, slots=True)
class Observation:
    """What one read showed.

    Args:
        seen: For the table.
        note: For a person.
        escrow: What the service told, if it did.
        delay_seconds: How long it asked to wait.
        error: Why the service did not answer, with `Seen.SILENT`.
    """

    seen: Seen
    note: str
    escrow: Escrow | None = None
    delay_seconds: float | None = None
    error: PurpleFleaError | None = None


class Reader:
    """Reads escrows through one client; share it, because readers of the same list share one request."""

    def __init__(self, client: PaymentsClient) -> None:
        self._client = client
        self._lists = _SharedLists(client)

    @property
    def asks(self) -> bool:
        """Whether a read asks the service at all."""
        return self._client.supports(Operation.READ) or self._client.supports(Operation.LIST)

    async def read(self, record: Settlement) -> Observation:
        """Read the record's escrow. Never raises a `PurpleFleaError`: what went wrong is part of the observed."""
        reads, lists = (self._client.supports(operation) for operation in (Operation.READ, Operation.LIST))
        complete = True
        try:
            if reads:
                escrow = await self._client.read_escrow(record.escrow_id)
            elif lists:
                escrow, complete = await self._find(record)
            else:
                return Observation(Seen.UNREADABLE, "the dialect has neither a read nor a list")
        except NotFound as error:
            return Observation(Seen.NOT_FOUND, str(error))
        except Permanent as error:
            # A key can be mended, and a bad line in a list may be about another escrow: neither is a finding here.
            waits = isinstance(error, Unauthorized) or (isinstance(error, Contradiction) and not reads)
            return Observation(Seen.SILENT if waits else Seen.DISAGREES, str(error), error=error)
        except PurpleFleaError as error:
            delay = getattr(error, "delay_seconds", None)
            return Observation(Seen.SILENT, str(error), delay_seconds=delay, error=error)
        if escrow is None and not complete:
            return Observation(Seen.UNREADABLE, "a list is too long to be read")
        if escrow is None:
            return Observation(Seen.UNLISTED, f"not listed as {', '.join(self._places(record))}")
        if wrong := _disagreement(record, escrow):
            return Observation(Seen.DISAGREES, wrong, escrow)
        return Observation(Seen(escrow.status.value), f"status {escrow.status}", escrow)

    async def _find(self, record: Settlement) -> tuple[Escrow | None, bool]:
        """Return the escrow if a list has it, and whether every list that was needed could be read to its end."""
        complete = True
        for status in self._places(record):
            try:
                escrow = await self._lists.find(status, record.escrow_id)
            except (Rejected, Unsupported):
                continue  # the service has no such list
            except Unavailable as error:
                if error.problem is not Problem.TOO_LARGE:
                    raise
                complete = False
                continue
            if escrow is not None:
                return escrow, complete
        return None, complete

    def _places(self, record: Settlement) -> list[EscrowStatus]:
        """Return the lists to look in: in the order of an escrow's life, so that one on the move is met."""
        statuses = list(self._client.dialect.list_words)
        if record.answer is not None and record.answer.kind is ActResult.ACCEPTED:
            # Only being open still would speak against a plain yes; the lists of what is closed grow for ever.
            return [status for status in statuses if status.value in STILL_OPEN]
        if record.attempts:
            statuses.sort(key=lambda status: status.value != WANTED[record.intent].value)  # where it should be now
        return statuses


class _SharedLists:
    """Readers that wait for the same list share one request, so that 10,000 settlements do not cause 10,000 lists."""

    def __init__(self, client: PaymentsClient) -> None:
        self._client = client
        self._locks: defaultdict[EscrowStatus, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: defaultdict[EscrowStatus, float] = defaultdict(float)
        self._waiting: dict[EscrowStatus, tuple[set[str], asyncio.Task[dict[str, Escrow]]]] = {}

    async def find(self, status: EscrowStatus, escrow_id: str) -> Escrow | None:
        """Return the escrow if it is in that status, from a list that was asked for after this call began."""
        if status not in self._waiting:
            wanted: set[str] = set()
            self._waiting[status] = wanted, asyncio.create_task(self._read(status, wanted))
        wanted, reading = self._waiting[status]
        wanted.add(escrow_id)
        return (await asyncio.shield(reading)).get(escrow_id)

    async def _read(self, status: EscrowStatus, wanted: set[str]) -> dict[str, Escrow]:
        loop = asyncio.get_running_loop()
        async with self._locks[status]:
            # A long list is read a fifth of the time at most: those who come meanwhile share the next reading.
            await asyncio.sleep(self._next[status] - loop.time())
            del self._waiting[status]  # whoever comes from now on may have acted since, and needs a later list
            begun = loop.time()
            found = {escrow.id: escrow async for escrow in self._client.list_escrows(status, wanted)}
            ended = loop.time()
            self._next[status] = ended + min(PAUSE * (ended - begun), LONGEST_PAUSE)
            return found


def _disagreement(record: Settlement, escrow: Escrow) -> str:
    """Say in what the escrow is not the agreed one; empty when it is."""
    if escrow.status is EscrowStatus.AUTO_RELEASED:
        return f"status {escrow.status}: the word does not say who got the money"
    if record.locked is not None and escrow.amount not in (None, record.locked):
        return f"the escrow holds {escrow.amount} USDC, {record.locked} was agreed"
    if record.payee is not None and escrow.payee not in (None, record.payee):
        return f"the escrow's payee is {escrow.payee}, {record.payee} was agreed"
    return ""
