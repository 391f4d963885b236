"""The budgets of the namespaces: reserved before anything is sent, returned once it is settled, put right by each pass.

`runtime.kubernetes.budget` says in which order, and why each step may be repeated.
"""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.contract import BUDGET_KIND, BUDGET_LABEL, BUDGET_NAME, ESCROW_GROUP, ESCROW_VERSION, Phase
from runtime.kubernetes.budget import BUSY, Book, Entry
from runtime.kubernetes.budget_objects import BudgetNotOpenedError, BudgetObject
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import KubernetesError, WriteConflict
from runtime.kubernetes.escrow import FUNDED, NOT_SETTLED, Condition, Escrow, Reservation
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events, ObjectReference
from runtime.kubernetes.limits import Limits, Refusal
from runtime.money import MICRO, ZERO, Usdc
from runtime.operator.metrics import Metrics

ABANDONED: Final = timedelta(minutes=2)
"""A reservation that is so old and is on no Escrow was left by an operator that died. Only then is it looked at."""

NEARLY: Final = 80
"""Percent of a namespace's limit at which an event warns."""

_log = logging.getLogger(__name__)


class UncountedError(Exception):
    """What is locked in the namespace is not known, so that nothing may be added; the message names the Escrow."""


class BudgetFullError(Exception):
    """Too much is being returned at this moment; try again."""


@dataclass(frozen=True)
class _BudgetSubject:
    """A Budget, for events."""

    namespace: str
    uid: str

    @property
    def reference(self) -> ObjectReference:
        """What the event names."""
        return ObjectReference(f"{ESCROW_GROUP}/{ESCROW_VERSION}", BUDGET_KIND, self.namespace, BUDGET_NAME, self.uid)


class Budgets:
    """One Budget for each namespace; none where no limit is set.

    Args:
        limits: What the settings say of every namespace; a Budget may say otherwise of its own.
        own_namespace: The stack's, the only one in which money is locked without a limit.
    """

    def __init__(
        self,
        api: KubernetesApi,
        escrows: EscrowObjects,
        events: Events,
        metrics: Metrics,
        limits: Limits,
        own_namespace: str,
    ) -> None:
        self._api = api
        self._escrows = escrows
        self._events = events
        self._metrics = metrics
        self._limits = limits
        self._own_namespace = own_namespace
        self._limited: set[str] = set()
        """Namespaces whose Budgets have a limit where the settings have none."""
        self._objects: dict[str, BudgetObject] = {}
        self._counted: set[str] = set()
        """Namespaces of which all that was locked before is counted."""
        self._counting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._warnings: list[tuple[str, str]] = []

    def are_kept(self, namespace: str) -> bool:
        """Whether there is any limit in a namespace, as far as is known."""
        return self._limits.are_set or namespace in self._limited

    async def limits(self, namespace: str) -> Limits:
        """What holds in a namespace now."""
        found = await self._budget(namespace).said()
        (self._limited.add if found.are_set else self._limited.discard)(namespace)
        return found

    def _unlimited(self, namespace: str, limits: Limits) -> Refusal | None:
        """Why nothing is locked in a namespace that is not the stack's own: no limit is given for it."""
        if namespace == self._own_namespace or limits.namespace.is_set:
            return None
        words = f"no limit is given for namespace {namespace}, and without one nothing is locked here"
        remedy = f"namespaceUsdc or namespaceDailyUsdc, in the settings' budget or as spec of Budget {BUDGET_NAME}"
        return Refusal("NoLimit", f"{words}: {remedy}")

    async def reserve(self, escrow: Escrow, amount: Usdc, payee: str, agent: str) -> Reservation | Refusal | None:
        """Reserve for an Escrow before anything is sent for it; None where there is no limit."""
        if escrow.status.reservation is not None:
            return escrow.status.reservation
        if not self.are_kept(escrow.namespace):
            limits = await self.limits(escrow.namespace)
            if refusal := self._unlimited(escrow.namespace, limits) or limits.refusal(payee, amount):
                return refusal
            if not limits.are_set:
                return None
        now = datetime.now(UTC)
        wanted = Reservation(
            id=secrets.token_hex(8), amount_usdc=amount, day=now.date().isoformat(), agent=agent, payee=payee
        )
        budget = self._budget(escrow.namespace)
        if not escrow.counts:  # opened by an operator without limits
            await self._escrows.let_count(escrow)

        def reserve(book: Book) -> Reservation | Refusal:
            # The book's day may be ahead of this clock: then it counts there.
            unlimited = self._unlimited(escrow.namespace, budget.limits)
            return unlimited or book.reserve(escrow.name, _on(wanted, book.day), budget.limits, now)

        try:
            await self._count(budget)
            found = await budget.change(reserve)
        except UncountedError as error:
            return Refusal("OverBudget", f"what is locked in the namespace is not known: {error}")
        except BudgetNotOpenedError:  # it was deleted
            self._counted.discard(budget.namespace)
            return Refusal(BUSY, "the namespace's Budget was deleted, and is counted anew")
        await self._warn()
        return found

    def nothing(self, escrow: Escrow) -> Reservation:
        """The reservation of an Escrow that is only ended: what a Job locked by hand, and never ran for."""
        return Reservation(
            id="none", amount_usdc=ZERO, day=datetime.now(UTC).date().isoformat(), payee=escrow.payee or ""
        )

    def confirm(self, escrow: Escrow) -> None:
        """The reservation is on the Escrow, and stays there."""
        if (found := escrow.status.reservation) is not None and escrow.namespace in self._objects:
            name, reservation_id = escrow.name, found.id
            self._budget(escrow.namespace).change_later(lambda book: book.confirm(name, reservation_id))

    async def yield_to_others(self, escrow: Escrow) -> None:
        """Somebody else wrote the Escrow first: what was reserved beside a reservation of theirs is taken back."""
        if not self.are_kept(escrow.namespace):
            return
        found = await self._escrows.get(escrow.namespace, escrow.name)
        if found is not None and (theirs := found.status.reservation) is not None:
            await self._budget(escrow.namespace).change(lambda book: book.confirm(escrow.name, theirs.id))

    async def release(self, escrow: Escrow) -> None:
        """Nothing was locked for the Escrow, which says so since it was last written."""
        if self.are_kept(escrow.namespace):
            await self._budget(escrow.namespace).change(lambda book: book.release(escrow.name))

    async def close(self, escrow: Escrow) -> bool:
        """Return what a closed Escrow held; whether its label may go. One in review still counts."""
        if not (self.are_kept(escrow.namespace) and escrow.counts):
            return False
        reservation = escrow.status.reservation
        if reservation is None:
            await self.release(escrow)
            return escrow.phase is Phase.SETTLED
        if escrow.phase is not Phase.SETTLED:
            return False
        budget = self._budget(escrow.namespace)
        done = await budget.change(
            lambda book: book.give_back(escrow.name, reservation), due=lambda: self._escrows.counts(escrow)
        )
        if done is False:
            raise BudgetFullError(f"the Budget of namespace {escrow.namespace} has too many returns in flight")
        return True

    def forget(self, escrow: Escrow) -> None:
        """The label is gone from the Escrow."""
        name = escrow.name
        self._budget(escrow.namespace).change_later(lambda book: book.forget(name))

    async def return_task(self, escrow: Escrow) -> None:
        """Return what a settled Task's Escrow held; those of Jobs are closed when their Job is."""
        if await self.close(escrow):
            await self._escrows.stop_counting(escrow)
            self.forget(escrow)

    # --- what a crash left, and what was there before

    async def tidy(self, namespaces: Iterable[str]) -> list[Escrow]:
        """Put each namespace's Budget right; settled Escrows whose part was not returned yet."""
        due: list[Escrow] = []
        for namespace in namespaces:
            budget = self._budget(namespace)
            self._counted.discard(namespace)
            try:
                if not (self._limits.are_set or (await self.limits(namespace)).are_set):
                    continue
                await self._count(budget)
                await self._tidy(budget)
                due += await self._recount(budget)
            except UncountedError as error:
                _log.error(
                    "the budget of namespace %s funds nothing: what is locked is not known: %s", namespace, error
                )
            except (BudgetNotOpenedError, KubernetesError) as error:
                _log.warning("the budget of namespace %s is not put right this time: %s", namespace, error)
        return due

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

    async def _count(self, budget: BudgetObject) -> None:
        """Have all that is locked in the namespace count, once a pass. Raises `UncountedError`."""
        async with self._counting[budget.namespace]:
            if budget.namespace in self._counted:
                return
            await budget.open(lambda: self._first_book(budget.namespace))
            escrows = self._escrows.list(budget.namespace, fieldSelector=NOT_SETTLED)
            async for escrow in escrows:
                if escrow.status.reservation is None and _locks(escrow):
                    await self._adopt(budget, escrow)
            if escrows.malformed:
                raise UncountedError(str(escrows.malformed[0]))
            self._counted.add(budget.namespace)

    async def _first_book(self, namespace: str) -> Book:
        """What a new Budget starts with: what its Escrows say is reserved, and what was spent today."""
        book = Book()
        book.begin(datetime.now(UTC).date().isoformat())
        async for escrow in self._escrows.list(namespace):
            held, since = escrow.status.reservation, escrow.status.locked_at
            if held is not None and escrow.counts:
                book.add(held)
            elif escrow.phase is Phase.SETTLED and since is not None and escrow.amount is not None:
                spent = _found(escrow, escrow.amount)
                if spent.day == book.day:
                    book.add(spent, locked=False)
        return book

    async def _adopt(self, budget: BudgetObject, escrow: Escrow) -> None:
        """Count what is locked for an Escrow without a reservation: by an operator without limits, or by payroll."""
        if escrow.amount is None:
            raise UncountedError(f"Escrow {escrow.name} does not say how much it holds")
        found, now = _found(escrow, escrow.amount), datetime.now(UTC)
        counted = await budget.change(lambda book: book.adopt(escrow.name, found, now))
        assert counted is not None, "adopted without a condition"  # noqa: S101
        # The label first: with a reservation and without it the Escrow would be taken for one that was returned.
        labelled = await self._escrows.let_count(escrow)
        try:
            written = await self._escrows.set_status(labelled, reservation=counted.as_written())
        except WriteConflict as error:
            raise UncountedError(f"Escrow {escrow.name} is being written") from error
        self.confirm(written)

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

    # --- what people see

    def _budget(self, namespace: str) -> BudgetObject:
        if namespace not in self._objects:
            self._objects[namespace] = BudgetObject(self._api, namespace, self._limits, self._changed)
        return self._objects[namespace]

    def _changed(self, namespace: str, before: Book, after: Book) -> None:
        limit = self._budget(namespace).limits.namespace
        for what, most, was, is_now in (
            ("locked", limit.locked, before.total.locked_usdc, after.total.locked_usdc),
            ("daily", limit.daily, before.total.spent_usdc, after.total.spent_usdc),
        ):
            if most is None:
                continue
            self._metrics.budget_limit.labels(namespace, what).set(most.micro / MICRO)
            self._metrics.budget_used.labels(namespace, what).set(is_now.micro / MICRO)
            if was.micro * 100 < NEARLY * most.micro <= is_now.micro * 100:
                when = "are locked" if what == "locked" else "were locked today"
                self._warnings.append((namespace, f"{is_now} of {most} USDC {when}, more than {NEARLY} %"))

    async def _warn(self) -> None:
        warnings, self._warnings = self._warnings, []
        for namespace, words in warnings:
            subject = _BudgetSubject(namespace, self._budget(namespace).uid)
            await self._events.post(subject, "BudgetNearlyExhausted", words, warning=True)


def _locks(escrow: Escrow) -> bool:
    """Whether money is locked for it, or may be."""
    status = escrow.status
    bound = escrow.phase in (Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING)
    return bound or status.creation is not None or status.locked_at is not None


def _found(escrow: Escrow, amount: Usdc) -> Reservation:
    """The reservation that an Escrow would have."""
    creation = escrow.status.creation
    since = escrow.status.locked_at or (creation.sent_at if creation else datetime.now(UTC))
    return Reservation(
        id=secrets.token_hex(8),
        amount_usdc=amount,
        day=since.astimezone(UTC).date().isoformat(),
        payee=escrow.payee or "",
    )


def _on(wanted: Reservation, day: str) -> Reservation:
    return Reservation(id=wanted.id, amount_usdc=wanted.amount_usdc, day=day, agent=wanted.agent, payee=wanted.payee)
