"""Leader election on a `coordination.k8s.io/v1` Lease, with client-go's three durations.

It only spares duplicate work: correctness rests on the Escrow objects' resource versions, so two leaders at once
still pay once. kopf has peering by a custom resource of its own, but no Lease.
"""

import asyncio
import datetime as dt
import logging
from typing import Any, Final

from runtime.kubernetes.client import AlreadyExists, KubernetesApi, KubernetesError, NotFound, Unreachable, leases_path
from runtime.operator.metrics import Metrics

LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 10
RETRY_SECONDS: Final = 2

_log = logging.getLogger(__name__)


class Leader:
    """Holds `leading` set while this process has the Lease."""

    def __init__(self, api: KubernetesApi, namespace: str, identity: str, metrics: Metrics) -> None:
        self._api = api
        self._collection = leases_path(namespace)
        self._path = f"{self._collection}/pf-escrow-operator"
        self._identity = identity
        self._metrics = metrics
        self._seen: tuple[str, float] = ("", 0.0)
        self.leading = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Acquire and renew until `stopping`; a Lease that is lost ends `leading`."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while not stopping.is_set():
            try:
                held = await self._acquire_or_renew()
            except (KubernetesError, Unreachable) as error:
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
        self._metrics.leader.set(held)

    async def _acquire_or_renew(self) -> bool:
        try:
            lease = await self._api.get(self._path)
        except NotFound:
            spec = self._spec(transitions=0)
            body = {"metadata": {"name": self._path.rsplit("/", 1)[1]}, "spec": spec}
            try:
                await self._api.create(self._collection, body)
            except AlreadyExists:
                return False
            return True
        spec = lease.get("spec") or {}
        if (holder := spec.get("holderIdentity")) and holder != self._identity and not self._expired(lease):
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        version = lease["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": self._spec(transitions)}
        await self._api.merge_patch(self._path, body)
        return True

    def _expired(self, lease: dict[str, Any]) -> bool:
        """By our own clock since the Lease last changed, so that clocks that disagree do no harm."""
        now = asyncio.get_running_loop().time()
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > LEASE_SECONDS

    def _spec(self, transitions: int) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def _release(self) -> None:
        """Give the Lease back on a graceful stop, so that the next replica need not wait for it to expire."""
        try:
            lease = await self._api.get(self._path)
            if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                version = lease["metadata"]["resourceVersion"]
                body = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": ""}}
                await self._api.merge_patch(self._path, body)
        except (KubernetesError, Unreachable) as error:
            _log.warning("lease not given back: %s", error)
