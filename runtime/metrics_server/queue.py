"""Reads the whole queue: the payer's list at the service and the Escrow objects that payroll hands out.

What workers would take waits: see `runtime.agent_worker.queue`. A worker may do with half of it, a metric may not: what
cannot be read whole is not read.
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from runtime.contract import Phase, WorkKind
from runtime.errors import PurpleFleaError, RateLimited, Unsupported
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError, MalformedObject
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.task_claims import TaskClaims
from runtime.metrics_server.reading import Groups, Reading, Readings
from runtime.payments import Escrow, Operation, PaymentsClient

READ_SECONDS: Final = 25.0
"""Most that one reading may take, retries included: below the time for which the one before holds."""
CONFIRM_SECONDS: Final = 5.0
"""Pause before an empty queue is read for the second time."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two tries while the service fails."""

_log = logging.getLogger(__name__)


class Queue:
    """The queue of one namespace's workers.

    Args:
        client: The payer's; its list is read where the dialect has one.
        wallet: Whose escrows wait; empty for everybody's, as in the guide.
    """

    def __init__(
        self, client: PaymentsClient, escrows: EscrowObjects, claims: TaskClaims, namespace: str, wallet: str
    ) -> None:
        self._client = client
        self._escrows = escrows
        self._claims = claims
        self._namespace = namespace
        self._wallet = wallet
        self._listed = client.supports(Operation.LIST)
        if not self._listed:
            _log.warning("this dialect has no list: what waits is read from the Escrow objects alone")

    async def read(self) -> Reading:
        """All of it, once. Raises what client and API raise, and `TimeoutError`."""
        at = time.monotonic()
        async with asyncio.timeout(READ_SECONDS):
            groups = Groups()
            skipped, under_way = await self._claims.overview()
            await self._read_objects(groups, skipped)
            if self._listed:
                try:
                    await self._read_list(groups, skipped)
                except Unsupported as error:
                    self._listed = False
                    _log.warning("%s: what waits is read from the Escrow objects alone", error)
        return Reading(at, self._client.now().timestamp(), groups, under_way)

    async def _read_objects(self, groups: Groups, skipped: set[str]) -> None:
        """Count the tasks that payroll hands out, and have the list not count them again."""
        selector = f"spec.work.kind={WorkKind.TASK},status.phase={Phase.FUNDED}"
        listing = self._escrows.list(self._namespace, fieldSelector=selector)
        async for escrow in listing:
            if not escrow.escrow_id or escrow.escrow_id in skipped:
                continue
            skipped.add(escrow.escrow_id)
            if not self._wallet or escrow.payee == self._wallet:
                since = escrow.status.locked_at or escrow.metadata.creation_timestamp
                micro = None if escrow.amount is None else escrow.amount.micro
                labels = {**escrow.metadata.labels, "payee": escrow.payee or "", "source": "object"}
                groups.add(labels, micro, None if since is None else since.timestamp())
        if listing.malformed:
            raise listing.malformed[0]

    async def _read_list(self, groups: Groups, skipped: set[str]) -> None:
        def fold(escrow: Escrow) -> None:
            if escrow.id in skipped or (self._wallet and escrow.payee != self._wallet):
                return
            labels = {"payee": escrow.payee or "", "source": "service"}
            since = None if escrow.created_at is None else escrow.created_at.timestamp()
            groups.add(labels, None if escrow.amount is None else escrow.amount.micro, since)

        await self._client.fold_escrows(fold)


class Poller:
    """Reads it again and again into `readings`."""

    def __init__(self, queue: Queue, readings: Readings, poll_seconds: float) -> None:
        self._queue = queue
        self._readings = readings
        self._poll_seconds = poll_seconds
        self._moved_at = time.monotonic()
        self.reads = 0
        """Complete readings so far."""
        self.failures = 0
        """Tries that gave none."""

    def stalled(self) -> str | None:
        """Why a new process is needed."""
        silent = time.monotonic() - self._moved_at
        most = 4 * max(self._poll_seconds, LONGEST_PAUSE_SECONDS)
        return f"the queue was not looked at for {silent:.0f} s" if silent > most else None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        in_a_row = 0
        while not stop.is_set():
            self._moved_at = time.monotonic()
            try:
                self._readings.took(await self._queue.read())
                self.reads, in_a_row = self.reads + 1, 0
                pause = min(self._poll_seconds, CONFIRM_SECONDS) if self._readings.wants_confirmation else 0.0
            except (KubernetesError, ApiUnreachable, MalformedObject, PurpleFleaError, TimeoutError) as error:
                self.failures, in_a_row = self.failures + 1, in_a_row + 1
                problem = str(error) or f"not read within {READ_SECONDS:g} s"
                self._readings.failed(problem)
                _log.warning("the queue is unknown: %s", problem)
                asked = (isinstance(error, RateLimited) and error.delay_seconds) or 0.0
                longest = max(LONGEST_PAUSE_SECONDS, self._poll_seconds)
                pause = min(max(asked, self._poll_seconds * 2 ** min(in_a_row - 1, 6)), longest)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause or self._poll_seconds)
