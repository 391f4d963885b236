"""Reading and writing a namespace's Budget: operations that wait at one moment are written together, once.

Each write is tested by resource version, so that of several operators one is first and the others try again on what it
wrote. An operation may be done twice, see `runtime.kubernetes.budget`: where it is not known whether a write arrived,
whoever asked repeats it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from runtime.contract import BUDGET_KIND, BUDGET_NAME, ESCROW_GROUP, ESCROW_VERSION
from runtime.kubernetes.budget import BUDGET, Book, Budget, budget_path, budgets_path
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, ApiUnreachable, ObjectNotFound, WriteConflict
from runtime.kubernetes.limits import Limits, Refusal
from runtime.kubernetes.shape import Json

ATTEMPTS: Final = 50
"""Writes that meet those of others. Each failed one means that another succeeded."""

FRESH_SECONDS: Final = 1.0
"""A refusal rests on a book that is not older: another operator may have returned something since."""

T = TypeVar("T")


class BudgetNotOpenedError(Exception):
    """The object is new: what is locked already has to be counted first."""


Change = Callable[[Book], T]
Precondition = Callable[[], Awaitable[bool]]


@dataclass
class _Waiting:
    """An operation, whether it is still due once the book was read, and who waits for it."""

    change: Change[Any]
    due: Precondition | None
    future: "asyncio.Future[Any]"


class BudgetObject:
    """One namespace's Budget.

    Args:
        limits: What the settings say; the object's `spec` may say otherwise.
        changed: Called with what was written before and now.
    """

    def __init__(
        self, api: KubernetesApi, namespace: str, limits: Limits, changed: Callable[[str, Book, Book], None]
    ) -> None:
        self._api = api
        self.namespace = namespace
        self._settings = limits
        self.limits = limits
        """What holds, as last read."""
        self._changed = changed
        self._lock = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._later: list[Change[None]] = []
        self._book: Book | None = None
        self._version = ""
        self._opened = False
        self._read_at = 0.0
        self.uid = ""

    async def change(self, change: Change[T], due: Precondition | None = None) -> T | None:
        """Do an operation; what it returns, None where it was no longer due.

        `due` is asked after the book was read on which the write rests: what it says holds if the write succeeds.
        Raises what the API server raises, and `BudgetNotOpenedError`.
        """
        one = _Waiting(change, due, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        async with self._lock:
            if not one.future.done():
                await self._flush()
        return await one.future

    def change_later(self, change: Change[None]) -> None:
        """Do an operation with the next write; it is no loss if none follows."""
        self._later.append(change)

    async def said(self) -> Limits:
        """The limits as the object says them now; those of the settings where there is none. It is not created."""
        try:
            budget = await self._api.get(budget_path(self.namespace), BUDGET)
        except ObjectNotFound:
            return self._settings
        return budget.limits(self._settings)

    async def read(self) -> tuple[Book, str]:
        """What the object says now, and its version."""
        async with self._lock:
            return (await self._read()).copy(), self._version

    async def recount(self, version: str, counted: Book) -> bool:
        """Set what is locked, if nobody wrote since that version; whether it was another amount."""
        async with self._lock:
            before = self._book
            if before is None or self._version != version:
                return False
            book = before.copy()
            book.recount(counted)
            if book == before:
                return False
            self._book = None  # until it is known what was written
            try:
                await self._write(version, book)
            except WriteConflict:
                return False
            self._changed(self.namespace, before, book)
            return True

    async def open(self, begin: Callable[[], Awaitable[Book]]) -> None:
        """Create the object, unless there is one; `begin` says what it starts with."""
        async with self._lock:
            await self._read()
            for _ in range(ATTEMPTS):
                if self._opened:
                    return
                version, book = self._version, await begin()
                try:
                    await self._write(version, book)
                except WriteConflict:
                    await self._read()

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        later, self._later = self._later, []
        try:
            results = await self._done([*batch], later)
        except BaseException as error:
            self._book = None  # whether the write arrived is unknown
            self._later = [*later, *self._later]
            for one in batch:
                if not one.future.done():
                    one.future.set_exception(error if isinstance(error, Exception) else ApiUnreachable("broken off"))
                    one.future.exception()  # whoever waited may have been cancelled
            if not isinstance(error, Exception):
                raise
        else:
            for one, result in zip(batch, results, strict=True):
                if not one.future.done():
                    one.future.set_result(result)

    async def _done(self, batch: list[_Waiting], later: list[Change[None]]) -> list[Any]:
        for _ in range(ATTEMPTS):
            before = self._book or await self._read()
            if not self._opened:
                raise BudgetNotOpenedError(budget_path(self.namespace))
            due = await asyncio.gather(*(one.due() if one.due else _yes() for one in batch))
            book = before.copy()
            book.begin(self.limits.day(datetime.now(UTC)))
            for change in later:
                change(book)
            results = [one.change(book) if wanted else None for one, wanted in zip(batch, due, strict=True)]
            if any(isinstance(result, Refusal) for result in results) and not self._is_fresh:
                self._book = None
                continue
            try:
                if book != before:
                    await self._write(self._version, book)
            except WriteConflict:
                self._book = None
                continue
            self._changed(self.namespace, before, book)
            return results
        raise WriteConflict("PATCH", budget_path(self.namespace), 409, "Conflict", "others write it all the time")

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self._read_at <= FRESH_SECONDS

    async def _read(self) -> Book:
        path = budget_path(self.namespace)
        begun = time.monotonic()
        try:
            budget = await self._api.get(path, BUDGET)
        except ObjectNotFound:
            try:
                budget = await self._api.create(budgets_path(self.namespace), self._object(), BUDGET)
            except AlreadyExists:
                budget = await self._api.get(path, BUDGET)
        return self._seen(budget, begun)

    async def _write(self, version: str, book: Book) -> None:
        body = {"metadata": {"resourceVersion": version}, "status": book.status(self.limits)}
        begun = time.monotonic()
        budget = await self._api.merge_patch(f"{budget_path(self.namespace)}/status", body, BUDGET)
        self._seen(budget, begun)

    def _seen(self, budget: Budget, read_at: float) -> Book:
        self.limits = budget.limits(self._settings)
        self._opened = budget.status is not None
        self._book, self._version = Book.of(budget.status), budget.metadata.resource_version
        self.uid, self._read_at = budget.metadata.uid, read_at
        return self._book

    def _object(self) -> Json:
        metadata = {"name": BUDGET_NAME, "namespace": self.namespace}
        return {"apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}", "kind": BUDGET_KIND, "metadata": metadata}


async def _yes() -> bool:
    return True
