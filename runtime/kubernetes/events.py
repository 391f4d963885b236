"""Kubernetes events: one for each thing that happened, never a flood."""

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError
from runtime.kubernetes.shape import stamp_now
from runtime.redaction import excerpt

BURST: Final = 200
"""Events that may be posted at once; beyond it they are only logged, until tokens come back."""
PER_SECOND: Final = 20.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Subject(Protocol):
    """Something that an event can be about."""

    @property
    def reference(self) -> ObjectReference:
        """Its object."""
        ...


class Events:
    """Posts `v1` Events; a refusal is logged and never stands in the way of money.

    Args:
        component: Who reports, e.g. `purpleflea.com/escrow-operator`.
        identity: Which instance of it, e.g. the pod's name.
    """

    def __init__(self, api: KubernetesApi, component: str, identity: str) -> None:
        self._api = api
        self._component = component
        self._identity = identity
        self._tokens = float(BURST)
        self._refilled = datetime.now(UTC)

    async def post(self, about: Subject, reason: str, message: str, *, warning: bool = False) -> None:
        """Say what happened to an object: `reason` in CamelCase, `message` for a person."""
        _log.log(logging.WARNING if warning else logging.INFO, "%s: %s", reason, message)
        if not self._allowed():
            return
        involved = about.reference
        event = {
            "metadata": {"name": f"{involved.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": involved.namespace},
            "involvedObject": {
                "apiVersion": involved.api_version,
                "kind": involved.kind,
                "namespace": involved.namespace,
                "name": involved.name,
                "uid": involved.uid,
            },
            "reason": reason,
            "message": one_line(message, 1000),
            "type": "Warning" if warning else "Normal",
            "action": reason,
            "eventTime": stamp_now(),
            "reportingComponent": self._component,
            "reportingInstance": self._identity[:128],
        }
        try:
            await self._api.create(f"/api/v1/namespaces/{involved.namespace}/events", event)
        except (KubernetesError, ApiUnreachable) as error:
            _log.warning("event not posted: %s", error)

    def _allowed(self) -> bool:
        now = datetime.now(UTC)
        self._tokens = min(BURST, self._tokens + (now - self._refilled).total_seconds() * PER_SECOND)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def one_line(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters: a container's last words are anybody's text."""
    line = " ".join("".join(c if c.isprintable() else " " for c in excerpt(text, 4 * limit)).split())
    return line if len(line) <= limit else line[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
