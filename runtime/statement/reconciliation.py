"""Holds the accounts against the payment service: by escrow where it reads one, by lists where it lists.

Of each account the amount, the payee, where the money is, and in a dialect that tells it what was paid and kept. What
does not agree is looked at again, between two reads of the account that say the same: accounts and service are read one
after the other, and money moves meanwhile. The `fly` dialect shows nothing; then this says so, and compares nothing.
"""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from runtime.contract import Phase
from runtime.errors import Contradiction, NotFound, Problem, Rejected, Unavailable, Unsupported
from runtime.kubernetes.escrow import Account
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.payments import Escrow as Told
from runtime.payments import EscrowStatus, Operation, PaymentsClient
from runtime.settlement.table import Outcome
from runtime.statement.lines import locked_at
from runtime.statement.period import Period
from runtime.statement.sums import shown

READS_AT_ONCE: Final = 16
SECOND_LOOKS: Final = 1000
"""Differences that are looked at again; with more something is wrong that no second look mends."""
TRIES: Final = 3

PLACES: Final = ("held", "paid", "returned")
"""Where the money of an escrow is; what was paid includes the fee."""

_PLACE: Final = {
    EscrowStatus.LOCKED: "held",
    EscrowStatus.COMPLETED: "held",
    EscrowStatus.DISPUTED: "held",
    EscrowStatus.RELEASED: "paid",
    EscrowStatus.REFUNDED: "returned",
    EscrowStatus.CANCELLED: "returned",
    EscrowStatus.AUTO_RELEASED: "",
}
_ENDED: Final = {
    Outcome.PAID: (EscrowStatus.RELEASED, "paid"),
    Outcome.DISPUTED: (EscrowStatus.DISPUTED, "held"),
    Outcome.REFUNDED: (EscrowStatus.REFUNDED, "returned"),
    Outcome.CANCELLED: (EscrowStatus.CANCELLED, "returned"),
    Outcome.COMPLETED: (EscrowStatus.COMPLETED, "held"),
}
_MOVING: Final = (Phase.DECIDED, Phase.VERIFYING, Phase.NEEDS_REVIEW)

Record = tuple[EscrowStatus, int | None, str | None, int | None]
"""What the service says of one escrow: status, amount, payee, fee."""


@dataclass
class Findings:
    """What came of it.

    Args:
        by: How the service was asked: `read`, `list`, or empty where it cannot be.
        compared: Accounts that were held against it.
        differences: A sentence each.
        notes: What differs for a known reason: it is being settled, in review, or was decided by the service since.
        unseen: What this dialect, or this service, does not show.
        here: By our accounts, micro-USDC of the compared ones by place.
        there: The same by the service.
    """

    by: str = ""
    compared: int = 0
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    here: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PLACES, 0))
    there: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PLACES, 0))


class Reconciliation:
    """One comparison; `begin`, `take` each account, `end`.

    Args:
        client: Speaks to the service as the payer.
        escrows: For second looks.
        period: An escrow that no account has is a difference where it was created in it.
        whole: Whether every account of every namespace is taken; else others may have what the service lists besides.
    """

    def __init__(self, client: PaymentsClient, escrows: EscrowObjects, period: Period, *, whole: bool) -> None:
        self._client = client
        self._escrows = escrows
        self._period = period
        self._whole = whole
        self._listed: dict[str, Record | str] = {}
        """By escrow id what the lists say, and once an account has it, which."""
        self._orphans: set[str] = set()
        self._read_to_end: set[EscrowStatus] = set()
        self._batch: list[Account] = []
        self._again: list[tuple[Account, str]] = []
        self._unlisted: dict[str, int] = {}
        reads, lists = client.supports(Operation.READ), client.supports(Operation.LIST)
        self.findings = Findings(by="read" if reads else "list" if lists else "")

    async def begin(self) -> None:
        """Read the service's lists, where that is the way."""
        name = self._client.dialect.name
        match self.findings.by:
            case "list":
                await self._read_lists()
                shown_states = ", ".join(self._client.dialect.list_words)
                self.findings.unseen.append(
                    f"the {name} dialect lists {shown_states} escrows with amount and payee; what reached the payee, "
                    "the fee and the referrer's part stand in the accounts alone"
                )
            case "read":
                self.findings.unseen.append(
                    f"the {name} dialect shows each escrow's amount, fee and payee; the referrer's part, and escrows "
                    "that no account names, it does not show"
                )
            case _:
                self.findings.unseen.append(f"the {name} dialect can neither read nor list: nothing was compared")
        if self.findings.by == "list" and not self._whole:
            self.findings.unseen.append(
                "not every namespace is in this statement: escrows without an account were not sought"
            )

    async def _read_lists(self) -> None:
        for (
            status
        ) in self._client.dialect.list_words:  # in the order of an escrow's life, so that one on the move is met
            try:
                await self._read_list(status)
            except (Rejected, Unsupported, Unavailable) as error:
                if isinstance(error, Unavailable) and error.problem is not Problem.TOO_LARGE:
                    raise
                self.findings.unseen.append(f"the {status} escrows cannot be listed: {error.message}")
            else:
                self._read_to_end.add(status)

    async def _read_list(self, status: EscrowStatus) -> None:
        records: dict[Record, Record] = {}  # of a hundred thousand escrows most are one of a few

        def note(told: Told) -> None:
            record = _record(told)
            self._listed[told.id] = records.setdefault(record, record)
            if told.created_at is None or self._period.has(told.created_at):
                self._orphans.add(told.id)

        try:
            await self._client.fold_escrows(note, status)
        except Contradiction as error:
            if error.problem is not Problem.DUPLICATE:
                raise
            async for told in self._client.list_escrows(status):  # it changed while it was read; once more, at leisure
                note(told)

    async def take(self, escrow: Account, *, counts: bool) -> None:
        """One account; `counts` unless it is not part of the statement, and only tells whose escrow it is."""
        if escrow.escrow_id is None or not self.findings.by:
            return
        if not counts:
            if locked_at(escrow) is not None:
                self._orphans.discard(escrow.escrow_id)
        elif self.findings.by == "read":
            self._batch.append(escrow)
            if len(self._batch) >= READS_AT_ONCE:
                await self._read_batch()
        else:
            self._orphans.discard(escrow.escrow_id)
            record = self._listed.get(escrow.escrow_id)
            self._listed[escrow.escrow_id] = escrow.name
            self._judge(escrow, record)

    async def _read_batch(self) -> None:
        batch, self._batch = self._batch, []
        for escrow, record in zip(batch, await asyncio.gather(*map(self._read, batch)), strict=True):
            other = self._listed.setdefault(escrow.escrow_id or "", escrow.name)
            self._judge(escrow, record if other == escrow.name else other)

    async def _read(self, escrow: Account) -> Record | None:
        try:
            return _record(await self._client.read_escrow(escrow.escrow_id or ""))
        except NotFound:
            return None

    def _judge(self, escrow: Account, record: Record | str | None) -> None:
        """Add what one comparison found; a difference only for a second look."""
        if isinstance(record, tuple) and self._agrees(escrow, record):
            return
        if isinstance(record, str):
            self.findings.differences.append(f"{_name(escrow)}: the account {record} names the same escrow")
            return
        if record is None and self._cannot_be_listed(escrow):
            said = escrow.status.outcome or escrow.phase
            self._unlisted[said] = self._unlisted.get(said, 0) + 1
            return
        problem = _difference(escrow, record)
        if problem and len(self._again) < SECOND_LOOKS:
            self._again.append((escrow, problem))
        else:
            self._settle(escrow, record, problem)

    def _agrees(self, escrow: Account, record: Record) -> bool:
        """Count it if it is as plain as nearly all are: settled or open, and the same on both sides."""
        status, amount, payee, fee = record
        here, place = escrow.amount, _place(escrow)
        plain = (
            here is not None
            and here.micro == amount
            and _PLACE[status] == place
            and (payee is None or payee == escrow.payee)
            and (fee is None or place != "paid")
            and escrow.phase is not Phase.NEEDS_REVIEW
        )
        if plain and amount is not None:
            self.findings.compared += 1
            self.findings.here[place] += amount
            self.findings.there[place] += amount
        return plain

    def _cannot_be_listed(self, escrow: Account) -> bool:
        expected = _ENDED[escrow.status.outcome][0] if escrow.status.outcome else EscrowStatus.LOCKED
        return self.findings.by == "list" and (
            expected not in self._read_to_end or len(self._read_to_end) < len(self._client.dialect.list_words)
        )

    def _settle(self, escrow: Account, record: Record | None, problem: str) -> None:
        """Count it, and name what differs."""
        found = self.findings
        found.compared += 1
        here = escrow.amount
        if here is not None:
            found.here[_place(escrow)] += here.micro
        if record is not None and record[1] is not None and (place := _PLACE[record[0]]):
            found.there[place] += record[1]
        if problem:
            found.differences.append(f"{_name(escrow)}: {problem}")
        elif record is not None and (note := _note(escrow, record)):
            found.notes.append(f"{_name(escrow)}: {note}")

    async def end(self) -> Findings:
        """Look again at what differed; all that was found."""
        if self._batch:
            await self._read_batch()
        for _ in range(TRIES):
            if not self._again:
                break
            again, self._again = self._again, []
            await self._look_again(again)
        for escrow, problem in self._again:
            self._settle(escrow, None, f"{problem} (it kept changing while it was looked at)")
        if self._whole and self.findings.by == "list":
            await self._name_orphans()
        self.findings.unseen += [
            f"{count} accounts say {said}: this service lists no such escrows" for said, count in self._unlisted.items()
        ]
        return self.findings

    async def _look_again(self, again: list[tuple[Account, str]]) -> None:
        before = [await self._escrows.get(escrow.namespace, escrow.name) or escrow for escrow, _ in again]
        records = await self._fresh(before)
        for escrow, (_, problem) in zip(before, again, strict=True):
            now = await self._escrows.get(escrow.namespace, escrow.name) or escrow
            if now.metadata.resource_version != escrow.metadata.resource_version:
                self._again.append((now, problem))
                continue
            record = records.get(escrow.escrow_id or "")
            self._settle(escrow, record, _difference(escrow, record))

    async def _fresh(self, escrows: list[Account]) -> dict[str, Record]:
        ids = {escrow.escrow_id or "" for escrow in escrows}
        if self.findings.by == "read":
            read = [(escrow.escrow_id or "", await self._read(escrow)) for escrow in escrows]
            return {escrow_id: record for escrow_id, record in read if record is not None}
        found: dict[str, Record] = {}
        for status in self._client.dialect.list_words:
            if status in self._read_to_end:
                found |= {told.id: _record(told) async for told in self._client.list_escrows(status, ids)}
        return found

    async def _name_orphans(self) -> None:
        for escrow_id in sorted(self._orphans):
            record = self._listed.get(escrow_id)
            if not isinstance(record, tuple):
                continue
            late = [escrow async for escrow in self._escrows.list("", fieldSelector=f"spec.escrowId={escrow_id}")]
            if not late:
                amount = "an unknown amount" if record[1] is None else f"{shown(record[1])} USDC"
                self.findings.differences.append(
                    f"escrow {escrow_id}: {record[0]} at the service with {amount}, and no account has it"
                )


def _record(told: Told) -> Record:
    payee = None if told.payee is None else sys.intern(told.payee)
    return told.status, _micro(told.amount), payee, _micro(told.fee)


def _micro(amount: object) -> int | None:
    return getattr(amount, "micro", None)


def _name(escrow: Account) -> str:
    return f"{escrow.namespace}/{escrow.name}, escrow {escrow.escrow_id}"


def _place(escrow: Account) -> str:
    outcome = escrow.status.outcome
    return _ENDED[outcome][1] if escrow.phase is Phase.SETTLED and outcome else "held"


def _difference(escrow: Account, record: Record | None) -> str:
    """In what the two disagree, and nothing explains it; empty where they agree."""
    if record is None:
        return "" if escrow.phase in _MOVING else "the service does not have it"
    problems = [*_amounts(escrow, record)]
    status, _, payee, _ = record
    if payee is not None and escrow.payee is not None and payee != escrow.payee:
        problems.append(f"the payee is {escrow.payee} here and {payee} at the service")
    decided = escrow.phase is Phase.SETTLED and escrow.status.outcome is Outcome.DISPUTED
    if _PLACE[status] != _place(escrow) and escrow.phase not in _MOVING and not decided:
        problems.append(f"it is {_place(escrow)} here and {status} at the service")
    return "; ".join(problems)


def _amounts(escrow: Account, record: Record) -> Iterable[str]:
    status, amount, _, fee = record
    here = escrow.amount
    pairs = [("locked", _micro(here), amount)]
    if (
        status is EscrowStatus.RELEASED
        and escrow.status.outcome is Outcome.PAID
        and amount is not None
        and fee is not None
    ):
        pairs += [("paid", _micro(escrow.status.paid_usdc), amount - fee), ("fee", _micro(escrow.status.fee_usdc), fee)]
    for what, ours, theirs in pairs:
        if theirs is not None and ours is None:
            yield f"{what} is unknown here and {shown(theirs)} at the service"
        elif theirs is not None and ours is not None and ours != theirs:
            yield f"{what} is {shown(ours)} here and {shown(theirs)} at the service, {shown(ours - theirs)} apart"


def _note(escrow: Account, record: Record) -> str:
    """What differs for a known reason."""
    status = record[0]
    if escrow.phase is Phase.NEEDS_REVIEW:
        return f"in review; it is {status} at the service"
    if _PLACE[status] == _place(escrow):
        return ""
    return (
        f"disputed; the service has decided since: {status}"
        if escrow.phase is Phase.SETTLED
        else f"being settled; {status} at the service"
    )
