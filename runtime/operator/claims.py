"""Which Job an escrow pays for: one Lease an escrow, made when the first Job is bound to it and never handed over.

The API server creates an object of one name once, whoever asks and however many operators are at work. So nothing is
ever sent for an Escrow that does not hold the claim on its escrow. All claims of an operator and its replicas lie in
the operator's own namespace, because two Jobs that name one escrow may be in different ones.
"""

import hashlib
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, TypedDict

from runtime.contract import ESCROW_GROUP, ESCROW_ID_ANNOTATION, ESCROW_KIND, ESCROW_VERSION
from runtime.kubernetes.client import AlreadyExists, Forbidden, Json, KubernetesApi, NotFound, leases_path
from runtime.kubernetes.escrow import escrow_name
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.operator.review import ForAPerson

LABELS: Final = {"app.kubernetes.io/component": "escrow-claim", "app.kubernetes.io/part-of": "purpleflea"}

_log = logging.getLogger(__name__)


class _Metadata(TypedDict):
    name: str
    uid: str


class _Spec(TypedDict):
    holderIdentity: str


class _Named(TypedDict):
    """An Escrow of which no more is needed."""

    metadata: _Metadata


class _Claim(TypedDict):
    """What is read of a Lease; its holder is `namespace/UID of the Job`."""

    metadata: _Metadata
    spec: _Spec


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
            await self._api.rehearse(self._path, rehearsal)
        except Forbidden as error:
            if not error.terminating:
                raise

    async def hold(self, escrow: Json) -> Json:
        """Have the escrow pay for this Job and no other; what is new in the Escrow's status for it.

        Raises:
            ForAPerson: It pays for another Job already.
            NotFound: Another operator was at it at the same moment; look again.
        """
        if "claim" in (escrow.get("status") or {}):
            return {}
        escrow_id, namespace = escrow["spec"]["escrowId"], escrow["metadata"]["namespace"]
        name, holder = claim_name(escrow_id), f"{namespace}/{escrow['spec']['job']['uid']}"
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
            found = await self._api.get(f"{self._path}/{name}")
        except NotFound:
            if not terminating:
                raise
            # No other Job can claim it any more, and what is locked for this one shall not wait for its time-out.
            _log.warning("bound without a claim, because the namespace %s ends", self._namespace)
            return {"claim": name}
        if (theirs := found["spec"]["holderIdentity"]) == holder:
            return {"claim": name}
        if await self._removed(found):
            return await self.hold(escrow)
        raise _taken(escrow, theirs)

    def _claim(self, escrow: Json, name: str, holder: str) -> Json:
        """The Lease. Kubernetes deletes it with its Escrow, where that is in the same namespace; else see `sweep`."""
        owner, escrow_id = escrow["metadata"], escrow["spec"]["escrowId"]
        metadata = {"name": name, "labels": LABELS, "annotations": {ESCROW_ID_ANNOTATION: escrow_id}}
        if owner["namespace"] == self._namespace:
            kind = {"apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}", "kind": ESCROW_KIND}
            metadata["ownerReferences"] = [{**kind, "name": owner["name"], "uid": owner["uid"]}]
        return {"metadata": metadata, "spec": {"holderIdentity": holder}}

    async def sweep(self, namespaces: Iterable[str]) -> None:
        """Remove the claims of Escrows that are gone from these namespaces, but for the operator's own."""
        elsewhere = {namespace for namespace in namespaces if namespace != self._namespace}
        if not elsewhere:
            return
        known = {
            f"{namespace}/{escrow['metadata']['name']}"
            for namespace in elsewhere
            async for escrow in self._escrows.list(namespace, _Named)
        }
        selector = ",".join(f"{label}={value}" for label, value in LABELS.items())
        async for claim in self._api.list(self._path, _Claim, labelSelector=selector):
            namespace, uid = claim["spec"]["holderIdentity"].split("/")
            if namespace in elsewhere and f"{namespace}/{escrow_name(uid)}" not in known:
                await self._removed(claim)

    async def _removed(self, claim: Json) -> bool:
        """Remove a claim whose Escrow is gone; whether it was."""
        namespace, uid = claim["spec"]["holderIdentity"].split("/")
        try:
            if await self._escrows.get(namespace, uid):
                return False
        except Forbidden:
            return False  # of a namespace that this operator does not serve
        metadata = claim["metadata"]
        with suppress(NotFound):
            await self._api.delete(f"{self._path}/{metadata['name']}", metadata["uid"])
        return True


def _taken(escrow: Json, holder: str) -> ForAPerson:
    namespace, uid = holder.split("/")
    problem = (
        f"escrow {escrow['spec']['escrowId']} already pays for the Job with UID {uid} in namespace {namespace} "
        f"(Escrow {escrow_name(uid)}); nothing was sent for this one"
    )
    remedy = "Fund this Job with an escrow of its own, or close it with escrowctl resolve."
    return ForAPerson(escrow, problem, remedy)
