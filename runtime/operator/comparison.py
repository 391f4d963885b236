"""Compares funded Escrows with the payment service, slowly and in the background: settlements go first.

The service is read first, and the Escrow only when the answer differs. If the Escrow is still funded then, somebody
else closed the escrow: our own acts are written down before they are sent.
"""

import asyncio
import logging
import sys
import time
from bisect import bisect_right
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from runtime.contract import Phase
from runtime.errors import PurpleFleaError
from runtime.kubernetes.escrow import Escrow as Account
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.new_escrow import escrow_name
from runtime.operator.jobs import JobFacts
from runtime.operator.metrics import Metrics
from runtime.operator.phase_cache import PhaseCache
from runtime.operator.queue import WorkQueue
from runtime.operator.settlements import Settlements
from runtime.operator.unaccounted import Unaccounted
from runtime.payments import Escrow, EscrowStatus, Operation, PaymentsClient
from runtime.settlement.reading import Observation, Reader
from runtime.settlement.record import Case, Settlement
from runtime.settlement.table import STATUSES, STILL_OPEN, Intent, Seen
from runtime.trace import tracing

STEPS_PER_SECOND: Final = 5.0
"""Reads a second at the most: a twentieth of a pod's CPU, 1,500 Escrows in a period of 300 s, 50,000 in three hours.

Nothing presses: what somebody else closed moves no more, and the service's own time-out is a day."""

LISTED_AT_ONCE: Final = 200
"""Where there are only lists: Escrows that share one reading of them."""

LONGEST_BACK_OFF_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Funded(NamedTuple):
    """What is kept of a funded Escrow, a hundred bytes: thousands of whole ones would not fit into the pod."""

    uid: str
    """The Job's."""
    namespace: str
    escrow_id: str
    name: str
    """The object's; empty where it is made of the UID."""

    @classmethod
    def of(cls, account: Account) -> "Funded":
        """Of a funded Escrow object."""
        uid, name = account.work.key, account.name
        return cls(
            uid, sys.intern(account.namespace), account.escrow_id or "", "" if name == escrow_name(uid) else name
        )


class Comparison:
    """Goes round the funded Escrows in the order of their Jobs' UIDs, one round after the other.

    Args:
        leading: Set while this replica leads; the others need not ask the service too.
    """

    def __init__(
        self,
        client: PaymentsClient,
        escrows: EscrowObjects,
        settlements: Settlements,
        known: PhaseCache,
        queue: WorkQueue[str, JobFacts],
        metrics: Metrics,
        leading: asyncio.Event,
        unaccounted: Unaccounted,
    ) -> None:
        self._client = client
        self._reader = Reader(client)
        self._escrows = escrows
        self._settlements = settlements
        self._known = known
        self._queue = queue
        self._metrics = metrics
        self._leading = leading
        self._unaccounted = unaccounted
        self._escrow_ids: set[str] = set()
        self._funded: list[Funded] = []
        self._news = asyncio.Event()
        self._recording = asyncio.Lock()
        self._told: set[str] = set()
        """UIDs of those whose oddity was logged."""
        self._silences = 0

    def listed(self, funded: Iterable[Funded], escrow_ids: set[str]) -> None:
        """Take what a pass found. A round that is under way goes on from where it is; else one begins."""
        self._escrow_ids = escrow_ids
        self._funded = sorted(funded)
        self._told &= {one.uid for one in self._funded}
        self._news.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go round until `stopping`; a read is broken off then, an outcome that is being recorded is finished."""
        async with asyncio.TaskGroup() as group:
            rounds = group.create_task(self._rounds())
            await stopping.wait()
            async with self._recording:
                rounds.cancel()

    async def _rounds(self) -> None:
        reads, lists = (self._client.supports(operation) for operation in (Operation.READ, Operation.LIST))
        while reads or lists:
            await self._news.wait()
            self._news.clear()
            await self._turn()
            try:
                listed = None if reads else [escrow async for escrow in self._client.list_escrows(EscrowStatus.LOCKED)]
                known = {escrow.id for escrow in listed or ()}
                await (self._round(1) if reads else self._round(LISTED_AT_ONCE, known))
                await self._turn()
                await self._unaccounted.look(self._escrow_ids, listed)
            except PurpleFleaError as error:
                _log.warning("the open escrows could not be listed to compare them: %s", error)
                await self._back_off(getattr(error, "delay_seconds", None))
            else:
                self._metrics.last_comparison.set(time.time())

    async def _round(self, at_once: int, known: Collection[str] = ()) -> None:
        """Compare all but those whose escrow ids are known to be open."""
        last = ""
        while batch := self._after(last, at_once, known):
            await self._turn()
            observed = await asyncio.gather(*map(self._observe, batch), return_exceptions=True)
            for one, found in zip(batch, observed, strict=True):
                await self._note(one, found)
            last = batch[-1].uid
            silent = [s for s in observed if isinstance(s, Observation) and s.seen is Seen.SILENT]
            if silent:
                await self._back_off(max(one.delay_seconds or 0.0 for one in silent))
            else:
                self._silences = 0

    def _after(self, last: str, count: int, known: Collection[str]) -> list[Funded]:
        """The next ones of the latest list that nobody works on."""
        found: list[Funded] = []
        for at in range(bisect_right(self._funded, last, key=lambda one: one.uid), len(self._funded)):
            one = self._funded[at]
            funded = self._known.get(one.uid) is Phase.FUNDED and one.uid not in self._queue
            if funded and one.escrow_id not in known:
                found.append(one)
            if len(found) == count:
                break
        return found

    async def _turn(self) -> None:
        """Keep the rate, and wait while this replica does not lead or Jobs wait for a worker."""
        await asyncio.sleep(1 / STEPS_PER_SECOND)
        while self._queue.waiting or not self._leading.is_set():
            await self._leading.wait()
            await asyncio.sleep(1 / STEPS_PER_SECOND)

    async def _back_off(self, asked_seconds: float | None) -> None:
        """Pause: as long as the service asked, or longer after each read without an answer."""
        self._silences += 1
        await asyncio.sleep(max(asked_seconds or 0.0, min(2.0**self._silences, LONGEST_BACK_OFF_SECONDS)))

    async def _observe(self, one: Funded) -> Observation:
        case = Case(one.uid, one.escrow_id, Intent.RELEASE, "compared with the service")
        return await self._reader.read(Settlement.decided(case, datetime.now(UTC)))

    async def _note(self, one: Funded, found: Observation | BaseException) -> None:
        """Record or log what was seen. What goes wrong with one is no reason to leave out the others."""
        with tracing(namespace=one.namespace, escrow=one.escrow_id):
            try:
                if isinstance(found, BaseException):
                    raise found
                self._metrics.comparisons.labels(found.seen).inc()
                if found.seen not in STATUSES:
                    self._tell(one, found)
                elif found.escrow is not None and found.seen not in STILL_OPEN:
                    await self._record(one, found.escrow)
            except Exception as error:
                _log.warning("not compared this time: %s: %s", type(error).__name__, error)

    async def _record(self, one: Funded, found: Escrow) -> None:
        async with self._recording:
            account = await self._escrows.get(one.namespace, one.name or escrow_name(one.uid))
            if account is not None and account.phase is Phase.FUNDED:
                phase = await self._settlements.record_closing_by_others(account, found)
                self._known.note(one.uid, phase)

    def _tell(self, one: Funded, found: Observation) -> None:
        """Log what cannot be compared: a silence each time, anything else once an Escrow."""
        if found.seen is not Seen.SILENT:
            if one.uid in self._told:
                return
            self._told.add(one.uid)
        _log.warning("cannot be compared with the service: %s", found.note)
