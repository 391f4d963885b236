"""Reading and writing Escrow objects: the durable record of what was decided, sent, answered and paid.

Every write is tested by resource version, so of two operators that act on one Escrow one stops and reads again.
"""

from typing import Any

from runtime.contract import ESCROW_GROUP, ESCROW_PLURAL, ESCROW_VERSION
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, ObjectNotFound
from runtime.kubernetes.escrow import ESCROW, Escrow, escrow_name
from runtime.kubernetes.finalizers import remove_finalizer
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import NAMED, Json, Named


def escrows_path(namespace: str) -> str:
    """Path of a namespace's Escrows; empty for those of all."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{ESCROW_GROUP}/{ESCROW_VERSION}{within}/{ESCROW_PLURAL}"


def escrow_path(escrow: Escrow) -> str:
    """Path of one."""
    return f"{escrows_path(escrow.namespace)}/{escrow.name}"


class EscrowObjects:
    """Reads and writes Escrow objects. Whatever reads one raises `MalformedObject` where that cannot be understood."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def get(self, namespace: str, name: str) -> Escrow | None:
        """The Escrow of that name, or None."""
        try:
            return await self._api.get(f"{escrows_path(namespace)}/{name}", ESCROW)
        except ObjectNotFound:
            return None

    async def latest_run(self, first: Escrow) -> Escrow | None:
        """The account of a work's latest run, by that of its first; None where a Job was given it and has none yet."""
        run = first.status.run
        return first if run is None else await self.get(first.namespace, escrow_name(run.uid))

    async def exists(self, namespace: str, name: str) -> bool:
        """Whether there is an Escrow of that name, whatever is in it."""
        try:
            await self._api.get_metadata(f"{escrows_path(namespace)}/{name}", NAMED)
        except ObjectNotFound:
            return False
        return True

    async def create(self, escrow: Json) -> Escrow:
        """Create; if there is one of that name by now it is returned: another operator's, perhaps for another Job."""
        path = escrows_path(escrow["metadata"]["namespace"])
        try:
            return await self._api.create(path, escrow, ESCROW)
        except AlreadyExists:
            return await self._api.get(f"{path}/{escrow['metadata']['name']}", ESCROW)

    def list(self, namespace: str, **selectors: str) -> Listing[Escrow]:
        """The Escrows of a namespace, of all where it is empty; see `Listing`."""
        return Listing(self._api, escrows_path(namespace), ESCROW, selectors)

    def list_metadata(self, namespace: str) -> Listing[Named]:
        """Which Escrows there are, and no more of them."""
        return Listing(self._api, escrows_path(namespace), NAMED, only_metadata=True)

    async def set_status(self, escrow: Escrow, **status: Any) -> Escrow:
        """Merge into the status, if nobody wrote since `escrow` was read. Raises `WriteConflict`."""
        body = {"metadata": {"resourceVersion": escrow.metadata.resource_version}, "status": status}
        return await self._api.merge_patch(f"{escrow_path(escrow)}/status", body, ESCROW)

    async def set_spec(self, escrow: Escrow, **spec: Any) -> Escrow:
        """Set fields of the spec that were not known at creation. Raises `WriteConflict`."""
        body = {"metadata": {"resourceVersion": escrow.metadata.resource_version}, "spec": spec}
        return await self._api.merge_patch(escrow_path(escrow), body, ESCROW)

    async def remove_finalizer(self, escrow: Escrow) -> None:
        """Remove our finalizer from an Escrow that is closed, so that it can be deleted without the operator.

        Raises `WriteConflict`: a person may have reopened it.
        """
        await remove_finalizer(self._api, escrow_path(escrow), escrow.metadata, only_as_seen=True)
