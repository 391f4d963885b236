"""The Escrow objects as a person with a kubeconfig may read and write them."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from runtime.contract import ABANDONED_ANNOTATION, ACT_LABEL
from runtime.errors import BadInput
from runtime.escrowctl.resolution import acts_with
from runtime.escrowctl.words import created_at
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import MalformedObject, ObjectNotFound
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.escrow_objects import EscrowObjects, escrow_path, escrows_path
from runtime.kubernetes.finalizers import is_held, remove_finalizer
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import NAMED, WHOLE, Json

NAME: Final = "purpleflea-escrowctl"
"""The field manager of everything that it writes."""

REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Accounts:
    """The Escrows of one namespace.

    Args:
        api: Logged in as the person.
        namespace: The one they named; else the kubeconfig's.
    """

    def __init__(self, api: KubernetesApi, namespace: str | None) -> None:
        self.api = api
        self.escrows = EscrowObjects(api)
        self.namespace = namespace or api.namespace
        self._named = namespace is not None

    def list(self, *, everywhere: bool = False) -> Listing[Escrow]:
        """The Escrows of the namespace, or of all; its `malformed` has those that cannot be read."""
        return self.escrows.list("" if everywhere else self.namespace)

    async def find(self, name: str, else_name: str = "") -> Escrow:
        """An Escrow by its own name, its Job's name (the newest), its Job's UID, its work id or its escrow id.

        Else the one of the name `else_name`.
        """
        escrow = await self._newest(name) or (await self._newest(else_name) if else_name else None)
        if isinstance(escrow, Escrow):
            return escrow
        if isinstance(escrow, MalformedObject):
            raise BadInput(f"{escrow}; see it with: show {escrow.name}")
        known = sorted({e.work.name async for e in self.list()})
        listed = f"there are Escrows of the Jobs {', '.join(known[:20])}" if known else "there is no Escrow at all"
        elsewhere = "" if self._named else "; in another namespace: -n NAMESPACE, and `list -A` shows which"
        raise BadInput(f"no Escrow, Job or escrow id {name!r} in namespace {self.namespace}; {listed}{elsewhere}")

    async def whole(self, name: str) -> Json:
        """The same as the API server has it, even where it cannot be read."""
        found = await self._newest(name)
        path = f"{escrows_path(self.namespace)}/{(found or await self.find(name)).name}"
        return await self.api.get(path, WHOLE)

    async def _newest(self, name: str) -> Escrow | MalformedObject | None:
        escrows = self.list()
        found = [escrow async for escrow in escrows if name in _names(escrow)]
        if found:
            return max(found, key=created_at)
        return next((malformed for malformed in escrows.malformed if malformed.name == name), None)

    async def write(self, escrow: Escrow, status: Json) -> None:
        """Merge into the status if nobody wrote since, then have the operator look."""
        await self.escrows.set_status(escrow, **status)
        label = {"metadata": {"labels": {ACT_LABEL: datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")}}}
        await self.api.merge_patch(escrow_path(escrow), label)

    async def note(self, job: str, *, what: str, reason: str) -> Escrow | MalformedObject | None:
        """Record an act in the Escrow of a Job, if it has one that can be read; that Escrow."""
        escrow = await self._newest(job)
        if isinstance(escrow, Escrow):
            acts = acts_with(escrow, by=await self.whoami(), what=what, why=reason, now=datetime.now(UTC))
            await self.write(escrow, acts)
        return escrow

    async def whoami(self) -> str:
        """The name that the API server knows this person by."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        review = msgspec.convert(await self.api.create(REVIEWS, body), _Review)
        return review.status.user_info.username or "unknown"

    async def held(self, collection: str) -> tuple[str, ...]:
        """Names of the Jobs, or the Escrows, that are being deleted and carry our finalizer."""
        found = Listing(self.api, collection, NAMED, only_metadata=True)
        held = [m.metadata.name async for m in found if m.metadata.deletion_timestamp and is_held(m.metadata)]
        return tuple(held)

    async def remove_finalizer(self, path: str, reason: str) -> bool:
        """Remove our finalizer from a Job or an Escrow, with the reason on it; whether it was there and had it.

        The job gate lets a finalizer go only together with its reason.
        """
        try:
            seen = await self.api.get_metadata(path, NAMED)
        except ObjectNotFound:
            return False
        annotations = {ABANDONED_ANNOTATION: reason}
        return await remove_finalizer(self.api, path, seen.metadata, annotations=annotations) is not None

    async def is_deleted(self, path: str) -> bool:
        """Whether the object is being deleted, or is gone."""
        try:
            return (await self.api.get_metadata(path, NAMED)).metadata.deletion_timestamp is not None
        except ObjectNotFound:
            return True


class _UserInfo(msgspec.Struct, frozen=True):
    username: str = ""


class _ReviewStatus(msgspec.Struct, frozen=True, rename="camel"):
    user_info: _UserInfo = _UserInfo()


class _Review(msgspec.Struct, frozen=True):
    status: _ReviewStatus = _ReviewStatus()


def _names(escrow: Escrow) -> tuple[str, ...]:
    return (escrow.name, escrow.work.name, escrow.work.key, escrow.work.id or "", escrow.escrow_id or "")
