"""Holds the accounts against the payment service: by escrow where it reads one, by lists where it lists.

Of each account the amount, the payee, where the money is, and in a dialect that tells it what was paid and kept. What
does not agree is looked at again, between two reads of the account that say the same: accounts and service are read one
after the other, and money moves meanwhile. The `fly` dialect shows nothing; then this says so, and compares nothing.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from runtime.contract import Phase
from runtime.errors import Contradiction, NotFound, Problem, Rejected, Unavailable, Unsupported
from runtime.kubernetes.escrow import Account
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.payments import Escrow as Told
from runtime.payments import EscrowStatus, Operation, PaymentsClient
from runtime.statement.differences import ENDED, PLACE_OF, Record, difference, named, note_of, place_of, record_of
from runtime.statement.lines import locked_at
from runtime.statement.period import Period
from runtime.statement.sums import shown

READS_AT_ONCE: Final = 16
SECOND_LOOKS: Final = 1000
"""Differences that are looked at again; with more something is wrong that no second look mends."""
TRIES: Final = 3

PLACES: Final = ("held", "paid", "returned")
"""Where the money of an escrow is; what was paid includes the fee."""


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
            record = record_of(told)
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
            return record_of(await self._client.read_escrow(escrow.escrow_id or ""))
        except NotFound:
            return None

    def _judge(self, escrow: Account, record: Record | str | None) -> None:
        """Add what one comparison found; a difference only for a second look."""
        if isinstance(record, tuple) and self._agrees(escrow, record):
            return
        if isinstance(record, str):
            self.findings.differences.append(f"{named(escrow)}: the account {record} names the same escrow")
            return
        if record is None and self._cannot_be_listed(escrow):
            said = escrow.status.outcome or escrow.phase
            self._unlisted[said] = self._unlisted.get(said, 0) + 1
            return
        problem = difference(escrow, record)
        if problem and len(self._again) < SECOND_LOOKS:
            self._again.append((escrow, problem))
        else:
            self._settle(escrow, record, problem)

    def _agrees(self, escrow: Account, record: Record) -> bool:
        """Count it if it is as plain as nearly all are: settled or open, and the same on both sides."""
        status, amount, payee, fee = record
        here, place = escrow.amount, place_of(escrow)
        plain = (
            here is not None
            and here.micro == amount
            and PLACE_OF[status] == place
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
        expected = ENDED[escrow.status.outcome][0] if escrow.status.outcome else EscrowStatus.LOCKED
        return self.findings.by == "list" and (
            expected not in self._read_to_end or len(self._read_to_end) < len(self._client.dialect.list_words)
        )

    def _settle(self, escrow: Account, record: Record | None, problem: str) -> None:
        """Count it, and name what differs."""
        found = self.findings
        found.compared += 1
        here = escrow.amount
        if here is not None:
            found.here[place_of(escrow)] += here.micro
        if record is not None and record[1] is not None and (place := PLACE_OF[record[0]]):
            found.there[place] += record[1]
        if problem:
            found.differences.append(f"{named(escrow)}: {problem}")
        elif record is not None and (note := note_of(escrow, record)):
            found.notes.append(f"{named(escrow)}: {note}")

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
            self._settle(escrow, record, difference(escrow, record))

    async def _fresh(self, escrows: list[Account]) -> dict[str, Record]:
        ids = {escrow.escrow_id or "" for escrow in escrows}
        if self.findings.by == "read":
            read = [(escrow.escrow_id or "", await self._read(escrow)) for escrow in escrows]
            return {escrow_id: record for escrow_id, record in read if record is not None}
        found: dict[str, Record] = {}
        for status in self._client.dialect.list_words:
            if status in self._read_to_end:
                found |= {told.id: record_of(told) async for told in self._client.list_escrows(status, ids)}
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
