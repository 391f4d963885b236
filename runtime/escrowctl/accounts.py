"""The Escrow objects as a person with a kubeconfig may read and write them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import lightkube
import stamina
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.authentication_v1 import SelfSubjectReview
from lightkube.types import PatchType

from runtime.contract import (
    ABANDONED_ANNOTATION,
    ACT_LABEL,
    ESCROW_GROUP,
    ESCROW_KIND,
    ESCROW_PLURAL,
    ESCROW_VERSION,
    SETTLEMENT_FINALIZER,
)
from runtime.kubernetes.escrow import stamp

Escrow = create_namespaced_resource(ESCROW_GROUP, ESCROW_VERSION, ESCROW_KIND, ESCROW_PLURAL)
Json = dict[str, Any]
ALL: Final = "*"


class Mistake(Exception):
    """What was asked for cannot be done; the message says why and what can."""


class Accounts:
    """The Escrow objects as a person with a kubeconfig may read and write them."""

    def __init__(self, namespace: str | None) -> None:
        config = lightkube.KubeConfig.from_env().get()
        if config is None:
            raise Mistake("no cluster is configured; set KUBECONFIG")
        self._client = lightkube.Client(config=config, trust_env=False)
        self.namespace = namespace or config.namespace

    def list(self, *, everywhere: bool = False) -> Iterator[Json]:
        """The Escrows of the namespace, or of all."""
        for escrow in self._client.list(Escrow, namespace=ALL if everywhere else self.namespace):
            yield escrow.to_dict()

    def find(self, name: str) -> Json:
        """An Escrow by its own name, its Job's name (the newest), its Job's UID or its escrow id."""
        found = [e for e in self.list() if name in _names(e)]
        if not found:
            known = sorted({e["spec"]["job"]["name"] for e in self.list()})
            listed = f"there are Escrows of the Jobs {', '.join(known[:20])}" if known else "there is no Escrow at all"
            raise Mistake(f"no Escrow, Job or escrow id {name!r} in namespace {self.namespace}; {listed}")
        return max(found, key=lambda e: e["metadata"]["creationTimestamp"])

    def write(self, escrow: Json, status: Json) -> None:
        """Merge into the status if nobody wrote since, then have the operator look."""
        metadata = escrow["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        self._client.patch(Escrow.Status, metadata["name"], body, namespace=self.namespace, patch_type=PatchType.MERGE)
        label = {"metadata": {"labels": {ACT_LABEL: datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")}}}
        self._client.patch(Escrow, metadata["name"], label, namespace=self.namespace, patch_type=PatchType.MERGE)

    def note(self, job: str, *, what: str, reason: str) -> Json | None:
        """Record an act in the Escrow of a Job, if it has one; that Escrow."""
        if not (found := [escrow for escrow in self.list() if job in _names(escrow)]):
            return None
        escrow = max(found, key=lambda e: e["metadata"]["creationTimestamp"])
        act = {"who": self.whoami(), "when": stamp(datetime.now(UTC)), "what": what, "reason": reason[:512]}
        self.write(escrow, {"acts": [*(escrow.get("status") or {}).get("acts", [])[-15:], act]})
        return escrow

    def whoami(self) -> str:
        """The name that the API server knows this person by."""
        review = self._client.create(SelfSubjectReview())
        user = review.status and review.status.userInfo
        return (user and user.username) or "unknown"

    def held(self, kind: Any) -> tuple[str, ...]:
        """Names of the Jobs, or the Escrows, that are being deleted and carry our finalizer."""
        found = [one.metadata for one in self._client.list(kind, namespace=self.namespace)]
        return tuple(m.name for m in found if m.deletionTimestamp and SETTLEMENT_FINALIZER in (m.finalizers or ()))

    @stamina.retry(on=lambda error: isinstance(error, ApiError) and error.status.code == 409, attempts=10)
    def drop_finalizer(self, kind: Any, name: str, reason: str) -> bool:
        """Take our finalizer off a Job or an Escrow, with the reason on it; whether it was there and had it.

        The job gate lets a finalizer go only together with its reason.
        """
        try:
            metadata = self._client.get(kind, name, namespace=self.namespace).metadata
        except ApiError as error:
            if error.status.code != HTTPStatus.NOT_FOUND:
                raise
            return False
        finalizers = (metadata and metadata.finalizers) or []
        rest = [f for f in finalizers if f != SETTLEMENT_FINALIZER]
        if rest == finalizers or metadata is None:
            return False
        edit = {"finalizers": rest, "annotations": {ABANDONED_ANNOTATION: reason}}
        body = {"metadata": {"resourceVersion": metadata.resourceVersion, **edit}}
        self._client.patch(kind, name, body, namespace=self.namespace, patch_type=PatchType.MERGE)
        return True


def _names(escrow: Json) -> tuple[str, ...]:
    spec = escrow["spec"]
    return (escrow["metadata"]["name"], spec["job"]["name"], spec["job"]["uid"], spec.get("escrowId", ""))
