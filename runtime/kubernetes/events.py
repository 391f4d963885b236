"""Kubernetes events on Jobs: one for each thing that happened, never a flood."""

import datetime as dt
import logging
import uuid
from typing import Final

from runtime.kubernetes.client import KubernetesApi, KubernetesError, Unreachable
from runtime.operator.jobs import JobFacts, sanitise

BURST: Final = 200
"""Events that may be posted at once; beyond it they are only logged, until tokens come back."""
PER_SECOND: Final = 20.0

_log = logging.getLogger(__name__)


class Events:
    """Posts `v1` Events; a refusal is logged and never stands in the way of money."""

    def __init__(self, api: KubernetesApi, identity: str) -> None:
        self._api = api
        self._identity = identity
        self._tokens = float(BURST)
        self._refilled = dt.datetime.now(dt.UTC)

    async def post(self, job: JobFacts, reason: str, message: str, *, warning: bool = False) -> None:
        """Say what happened to `job`: `reason` in CamelCase, `message` for a person."""
        _log.log(logging.WARNING if warning else logging.INFO, "%s: %s", reason, message)
        if not self._allowed():
            return
        now = dt.datetime.now(dt.UTC)
        stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        involved = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
        }
        event = {
            "metadata": {"name": f"{job.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": job.namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": sanitise(message, 1000),
            "type": "Warning" if warning else "Normal",
            "action": reason,
            "eventTime": stamp,
            "reportingComponent": "purpleflea.com/escrow-operator",
            "reportingInstance": self._identity[:128],
        }
        try:
            await self._api.create(f"/api/v1/namespaces/{job.namespace}/events", event)
        except (KubernetesError, Unreachable) as error:
            _log.warning("event not posted: %s", error)

    def _allowed(self) -> bool:
        now = dt.datetime.now(dt.UTC)
        self._tokens = min(BURST, self._tokens + (now - self._refilled).total_seconds() * PER_SECOND)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
