"""`escrowctl fund`: the escrow for a Job manifest, created once, for those who follow the guide by hand."""

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from runtime.contract import ESCROW_REQUEST_ANNOTATION, Env
from runtime.environment import group, text
from runtime.errors import BadInput
from runtime.escrowctl.manifest import JobManifest, read_manifest
from runtime.kubernetes.shape import stamp
from runtime.operator.annotations import AnnotationError, parse_request
from runtime.operator.work_ids import by_hand_token
from runtime.payments import (
    Creation,
    DialectName,
    EscrowRequest,
    EscrowStatus,
    NeedsReview,
    Operation,
    PaymentsClient,
    create_once,
)
from runtime.payments.settings import PayerSettings


@dataclass(frozen=True, kw_only=True)
class FundSettings:
    """What `fund` reads; the other verbs pay nothing."""

    payments: PayerSettings = group(PayerSettings)
    payer: str | None = text(Env.AGENT_ID, "Who is billed in the `fly` dialect, the only one that asks", default=None)


async def fund(file: Path, settings: FundSettings, namespace: str | None = None) -> str:
    """The text of the manifest with its escrow's id; the escrow is created at the first call only.

    The token comes from the Job's namespace and name, the payee and the amount: by it the operator knows for which Job
    the escrow was made. It is looked for before anything is sent: run twice, this creates one escrow. Where the dialect
    cannot look, a file beside the manifest remembers. The manifest is checked before anything is paid; what only
    the API server refuses can be mended, and keeps its escrow.

    Raises:
        BadInput: The manifest cannot be used, what was sent needs a person, or its escrow is spent.
    """
    manifest = read_manifest(file, namespace)
    if manifest.escrow_id is not None:
        async with settings.payments.client() as client:
            await _refuse_spent(client, manifest.escrow_id)
        return manifest.text
    order = _order(file, manifest)
    async with settings.payments.client() as client:
        if client.dialect.name is DialectName.FLY:
            order = replace(order, payer=settings.payer)
        created = await create_once(client, FileJournal(file.with_name(f".{file.name}.escrow.json")), order)
        if isinstance(created, NeedsReview):
            raise BadInput(f"nothing more was sent: {created.reason}; look for {created.token} at the payment service")
        await _refuse_spent(client, created.escrow_id, created.escrow.status if created.escrow else None)
    return manifest.funded(created.escrow_id)


def _order(file: Path, manifest: JobManifest) -> EscrowRequest:
    try:
        request = parse_request(manifest.request or "")
    except AnnotationError as error:
        raise BadInput(f"{file}: {error}") from error
    if request.amount is None:
        raise BadInput(f"{file}: say in {ESCROW_REQUEST_ANNOTATION} how much: amountUsdc")
    return EscrowRequest(
        payee=request.payee,
        amount=request.amount,
        token=by_hand_token(manifest.namespace, manifest.name, request.payee, request.amount),
        description=f"Job {manifest.namespace}/{manifest.name}",
    )


async def _refuse_spent(client: PaymentsClient, escrow_id: str, status: EscrowStatus | None = None) -> None:
    """An escrow of an earlier run may have ended since, and a Job that names it would not be paid for.

    Where the service tells of one escrow it is asked, else its list of open ones; `fly` has neither.
    """
    if status is None and client.supports(Operation.READ):
        status = (await client.read_escrow(escrow_id)).status
    elif status is None and client.supports(Operation.LIST):
        listed = [escrow.status async for escrow in client.list_escrows(among={escrow_id})]
        status = listed[0] if listed else EscrowStatus.RELEASED
    if status not in (None, EscrowStatus.LOCKED, EscrowStatus.COMPLETED):
        raise BadInput(
            f"escrow {escrow_id} of this Job has ended already, and nothing was paid now; "
            "for new work give the Job another name, and a request in the place of the escrow's id"
        )


class FileJournal:
    """A create in a small file beside the manifest, durable before the call."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def read(self, token: str) -> Creation | None:
        """Return the create of that token."""
        try:
            kept = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        if kept["token"] != token:
            return None
        return Creation(**kept | {"sent_at": datetime.fromisoformat(kept["sent_at"])})

    async def write(self, creation: Creation) -> None:
        """Write, flush, rename: a crash leaves the old file or the new."""
        scratch = self._file.with_suffix(".new")
        with scratch.open("w") as stream:
            json.dump(asdict(creation) | {"sent_at": stamp(creation.sent_at)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self._file)

    async def clear(self, token: str) -> None:
        """Forget it."""
        self._file.unlink(missing_ok=True)
