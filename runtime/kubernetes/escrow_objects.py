"""Reading and writing Escrow objects: the durable record of what was decided, sent, answered and paid.

Every write is tested by resource version, so of two operators that act on one Escrow one stops and reads again.
"""

from collections.abc import AsyncIterable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from runtime.contract import ESCROW_GROUP, ESCROW_PLURAL, ESCROW_VERSION, SETTLEMENT_FINALIZER
from runtime.kubernetes.client import AlreadyExists, Json, KubernetesApi, NotFound, WriteConflict
from runtime.kubernetes.escrow import escrow_name, phase_of, read_record, status_of
from runtime.settlement.record import JournalConflict, Settlement


class EscrowObjects:
    """Reads and writes Escrow objects."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    @staticmethod
    def _path(namespace: str, name: str = "", subresource: str = "") -> str:
        parts = [f"/apis/{ESCROW_GROUP}/{ESCROW_VERSION}/namespaces/{namespace}/{ESCROW_PLURAL}", name, subresource]
        return "/".join(part for part in parts if part)

    async def get(self, namespace: str, job_uid: str) -> Json | None:
        """The Escrow of a Job, or None."""
        try:
            return await self._api.get(self._path(namespace, escrow_name(job_uid)))
        except NotFound:
            return None

    async def create(self, escrow: Json) -> Json:
        """Create; if another operator was faster its object is returned."""
        namespace, name = escrow["metadata"]["namespace"], escrow["metadata"]["name"]
        try:
            return await self._api.create(self._path(namespace), escrow)
        except AlreadyExists:
            return await self._api.get(self._path(namespace, name))

    def list(self, namespace: str, shape: type = Json, **selectors: str) -> AsyncIterable[Json]:
        """The Escrows of a namespace, page by page; see `KubernetesApi.list`."""
        return self._api.list(self._path(namespace), shape, **selectors)

    async def set_status(self, escrow: Json, **status: Any) -> Json:
        """Merge into the status, if nobody wrote since `escrow` was read. Raises `WriteConflict`."""
        metadata = escrow["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        return await self._api.merge_patch(self._path(metadata["namespace"], metadata["name"], "status"), body)

    async def set_spec(self, escrow: Json, **spec: Any) -> Json:
        """Set fields of the spec that were not known at creation. Raises `WriteConflict`."""
        metadata = escrow["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": spec}
        return await self._api.merge_patch(self._path(metadata["namespace"], metadata["name"]), body)

    async def let_go(self, escrow: Json) -> None:
        """Drop our finalizer from an Escrow that is closed, so that it can be deleted without the operator."""
        metadata = escrow["metadata"]
        rest = [f for f in metadata.get("finalizers") or [] if f != SETTLEMENT_FINALIZER]
        if len(rest) == len(metadata.get("finalizers") or []):
            return
        edit = {"resourceVersion": metadata["resourceVersion"], "finalizers": rest}
        await self._api.edit_metadata(self._path(metadata["namespace"], metadata["name"]), edit)


@dataclass
class OpenEscrow:
    """An Escrow object while its settlement is worked on.

    Args:
        escrow: The object as last read or written; a stale one fails at the first write, and is then read anew.
        extra: Further status fields that go along with the first write.
        stale: Somebody else wrote it since.
    """

    escrow: Json
    extra: Json
    stale: bool = False


class EscrowJournal:
    """`runtime.settlement`'s journal on the status of the Escrow objects; the key is the Job's UID."""

    def __init__(self, escrows: EscrowObjects) -> None:
        self._escrows = escrows
        self._open: dict[str, OpenEscrow] = {}

    @contextmanager
    def opened(self, escrow: Json, extra: Json) -> Generator[OpenEscrow]:
        """Have the journal know this object for the length of the block; `JournalConflict` while another block does."""
        key = escrow["spec"]["job"]["uid"]
        if key in self._open:
            raise JournalConflict(f"the Escrow of Job {key} is being worked on")
        self._open[key] = OpenEscrow(escrow, extra)
        try:
            yield self._open[key]
        finally:
            del self._open[key]

    async def load(self, key: str) -> Settlement | None:
        """The record in the object."""
        entry = self._open[key]
        if entry.stale:
            entry.escrow = await self._escrows.get(entry.escrow["metadata"]["namespace"], key) or entry.escrow
        return read_record(entry.escrow, key)

    async def write(self, record: Settlement) -> Settlement:
        """Write the record into the status; raises `JournalConflict` when somebody else wrote first."""
        entry = self._open[record.key]
        status = status_of(record, phase_of(entry.escrow)) | entry.extra
        try:
            entry.escrow = await self._escrows.set_status(entry.escrow, **status)
        except (WriteConflict, NotFound) as error:
            entry.stale = True
            raise JournalConflict(str(error)) from error
        entry.extra = {}
        return replace(record, version=entry.escrow["metadata"]["resourceVersion"])
