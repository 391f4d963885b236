"""`escrowctl fund`: the escrow for a Job manifest, created once, for those who follow the guide by hand."""

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import yaml

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION, Env
from runtime.environment import group, text
from runtime.errors import BadInput
from runtime.kubernetes.shape import Json, stamp
from runtime.operator.jobs import AnnotationError, parse_request
from runtime.payments import (
    Creation,
    DialectName,
    EscrowRequest,
    NeedsReview,
    create_once,
    escrow_token,
)
from runtime.payments.settings import PayerSettings


@dataclass(frozen=True, kw_only=True)
class FundSettings:
    """What `fund` reads; the other verbs pay nothing."""

    payments: PayerSettings = group(PayerSettings)
    payer: str | None = text(Env.AGENT_ID, "Who is billed in the `fly` dialect, the only one that asks", default=None)


async def fund(manifest: Path, settings: FundSettings) -> Json:
    """The Job of the manifest with its escrow's id; the escrow is created at the first call only.

    The token comes from the Job's namespace, name and request, and is looked for before anything is sent: run twice,
    it creates one escrow. Where the dialect cannot look, a file beside the manifest remembers.
    """
    job = _job_manifest(manifest)
    annotations = job["metadata"].setdefault("annotations", {})
    if ESCROW_ID_ANNOTATION in annotations:
        return job
    try:
        request = parse_request(annotations.get(ESCROW_REQUEST_ANNOTATION, ""))
    except AnnotationError as error:
        raise BadInput(f"{manifest}: {error}") from error
    if request.amount is None:
        raise BadInput(f"{manifest}: say in {ESCROW_REQUEST_ANNOTATION} how much: amountUsdc")
    identity = f"{job['metadata'].get('namespace', 'default')}/{job['metadata']['name']}"
    order = EscrowRequest(
        payee=request.payee,
        amount=request.amount,
        token=escrow_token(f"{identity}/{annotations[ESCROW_REQUEST_ANNOTATION]}"),
        description=f"Job {identity}",
    )
    async with settings.payments.client() as client:
        if client.dialect.name is DialectName.FLY:
            order = replace(order, payer=settings.payer)
        created = await create_once(client, FileJournal(manifest.with_name(f".{manifest.name}.escrow.json")), order)
    if isinstance(created, NeedsReview):
        raise BadInput(f"nothing more was sent: {created.reason}; look for {created.token} at the payment service")
    annotations[ESCROW_ID_ANNOTATION] = created.escrow_id
    del annotations[ESCROW_REQUEST_ANNOTATION]
    return job


def _job_manifest(file: Path) -> Json:
    try:
        job = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error
    if not isinstance(job, dict) or job.get("kind") != "Job" or not (job.get("metadata") or {}).get("name"):
        raise BadInput(f"{file} is not one Job manifest with a metadata.name")
    return job


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
