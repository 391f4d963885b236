"""Which Job an escrow pays for when several name it: always one of them, and every operator agrees on which.

Whose money is moving already keeps the escrow; else whom it is bound to; else the oldest Escrow object, of the same
second the one with the smaller UID. An object moves only forward in this order, and is written only as it was read, so
two operators that ask at the same moment never hand over each other's Job.
"""

import sys
from typing import Final

from runtime.contract import Phase
from runtime.escrow_object import Json, phase_of
from runtime.operator.escrows import EscrowObjects

_ORDER: Final = {
    Phase.DECIDED: 0,
    Phase.VERIFYING: 0,
    Phase.SETTLED: 0,
    Phase.FUNDED: 1,
    Phase.NEEDS_REVIEW: 1,
    Phase.PENDING: 2,
}

Rank = tuple[int, str, str]
Holder = tuple[str, str]
"""Namespace and UID of a Job."""


def rank(escrow: Json) -> Rank | None:
    """Place of an Escrow among those that name the same escrow, the smallest first; None when it never had it."""
    phase, status = phase_of(escrow), escrow.get("status") or {}
    closed = phase in (Phase.SETTLED, Phase.NEEDS_REVIEW)
    if closed and not ("lockedAt" in status or "lastAnswer" in status):
        return None  # handed to a person before it was bound
    return _ORDER[phase], escrow["metadata"]["creationTimestamp"], escrow["spec"]["job"]["uid"]


def _holder(escrow: Json) -> Holder:
    return sys.intern(escrow["metadata"]["namespace"]), escrow["spec"]["job"]["uid"]  # one text for thousands


class Survey:
    """The claims that one pass over all Escrows finds."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self.first: dict[str, tuple[Rank, Holder]] = {}

    def note(self, escrow: Json) -> None:
        """Take an Escrow into account."""
        if (escrow_id := escrow["spec"].get("escrowId")) and (place := rank(escrow)):
            claim = place, _holder(escrow)
            self.first[escrow_id] = min(self.first.get(escrow_id, claim), claim)


class Claims:
    """Holders by escrow id, as far as this operator knows; a doubt is settled by reading the holder's Escrow."""

    def __init__(self, escrows: EscrowObjects) -> None:
        self._escrows = escrows
        self._holders: dict[str, Holder] = {}

    def survey(self) -> Survey:
        """Begin a pass."""
        return Survey(frozenset(self._holders))

    def renew(self, survey: Survey) -> None:
        """End a pass: what it found holds, and what was claimed since it began."""
        since = {key: holder for key, holder in self._holders.items() if key not in survey.known}
        self._holders = since | {key: holder for key, (_, holder) in survey.first.items()}

    async def other(self, escrow: Json) -> str | None:
        """UID of the Job that the escrow named here pays for, if it is another; else it is claimed for this one."""
        escrow_id, ours = escrow["spec"]["escrowId"], _holder(escrow)
        theirs = self._holders.setdefault(escrow_id, ours)
        if theirs == ours:
            return None
        # What is remembered may be older than what an operator decided since: two would each hand over the other's.
        held = await self._escrows.get(*theirs)
        if held and (place := rank(held)) and place < (rank(escrow) or place):
            return theirs[1]
        self._holders[escrow_id] = ours
        return None
