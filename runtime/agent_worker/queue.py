"""Where tasks come from: the payer's list at the service, or the Escrow objects that payroll hands out."""

import logging
from typing import Protocol

from runtime.agent_worker.doing import Task
from runtime.contract import Phase, WorkKind
from runtime.errors import PurpleFleaError
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.payments import EscrowStatus, PaymentsClient

_log = logging.getLogger(__name__)


class Queue(Protocol):
    """Tasks that wait for a wallet."""

    async def pending(self) -> list[Task]:
        """All of them, those first that the service refunds first."""
        ...


class Queues:
    """Several in one: what one of them cannot say now, the others may."""

    def __init__(self, *queues: Queue) -> None:
        self._queues = queues

    async def pending(self) -> list[Task]:
        """Raises what a queue raises where none answers."""
        found: dict[str, Task] = {}
        failed: list[Exception] = []
        for queue in self._queues:
            try:
                found |= {task.id: task for task in await queue.pending()}
            except (KubernetesError, ApiUnreachable, PurpleFleaError) as error:
                failed.append(error)
                _log.warning("a queue cannot be read now: %s", error)
        if len(failed) == len(self._queues):
            raise failed[0]
        return [*found.values()]


class ListedQueue:
    """Escrows that are locked for the wallet, by the payer's own list."""

    def __init__(self, client: PaymentsClient, wallet: str) -> None:
        self._client = client
        self._wallet = wallet

    async def pending(self) -> list[Task]:
        """Raises what the client raises."""
        escrows = [escrow async for escrow in self._client.list_escrows(EscrowStatus.LOCKED)]
        mine = [escrow for escrow in escrows if escrow.payee == self._wallet]
        mine.sort(key=lambda escrow: escrow.auto_release_at.timestamp() if escrow.auto_release_at else float("inf"))
        return [Task(escrow.id, escrow.id, escrow.amount) for escrow in mine]


class HandedQueue:
    """Escrow objects for tasks of the wallet whose money is locked: a worker needs no key for them."""

    def __init__(self, escrows: EscrowObjects, namespace: str, wallet: str) -> None:
        self._escrows = escrows
        self._namespace = namespace
        self._wallet = wallet

    async def pending(self) -> list[Task]:
        """Raises what the API raises."""
        selector = f"spec.work.kind={WorkKind.TASK},status.phase={Phase.FUNDED}"
        found = [
            escrow
            async for escrow in self._escrows.list(self._namespace, fieldSelector=selector)
            if escrow.payee == self._wallet and escrow.escrow_id
        ]
        found.sort(key=lambda escrow: when.timestamp() if (when := escrow.status.auto_release_at) else float("inf"))
        return [Task(escrow.escrow_id or "", escrow.escrow_id, escrow.amount) for escrow in found]
