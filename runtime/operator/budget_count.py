"""What a Budget counts beside what is reserved in it: what was locked before it, and what a crash left."""

import asyncio
import logging
import secrets
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.contract import BUDGET_LABEL, Phase
from runtime.kubernetes.budget import Book, Entry
from runtime.kubernetes.budget_objects import BudgetObject
from runtime.kubernetes.errors import WriteConflict
from runtime.kubernetes.escrow import FUNDED, NOT_SETTLED, Condition, Escrow, Reservation
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.limits import Limits
from runtime.money import Usdc

ABANDONED: Final = timedelta(minutes=2)
"""A reservation that is so old and is on no Escrow was left by an operator that died. Only then is it looked at."""

_log = logging.getLogger(__name__)


class UncountedError(Exception):
    """What is locked in the namespace is not known, so that nothing may be added; the message names the Escrow."""


class BudgetCount:
    """Holds the Budgets against the Escrows."""

    def __init__(self, escrows: EscrowObjects) -> None:
        self._escrows = escrows
        self._counted: set[str] = set()
        """Namespaces of which all that was locked before is counted."""
        self._counting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def anew(self, namespace: str) -> None:
        """Have the namespace counted at the next occasion."""
        self._counted.discard(namespace)

    async def put_right(self, budget: BudgetObject) -> list[Escrow]:
        """What a pass does; settled Escrows whose part was not returned yet. Raises `UncountedError`."""
        await self.once(budget)
        await self._tidy(budget)
        return await self._recount(budget)

    async def _recount(self, budget: BudgetObject) -> list[Escrow]:
        """Hold the Budget against the Escrows, in a moment in which nobody writes it; those that are to be returned.

        Nothing else tells of an Escrow that somebody deleted. Exact: an Escrow begins to count, or ends to, only after
        the Budget was written, and then nothing is set here.
        """
        book, version = await budget.read()
        due, sums = list[Escrow](), Book()
        async for escrow in self._escrows.list(budget.namespace, labelSelector=BUDGET_LABEL):
            if escrow.phase is Phase.SETTLED:
                due.append(escrow)
            if (held := escrow.status.reservation) is not None and escrow.name not in book.returned:
                sums.add(held)
        if not book.pending and await budget.recount(version, sums):
            words = "the budget of namespace %s said %s USDC are locked, its Escrows say %s"
            _log.warning(words, budget.namespace, book.total.locked_usdc, sums.total.locked_usdc)
        return due

    async def once(self, budget: BudgetObject) -> None:
        """Have all that is locked in the namespace count, once a pass. Raises `UncountedError`."""
        async with self._counting[budget.namespace]:
            if budget.namespace in self._counted:
                return
            await budget.open(lambda: self._first_book(budget))
            escrows = self._escrows.list(budget.namespace, fieldSelector=NOT_SETTLED)
            async for escrow in escrows:
                if escrow.status.reservation is None and _locks(escrow):
                    await self._adopt(budget, escrow)
            if escrows.malformed:
                raise UncountedError(str(escrows.malformed[0]))
            self._counted.add(budget.namespace)

    async def _first_book(self, budget: BudgetObject) -> Book:
        """What a new Budget starts with: what its Escrows say is reserved, and what was spent today."""
        book = Book()
        book.begin(budget.limits.day(datetime.now(UTC)))
        async for escrow in self._escrows.list(budget.namespace):
            held, since = escrow.status.reservation, escrow.status.locked_at
            if held is not None and escrow.counts:
                book.add(held)
            elif escrow.phase is Phase.SETTLED and since is not None and escrow.amount is not None:
                spent = _found(escrow, escrow.amount, budget.limits)
                if spent.day == book.day:
                    book.add(spent, locked=False)
        return book

    async def _adopt(self, budget: BudgetObject, escrow: Escrow) -> None:
        """Count what is locked for an Escrow without a reservation: by an operator without limits, or by payroll."""
        if escrow.amount is None:
            raise UncountedError(f"Escrow {escrow.name} does not say how much it holds")
        found, now = _found(escrow, escrow.amount, budget.limits), datetime.now(UTC)
        counted = await budget.change(lambda book: book.adopt(escrow.name, found, now))
        assert counted is not None, "adopted without a condition"  # noqa: S101
        # The label first: with a reservation and without it the Escrow would be taken for one that was returned.
        labelled = await self._escrows.let_count(escrow)
        try:
            await self._escrows.set_status(labelled, reservation=counted.as_written())
        except WriteConflict as error:
            raise UncountedError(f"Escrow {escrow.name} is being written") from error
        budget.change_later(lambda book: book.confirm(escrow.name, counted.id))

    async def _tidy(self, budget: BudgetObject) -> None:
        (book, _), now = await budget.read(), datetime.now(UTC)
        for entry in book.pending.values():
            if now - entry.since > ABANDONED:
                await self._put_right(budget, entry)
        for name in book.returned:
            escrow = await self._escrows.get(budget.namespace, name)
            if escrow is None or not escrow.counts:
                budget.change_later(lambda book, name=name: book.forget(name))
        await budget.change(lambda _: None)

    async def _put_right(self, budget: BudgetObject, entry: Entry) -> None:
        """End a reservation that an operator left, which may only be slow: what it writes next is to fail."""
        escrow = await self._escrows.get(budget.namespace, entry.escrow)
        if escrow is not None and (found := escrow.status.reservation) is not None:
            budget.change_later(lambda book: book.confirm(entry.escrow, found.id))
            return
        if escrow is not None and escrow.phase is Phase.PENDING:
            words = "what was reserved for it was returned: whoever reserved it had sent nothing for it"
            returned = Condition(type=FUNDED, status="False", reason="ReservationReturned", message=words)
            conditions = escrow.with_condition(returned)
            try:
                await self._escrows.set_status(escrow, phase=Phase.PENDING.value, conditions=conditions)
            except WriteConflict:
                return  # somebody works on it
        budget.change_later(lambda book: book.release(entry.escrow))


def _locks(escrow: Escrow) -> bool:
    """Whether money is locked for it, or may be."""
    status = escrow.status
    bound = escrow.phase in (Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING)
    return bound or status.creation is not None or status.locked_at is not None


def _found(escrow: Escrow, amount: Usdc, limits: Limits) -> Reservation:
    """The reservation that an Escrow would have."""
    creation = escrow.status.creation
    since = escrow.status.locked_at or (creation.sent_at if creation else datetime.now(UTC))
    return Reservation(
        id=secrets.token_hex(8),
        amount_usdc=amount,
        day=limits.day(since),
        payee=escrow.payee or "",
    )
