"""What is locked for workers: by the service's word, by the Escrow objects, and what of it is a Job's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from runtime.contract import ESCROW_ID_ANNOTATION, Phase, WorkKind
from runtime.errors import Unsupported
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.escrow import NOT_SETTLED, Escrow
from runtime.kubernetes.escrow_objects import EscrowObjects, escrows_path
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.new_escrow import task_account
from runtime.kubernetes.shape import NAMED, Metadata, Shape
from runtime.payments import Escrow as FoundEscrow
from runtime.payments import EscrowStatus, Operation, PaymentsClient

_OPEN: Final = (EscrowStatus.LOCKED, EscrowStatus.COMPLETED)


@dataclass
class Ledger:
    """What a run starts from.

    Args:
        listed: Open escrows of the payer by id; None where the service has no list.
        accounts: The tasks' Escrow objects that are not settled, by their escrow.
        of_jobs: Escrows that pay for a Job.
        malformed: Escrow objects that cannot be read, a line each.
    """

    listed: dict[str, FoundEscrow] | None
    accounts: dict[str, Escrow] = field(default_factory=dict)
    of_jobs: set[str] = field(default_factory=set)
    malformed: list[str] = field(default_factory=list)


class _Metadata(Metadata, frozen=True, kw_only=True, rename="camel"):
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Job(msgspec.Struct, frozen=True):
    metadata: _Metadata


_JOB: Final[Shape[_Job]] = Shape.of("Job", _Job)


async def read_ledger(api: KubernetesApi, namespace: str, client: PaymentsClient) -> Ledger:
    """Read what is open; then, once it is known who has done what, `read_jobs`."""
    found = Ledger(await _listed(client))
    escrows = EscrowObjects(api).list(namespace, fieldSelector=NOT_SETTLED)
    async for escrow in escrows:
        if escrow.escrow_id is None:
            continue
        if escrow.work.kind is WorkKind.TASK:
            found.accounts[escrow.escrow_id] = escrow
        else:
            found.of_jobs.add(escrow.escrow_id)
    found.malformed = [str(error) for error in escrows.malformed]
    return found


async def closed_by(api: KubernetesApi, namespace: str, found: Ledger) -> Callable[[str], bool]:
    """How it is known of an escrow that it is open no more: by the service's list, else by its task's account."""
    if found.listed is not None:
        open_now = {*found.listed, *found.accounts}
        return lambda escrow_id: escrow_id not in open_now
    selector = {"fieldSelector": f"status.phase={Phase.SETTLED},spec.work.kind={WorkKind.TASK}"}
    accounts = Listing(api, escrows_path(namespace), NAMED, selector, only_metadata=True)
    settled = {account.metadata.name async for account in accounts}
    return lambda escrow_id: task_account(escrow_id) in settled


async def read_jobs(api: KubernetesApi, namespace: str, found: Ledger) -> None:
    """Add what Jobs name. To be read last: one that names an escrow is seen, whenever it came before the payment."""
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    async for job in Listing(api, path, _JOB, only_metadata=True):
        if escrow_id := job.metadata.annotations.get(ESCROW_ID_ANNOTATION):
            found.of_jobs.add(escrow_id)


async def _listed(client: PaymentsClient) -> dict[str, FoundEscrow] | None:
    if not client.supports(Operation.LIST):
        return None
    found: dict[str, FoundEscrow] = {}
    try:
        for status in (status for status in client.dialect.list_words if status in _OPEN):
            found |= {escrow.id: escrow async for escrow in client.list_escrows(status)}
    except Unsupported:
        return None
    return found
