"""Which Job an escrow pays for: one Lease an escrow, made when the first Job is bound to it and never handed over.

The API server creates an object of one name once, whoever asks and however many operators are at work. So nothing is
ever sent for an Escrow that does not hold the claim on its escrow. All claims of an operator and its replicas lie in
the operator's own namespace, because two Jobs that name one escrow may be in different ones.
"""

import hashlib
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from runtime.contract import ESCROW_GROUP, ESCROW_ID_ANNOTATION, ESCROW_KIND, ESCROW_VERSION
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, Forbidden, ObjectNotFound
from runtime.kubernetes.escrow import Escrow, escrow_name
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.leases import LEASE, Lease, leases_path
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import Json
from runtime.operator.review import ReviewRequired

LABELS: Final = {"app.kubernetes.io/component": "escrow-claim", "app.kubernetes.io/part-of": "purpleflea"}

_log = logging.getLogger(__name__)


def _job_of(claim: Lease) -> tuple[str, str] | None:
    """Namespace and UID of the Job that a claim is for; None where it is for other work, or says nothing like it."""
    namespace, slash, uid = claim.spec.holder_identity.partition("/")
    return (namespace, uid) if namespace and slash and uid and "/" not in uid else None


def claim_name(escrow_id: str) -> str:
    """Name of the Lease; an escrow's id may have characters and a length that no object's name can."""
    return f"escrow-{hashlib.sha256(escrow_id.encode()).hexdigest()[:32]}"


class Claims:
    """Takes claims, and removes those of Escrows that were deleted."""

    def __init__(self, api: KubernetesApi, escrows: EscrowObjects, namespace: str) -> None:
        self._api = api
        self._escrows = escrows
        self._namespace = namespace
        self._path = leases_path(namespace)

    async def check(self) -> None:
        """Rehearse a claim. Raises `Forbidden` where the right is missing: better now than when the first Job waits."""
        rehearsal = {"metadata": {"generateName": "rehearsal-"}, "spec": {"holderIdentity": "nobody"}}
        try:
            await self._api.dry_run_create(self._path, rehearsal)
        except Forbidden as error:
            if not error.terminating:
                raise

    async def hold(self, escrow: Escrow) -> Json:
        """Have the escrow pay for this Job and no other; what is new in the Escrow's status for it.

        Raises:
            ReviewRequired: It pays for another Job already.
            ObjectNotFound: Another operator was at it at the same moment; look again.
        """
        if escrow.status.claim is not None:
            return {}
        name, holder = claim_name(escrow.escrow_id or ""), f"{escrow.namespace}/{escrow.work.key}"
        terminating = False
        try:
            await self._api.create(self._path, self._claim(escrow, name, holder))
            return {"claim": name}
        except AlreadyExists:
            pass
        except Forbidden as error:
            if not error.terminating:
                raise
            terminating = True
        try:
            found = await self._api.get(f"{self._path}/{name}", LEASE)
        except ObjectNotFound:
            if not terminating:
                raise
            # No other Job can claim it any more, and what is locked for this one shall not wait for its time-out.
            _log.warning("bound without a claim, because the namespace %s ends", self._namespace)
            return {"claim": name}
        if found.spec.holder_identity == holder:
            return {"claim": name}
        if await self._removed(found):
            return await self.hold(escrow)
        raise _taken(escrow, found)

    def _claim(self, escrow: Escrow, name: str, holder: str) -> Json:
        """The Lease. Kubernetes deletes it with its Escrow, where that is in the same namespace; else see `sweep`."""
        metadata: Json = {"name": name, "labels": LABELS, "annotations": {ESCROW_ID_ANNOTATION: escrow.escrow_id}}
        if escrow.namespace == self._namespace:
            kind = {"apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}", "kind": ESCROW_KIND}
            metadata["ownerReferences"] = [{**kind, "name": escrow.name, "uid": escrow.metadata.uid}]
        return {"metadata": metadata, "spec": {"holderIdentity": holder}}

    async def sweep(self, namespaces: Iterable[str]) -> None:
        """Remove the claims of Escrows that are gone from these namespaces, but for the operator's own."""
        elsewhere = {namespace for namespace in namespaces if namespace != self._namespace}
        if not elsewhere:
            return
        known = {
            f"{namespace}/{escrow.metadata.name}"
            for namespace in elsewhere
            async for escrow in self._escrows.list_metadata(namespace)
        }
        selector = ",".join(f"{label}={value}" for label, value in LABELS.items())
        async for claim in Listing(self._api, self._path, LEASE, {"labelSelector": selector}):
            job = _job_of(claim)
            if job and job[0] in elsewhere and f"{job[0]}/{escrow_name(job[1])}" not in known:
                await self._removed(claim)

    async def _removed(self, claim: Lease) -> bool:
        """Remove a claim whose Escrow is gone; whether it was. One that is not a Job's is left alone."""
        if (job := _job_of(claim)) is None:
            return False
        try:
            if await self._escrows.exists(*job):
                return False
        except Forbidden:
            return False  # of a namespace that this operator does not serve
        with suppress(ObjectNotFound):
            await self._api.delete(f"{self._path}/{claim.metadata.name}", claim.metadata.uid)
        return True


def _taken(escrow: Escrow, claim: Lease) -> ReviewRequired:
    job = _job_of(claim)
    holder = (
        f"the Job with UID {job[1]} in namespace {job[0]} (Escrow {escrow_name(job[1])})"
        if job
        else f"{claim.spec.holder_identity or 'somebody unknown'} (Lease {claim.metadata.name})"
    )
    problem = f"escrow {escrow.escrow_id} already pays for {holder}; nothing was sent for this one"
    remedy = "Fund this Job with an escrow of its own, or close it with escrowctl resolve."
    return ReviewRequired(escrow, problem, remedy)
