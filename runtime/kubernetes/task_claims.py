"""Which worker does a task: a claim with a lease, taken over when its holder dies.

A task's claim is one of `TASK_CLAIMS`, by a hash of its escrow's id; so two tasks may share one, and the later then
waits. The Lease keeps what was done under it until payroll has settled it. So what a pod has earned is known at the
API server before the claim is let go, and outlives pod and node; and nobody does it again meanwhile.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from runtime.contract import TASK_CLAIMS, WORK_DONE_ANNOTATION
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError, ObjectNotFound, WriteConflict
from runtime.kubernetes.leases import LeaseSpec, leases_path
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import Json, Metadata, Shape, stamp_now
from runtime.work_log import Entry, read_lines

MOST_BYTES: Final = 200_000
"""Of what one claim keeps; annotations may have 256 KiB. Beyond it no further task begins until payroll has run."""

_log = logging.getLogger(__name__)


class _Metadata(Metadata, frozen=True, kw_only=True, rename="camel"):
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class ClaimLease(msgspec.Struct, frozen=True):
    """The Lease of a claim."""

    metadata: _Metadata
    spec: LeaseSpec = LeaseSpec()

    @property
    def text(self) -> str:
        """What was done under it, as lines."""
        return self.metadata.annotations.get(WORK_DONE_ANNOTATION, "")

    @property
    def done(self) -> list[Entry]:
        """What was done under it and is not settled yet."""
        return read_lines(self.text.encode())[0]

    def has(self, escrow_id: str) -> bool:
        """Whether a task of that escrow was done under it."""
        return any(entry.escrow == escrow_id for entry in self.done)


_LEASE: Final[Shape[ClaimLease]] = Shape.of("Lease", ClaimLease)
_LABELS: Final = {"app.kubernetes.io/component": "task-claim", "app.kubernetes.io/part-of": "purpleflea"}


def claim_of(escrow_id: str) -> str:
    """Name of the Lease that a task's claim is."""
    return TASK_CLAIMS[int(hashlib.sha256(escrow_id.encode()).hexdigest(), 16) % len(TASK_CLAIMS)]


class TaskClaims:
    """Claims in one namespace.

    Args:
        identity: Ours, e.g. the pod's name.
        lease_seconds: A claim whose holder has not renewed it for so long is free.
    """

    def __init__(self, api: KubernetesApi, namespace: str, identity: str, lease_seconds: float = 60.0) -> None:
        self.api = api
        self.path = leases_path(namespace)
        self.identity = identity
        self.lease_seconds = lease_seconds
        self._seen: dict[str, tuple[str, float]] = {}

    async def take(self, escrow_id: str) -> "TaskClaim | None":
        """The claim on a task; None where another worker has it, or it is done already.

        Raises what the API raises; then it may be ours, and is taken again or expires.
        """
        path = f"{self.path}/{claim_of(escrow_id)}"
        lease = await self._get(path)
        if lease.has(escrow_id) or len(lease.text) > MOST_BYTES:
            return None
        holder = lease.spec.holder_identity
        if holder and holder != self.identity and not self._expired(path, lease):
            return None
        claim = TaskClaim(self, path, escrow_id, lease)
        try:
            await claim.write(holder=self.identity)
        except WriteConflict:
            return None
        return claim

    async def _get(self, path: str) -> ClaimLease:
        try:
            return await self.api.get(path, _LEASE)
        except ObjectNotFound:
            # Applied twice it is created once, with nobody in it.
            name = path.rpartition("/")[2]
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "labels": _LABELS},
            }
            return await self.api.apply(path, body, _LEASE)

    def _expired(self, path: str, lease: ClaimLease) -> bool:
        """By our own clock since it last changed, so that clocks that disagree do no harm."""
        now, version = asyncio.get_running_loop().time(), lease.metadata.resource_version
        if self._seen.get(path, ("", 0.0))[0] != version:
            self._seen[path] = version, now
        return now - self._seen[path][1] > self.lease_seconds

    async def kept(self) -> list[Entry]:
        """All that was done and is not settled yet."""
        return [entry async for lease in self._all() for entry in lease.done]

    async def overview(self) -> tuple[set[str], int]:
        """Escrows whose tasks are done and not settled yet; how many claims somebody holds.

        A claim whose holder died counts until it has been seen unchanged for `lease_seconds`.
        """
        leases = {lease.metadata.name: lease async for lease in self._all()}
        done = {entry.escrow for lease in leases.values() for entry in lease.done if entry.escrow}
        held = [name for name, lease in leases.items() if lease.spec.holder_identity]
        return done, sum(not self._expired(f"{self.path}/{name}", leases[name]) for name in held)

    def _all(self) -> Listing[ClaimLease]:
        selector = ",".join(f"{label}={value}" for label, value in _LABELS.items())
        return Listing(self.api, self.path, _LEASE, {"labelSelector": selector})

    async def forget(self, escrow_ids: Iterable[str]) -> None:
        """Drop what payroll has settled long enough ago that nobody's list shows it as pending any more."""
        settled = set(escrow_ids)
        for name in sorted({claim_of(escrow_id) for escrow_id in settled}):
            path = f"{self.path}/{name}"
            try:
                lease = await self.api.get(path, _LEASE)
                rest = [entry for entry in lease.done if entry.escrow not in settled]
                await self.api.merge_patch(path, _patch(lease, rest))
            except (ObjectNotFound, WriteConflict):
                continue  # the next run does it


def _patch(lease: ClaimLease, done: Iterable[Entry], spec: Json | None = None) -> Json:
    text = b"".join(entry.line() for entry in done).decode()
    metadata = {
        "resourceVersion": lease.metadata.resource_version,
        "annotations": {WORK_DONE_ANNOTATION: text or None},
    }
    return {"metadata": metadata, **({"spec": spec} if spec else {})}


class TaskClaim:
    """A claim that is ours."""

    def __init__(self, claims: TaskClaims, path: str, escrow_id: str, lease: ClaimLease) -> None:
        self._claims = claims
        self._path = path
        self._escrow_id = escrow_id
        self._lease = lease

    async def write(self, holder: str, done: Entry | None = None) -> None:
        """Set who holds it, and add what was done. Raises `WriteConflict`."""
        lease = self._lease
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self._claims.lease_seconds) or 1,
            "renewTime": stamp_now(),
        }
        entries = [*lease.done, *([done] if done and not lease.has(self._escrow_id) else [])]
        self._lease = await self._claims.api.merge_patch(self._path, _patch(lease, entries, spec), _LEASE)

    async def keep(self, renewed: Callable[[], None]) -> None:
        """Renew it until cancelled; returns once it may be another's: then the work must stop."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while loop.time() - last < self._claims.lease_seconds * 0.8:
            await asyncio.sleep(self._claims.lease_seconds / 5)
            try:
                if not await self._renew():
                    return
            except (KubernetesError, ApiUnreachable) as error:
                _log.warning("claim not renewed: %s", error)
            else:
                last = loop.time()
                renewed()

    async def _renew(self) -> bool:
        try:
            await self.write(self._claims.identity)
        except WriteConflict:  # of payroll, or of whoever has taken it over
            self._lease = await self._claims.api.get(self._path, _LEASE)
            if self._lease.spec.holder_identity != self._claims.identity:
                return False
            await self.write(self._claims.identity)
        return True

    async def let_go(self, done: Entry | None = None) -> None:
        """Give it back, with what was done; raises what the API raises."""
        for _ in range(10):
            holder = self._lease.spec.holder_identity
            try:
                return await self.write("" if holder == self._claims.identity else holder, done)
            except WriteConflict:
                self._lease = await self._claims.api.get(self._path, _LEASE)
        raise WriteConflict("PATCH", self._path, 409, "Conflict", "others write it all the time")
