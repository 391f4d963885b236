"""Claims: which Job or task an escrow pays for. One Lease per escrow, created for the first and never transferred.

Two Jobs may name one escrow, in different namespaces and handled by different operators. A check of the other Escrows
would race: both operators could find none. Creating an object of a given name cannot: the API server does it once,
whoever asks. So the Lease's name is derived from the escrow's id, all claims are in the operator's own namespace, and
nothing is ever sent for an Escrow without its claim.
"""

import hashlib
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from runtime.contract import CLAIM_PREFIX, ESCROW_GROUP, ESCROW_ID_ANNOTATION, ESCROW_KIND, ESCROW_VERSION, WorkKind
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, Forbidden, ObjectNotFound
from runtime.kubernetes.escrow import BOUND, NOT_SETTLED, Escrow
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.leases import LEASE, Lease, leases_path
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.new_escrow import escrow_name
from runtime.kubernetes.shape import Json

LABELS: Final = {"app.kubernetes.io/component": "escrow-claim", "app.kubernetes.io/part-of": "purpleflea"}

_log = logging.getLogger(__name__)


class ReviewRequired(Exception):
    """The Escrow needs a manual decision; reconciliation stops.

    Args:
        escrow: The object as last read or written.
        problem: What is known.
        remedy: What a person should do.
    """

    def __init__(self, escrow: Escrow, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.escrow = escrow
        self.problem = problem
        self.remedy = remedy


def _holder(escrow: Escrow) -> str:
    """Who a claim names: `NAMESPACE/UID` of the Job, `NAMESPACE/Escrow/NAME` where the Escrow's name is not made of it.

    An operator of an earlier version knows the first only, and takes the second for somebody whom it does not know.
    """
    uid = escrow.work.key
    return f"{escrow.namespace}/{uid if escrow.name == escrow_name(uid) else f'{ESCROW_KIND}/{escrow.name}'}"


def _account_of(claim: Lease) -> tuple[str, str] | None:
    """Namespace and name of the Escrow that a claim is for; None where the holder has none, or cannot be parsed."""
    namespace, _, holder = claim.spec.holder_identity.partition("/")
    kind, slash, name = holder.partition("/")
    if slash:
        return (namespace, name) if namespace and kind == ESCROW_KIND and name else None
    return (namespace, escrow_name(holder)) if namespace and holder else None


def claim_name(escrow_id: str) -> str:
    """Name of the Lease: a hash, because an escrow's id may be too long or have characters that names cannot have."""
    return f"{CLAIM_PREFIX}{hashlib.sha256(escrow_id.encode()).hexdigest()[:32]}"


class Claims:
    """Creates claims, and removes those of Escrows that were deleted."""

    def __init__(self, api: KubernetesApi, escrows: EscrowObjects, namespace: str) -> None:
        self._api = api
        self._escrows = escrows
        self._namespace = namespace
        self._path = leases_path(namespace)

    async def check(self) -> None:
        """Dry-run a claim at start. Raises `Forbidden` where the right is missing, before a Job waits for it."""
        lease = {"metadata": {"generateName": CLAIM_PREFIX}, "spec": {"holderIdentity": "nobody"}}
        try:
            await self._api.dry_run_create(self._path, lease)
        except Forbidden as error:
            if not error.terminating:
                raise

    async def hold(self, escrow: Escrow) -> Json:
        """Claim the escrow for this Escrow's Job; the fields to add to its status, empty where they are there.

        Idempotent: after a crash between the Lease and the status, the next call finds its own Lease. What counts is
        the Lease, not a text in a status: one that is gone is made anew, unless somebody else was faster.

        Raises:
            ReviewRequired: The escrow already pays for another Job.
            ObjectNotFound: The claim was removed between two requests; reconcile again.
        """
        name, holder = claim_name(escrow.escrow_id or ""), _holder(escrow)
        if escrow.status.claim is not None and await self._is_held(name, holder):
            return {}
        terminating = False
        try:
            await self._api.create(self._path, self._claim(escrow, name, holder))
            return _noted(escrow, name)
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
            # Nothing can be created in a terminating namespace, so no other Job can get this claim either. Refusing
            # would leave the money locked until the service's time-out, and then refund work that was done.
            _log.warning("bound without a claim, because the namespace %s ends", self._namespace)
            return _noted(escrow, name)
        if found.spec.holder_identity == holder:
            return _noted(escrow, name)
        # The holder's Escrow may be deleted, and its claim with it only at the next sweep. Then the claim is free: try
        # again from the start, because another operator may do the same now.
        if await self._removed(found):
            return await self.hold(escrow)
        raise _taken(escrow, found)

    async def _is_held(self, name: str, holder: str) -> bool:
        try:
            return (await self._api.get(f"{self._path}/{name}", LEASE)).spec.holder_identity == holder
        except ObjectNotFound:
            return False

    async def rebuild(self, namespaces: Iterable[str]) -> None:
        """Make the claims of bound Escrows that have none: somebody deleted them, or an earlier version made none.

        Of two Escrows with one escrow the one that was bound first gets it; the other is refused at its next act.
        """
        known = {claim.metadata.name async for claim in self._all()}
        missing = [
            escrow
            for namespace in namespaces
            async for escrow in self._escrows.list(namespace, fieldSelector=NOT_SETTLED)
            if escrow.phase in BOUND
            and escrow.work.kind is WorkKind.JOB
            and claim_name(escrow.escrow_id or "") not in known
        ]
        for escrow in sorted(missing, key=lambda escrow: str(escrow.status.locked_at)):
            with suppress(ReviewRequired):
                await self.hold(escrow)
                _log.warning("the claim of Escrow %s/%s was gone and is made anew", escrow.namespace, escrow.name)

    def _all(self) -> Listing[Lease]:
        selector = ",".join(f"{label}={value}" for label, value in LABELS.items())
        return Listing(self._api, self._path, LEASE, {"labelSelector": selector})

    async def refuse_taken(self, escrow: Escrow) -> None:
        """Raise `ReviewRequired` where the escrow pays for another Job, which says more than that it is spent."""
        try:
            found = await self._api.get(f"{self._path}/{claim_name(escrow.escrow_id or '')}", LEASE)
        except ObjectNotFound:
            return
        if found.spec.holder_identity != _holder(escrow) and not await self._removed(found):
            raise _taken(escrow, found)

    def _claim(self, escrow: Escrow, name: str, holder: str) -> Json:
        """The Lease, owned by its Escrow where both are in one namespace.

        Kubernetes allows no owner in another namespace; those claims are removed by `sweep`.
        """
        metadata: Json = {"name": name, "labels": LABELS, "annotations": {ESCROW_ID_ANNOTATION: escrow.escrow_id}}
        if escrow.namespace == self._namespace:
            kind = {"apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}", "kind": ESCROW_KIND}
            metadata["ownerReferences"] = [{**kind, "name": escrow.name, "uid": escrow.metadata.uid}]
        return {"metadata": metadata, "spec": {"holderIdentity": holder}}

    async def sweep(self, namespaces: Iterable[str]) -> None:
        """Remove the claims of Escrows that no longer exist in these namespaces; in its own, Kubernetes does it."""
        elsewhere = {namespace for namespace in namespaces if namespace != self._namespace}
        if not elsewhere:
            return
        known = {
            f"{namespace}/{escrow.metadata.name}"
            for namespace in elsewhere
            async for escrow in self._escrows.list_metadata(namespace)
        }
        # The Escrows are listed first. A claim made since belongs to an Escrow that the list may lack, which is why
        # `_removed` asks for that one Escrow before it deletes.
        async for claim in self._all():
            account = _account_of(claim)
            if account and account[0] in elsewhere and "/".join(account) not in known:
                await self._removed(claim)

    async def _removed(self, claim: Lease) -> bool:
        """Remove a claim if its Escrow is gone; True if it was removed. A claim that names none stays."""
        if (account := _account_of(claim)) is None:
            return False
        try:
            if await self._escrows.exists(*account):
                return False
        except Forbidden:
            return False  # another operator's namespace: whether the Escrow exists is unknown, so the claim stands
        # By UID: a claim that was removed and created anew since is somebody else's.
        with suppress(ObjectNotFound):
            await self._api.delete(f"{self._path}/{claim.metadata.name}", claim.metadata.uid)
        return True


def _noted(escrow: Escrow, name: str) -> Json:
    """What to add to the status: the claim is written there once."""
    return {} if escrow.status.claim is not None else {"claim": name}


def _taken(escrow: Escrow, claim: Lease) -> ReviewRequired:
    account, (_, _, uid) = _account_of(claim), claim.spec.holder_identity.partition("/")
    if account is None:
        holder = f"{claim.spec.holder_identity or 'somebody unknown'} (Lease {claim.metadata.name})"
    elif account[1] == escrow_name(uid):
        holder = f"the Job with UID {uid} in namespace {account[0]} (Escrow {account[1]})"
    else:
        holder = f"the Escrow {account[1]} in namespace {account[0]}"
    problem = f"escrow {escrow.escrow_id} already pays for {holder}; for this one {escrow.what_was_sent}"
    remedy = "Fund this work with an escrow of its own, or close it with escrowctl resolve."
    return ReviewRequired(escrow, problem, remedy)
