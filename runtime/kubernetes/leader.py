"""Leader election on a `coordination.k8s.io/v1` Lease, with client-go's three durations.

It only avoids duplicate work. Correctness rests on the resource versions of the Escrow objects, so two leaders at once
still pay once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, ApiUnreachable, KubernetesError, MalformedObject, ObjectNotFound
from runtime.kubernetes.leases import LEASE, Lease, leases_path
from runtime.kubernetes.shape import Json, stamp_now

LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 10
RETRY_SECONDS: Final = 2

_log = logging.getLogger(__name__)


class Leader:
    """Holds `leading` set while this process has the Lease.

    Args:
        namespace: The Lease's.
        name: The Lease's.
        identity: Ours, e.g. the pod's name.
        changed: Told whether we lead, after each look.
    """

    def __init__(
        self, api: KubernetesApi, namespace: str, name: str, identity: str, changed: Callable[[bool], object]
    ) -> None:
        self._api = api
        self._collection = leases_path(namespace)
        self._name = name
        self._path = f"{self._collection}/{name}"
        self._identity = identity
        self._changed = changed
        self._seen: tuple[str, float] = ("", 0.0)
        self.leading = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Acquire and renew until `stopping`; a Lease that is lost ends `leading`."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while not stopping.is_set():
            try:
                held = await self._acquire_or_renew()
            except (KubernetesError, ApiUnreachable, MalformedObject) as error:
                _log.warning("lease: %s", error)
                held = self.leading.is_set() and loop.time() - renewed < RENEW_SECONDS
            else:
                renewed = loop.time() if held else renewed
            self._set(held)
            try:
                await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
            except TimeoutError:
                continue
        if self.leading.is_set():
            self._set(False)
            await self._release()

    def _set(self, held: bool) -> None:
        if held != self.leading.is_set():
            _log.info("leading" if held else "not leading")
        (self.leading.set if held else self.leading.clear)()
        self._changed(held)

    async def _acquire_or_renew(self) -> bool:
        try:
            lease = await self._api.get(self._path, LEASE)
        except ObjectNotFound:
            body = {"metadata": {"name": self._name}, "spec": self._spec(transitions=0)}
            try:
                await self._api.create(self._collection, body)
            except AlreadyExists:
                return False
            return True
        holder = lease.spec.holder_identity
        if holder and holder != self._identity and not self._expired(lease):
            return False
        transitions = lease.spec.lease_transitions + (holder != self._identity)
        body = {"metadata": {"resourceVersion": lease.metadata.resource_version}, "spec": self._spec(transitions)}
        await self._api.merge_patch(self._path, body)
        return True

    def _expired(self, lease: Lease) -> bool:
        """By our own clock since the Lease last changed, so that clocks that disagree do no harm."""
        now = asyncio.get_running_loop().time()
        version = lease.metadata.resource_version
        if self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > LEASE_SECONDS

    def _spec(self, transitions: int) -> Json:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": stamp_now(),
            "leaseTransitions": transitions,
        }

    async def _release(self) -> None:
        """Give the Lease back on a graceful stop, so that the next replica need not wait for it to expire."""
        try:
            lease = await self._api.get(self._path, LEASE)
            if lease.spec.holder_identity == self._identity:
                body = {"metadata": {"resourceVersion": lease.metadata.resource_version}}
                await self._api.merge_patch(self._path, body | {"spec": {"holderIdentity": ""}})
        except (KubernetesError, ApiUnreachable, MalformedObject) as error:
            _log.warning("lease not given back: %s", error)
