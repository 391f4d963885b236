"""Reading and writing Escrow objects: the durable record of what was decided, sent, answered and paid.

Every write is tested by resource version, so of two operators that act on one Escrow one stops and reads again.
"""

from contextlib import suppress
from typing import Any, Final

from runtime.contract import BUDGET_LABEL, ESCROW_GROUP, ESCROW_PLURAL, ESCROW_VERSION
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, ObjectNotFound
from runtime.kubernetes.escrow import ACCOUNT, ESCROW, Account, Escrow
from runtime.kubernetes.finalizers import is_held, remove_finalizer
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.new_escrow import escrow_name
from runtime.kubernetes.shape import LABELLED, NAMED, Json, Named

ACCOUNTS_PAGE: Final = 500
"""Settled accounts are 2 kB each, and there are many: fewer requests."""


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

    def list_accounts(self, namespace: str) -> Listing[Account]:
        """The same, as far as the books need them."""
        return Listing(self._api, escrows_path(namespace), ACCOUNT, page=ACCOUNTS_PAGE)

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

    async def counts(self, escrow: Escrow) -> bool:
        """Whether it takes part in its Budget at this moment."""
        try:
            return BUDGET_LABEL in (await self._api.get_metadata(escrow_path(escrow), LABELLED)).metadata.labels
        except ObjectNotFound:
            return False

    async def let_count(self, escrow: Escrow) -> Escrow:
        """Have it take part in its Budget."""
        metadata = {"uid": escrow.metadata.uid, "labels": {BUDGET_LABEL: "counts"}}
        return await self._api.merge_patch(escrow_path(escrow), {"metadata": metadata}, ESCROW)

    async def stop_counting(self, escrow: Escrow) -> None:
        """What it held is returned to its Budget."""
        with suppress(ObjectNotFound):
            await self._api.edit_metadata(
                escrow_path(escrow), {"uid": escrow.metadata.uid, "labels": {BUDGET_LABEL: None}}
            )

    async def remove_finalizer(self, escrow: Escrow, *, returned: bool = False) -> None:
        """Remove our finalizer from an Escrow that is closed, so that it can be deleted without the operator.

        With `returned` its label goes in the same request. Raises `WriteConflict`: a person may have reopened it.
        """
        path, labels = escrow_path(escrow), {BUDGET_LABEL: None} if returned else None
        if is_held(escrow.metadata):
            await remove_finalizer(self._api, path, escrow.metadata, labels=labels, only_as_seen=True)
        elif returned:
            await self.stop_counting(escrow)
