"""The budgets of the namespaces: reserved before anything is sent, returned once it is settled.

`budget_count.py` has what was locked before count, and puts right what a crash left. `runtime.kubernetes.budget` says
in which order, and why each step may be repeated.
"""

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from runtime.contract import BUDGET_KIND, BUDGET_NAME, ESCROW_GROUP, ESCROW_VERSION, Phase
from runtime.kubernetes.budget import BUSY, Book
from runtime.kubernetes.budget_objects import BudgetNotOpenedError, BudgetObject
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import KubernetesError
from runtime.kubernetes.escrow import Escrow, Reservation
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events, ObjectReference
from runtime.kubernetes.limits import Limits, Refusal
from runtime.money import MICRO, ZERO, Usdc
from runtime.operator.budget_count import BudgetCount, UncountedError
from runtime.operator.metrics import Metrics

NEARLY: Final = 80
"""Percent of a namespace's limit at which an event warns."""

_log = logging.getLogger(__name__)


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
        self._count = BudgetCount(escrows)
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
            id=secrets.token_hex(8), amount_usdc=amount, day=self._limits.day(now), agent=agent, payee=payee
        )
        budget = self._budget(escrow.namespace)
        if not escrow.counts:  # opened by an operator without limits
            await self._escrows.let_count(escrow)

        def reserve(book: Book) -> Reservation | Refusal:
            # The book's day may be ahead of this clock: then it counts there.
            unlimited = self._unlimited(escrow.namespace, budget.limits)
            return unlimited or book.reserve(escrow.name, _on(wanted, book.day), budget.limits, now)

        try:
            await self._count.once(budget)
            found = await budget.change(reserve)
        except UncountedError as error:
            return Refusal("OverBudget", f"what is locked in the namespace is not known: {error}")
        except BudgetNotOpenedError:  # it was deleted
            self._count.anew(budget.namespace)
            return Refusal(BUSY, "the namespace's Budget was deleted, and is counted anew")
        await self._warn()
        return found

    def nothing(self, escrow: Escrow) -> Reservation:
        """The reservation of an Escrow that is only ended: what a Job locked by hand, and never ran for."""
        return Reservation(
            id="none", amount_usdc=ZERO, day=self._limits.day(datetime.now(UTC)), payee=escrow.payee or ""
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

    async def tidy(self, namespaces: Iterable[str]) -> list[Escrow]:
        """Put each namespace's Budget right; settled Escrows whose part was not returned yet."""
        due: list[Escrow] = []
        for namespace in namespaces:
            budget = self._budget(namespace)
            self._count.anew(namespace)
            try:
                if self._limits.are_set or (await self.limits(namespace)).are_set:
                    due += await self._count.put_right(budget)
            except UncountedError as error:
                _log.error(
                    "the budget of namespace %s funds nothing: what is locked is not known: %s", namespace, error
                )
            except (BudgetNotOpenedError, KubernetesError) as error:
                _log.warning("the budget of namespace %s is not put right this time: %s", namespace, error)
        return due

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


def _on(wanted: Reservation, day: str) -> Reservation:
    return Reservation(id=wanted.id, amount_usdc=wanted.amount_usdc, day=day, agent=wanted.agent, payee=wanted.payee)
