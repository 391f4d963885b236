"""Kueue's part: a queued Job gets its money once Kueue has reserved quota for it, by a check that this module answers.

Kueue admits a Job once its quota is reserved and every AdmissionCheck of its queue is `Ready`; then it resumes the Job.
Of a check's states two are written here. `Ready`, once the money is locked. `Retry`, where it cannot be locked: Kueue
gives the quota to others and reserves it again later. Never `Rejected`, which is for good, and never `Pending`, which
takes nothing back from a Job that is admitted.

What Kueue says of a Job is kept as its watch tells it and may be a moment old. That moves no money: quota that is gone
by now leaves the money locked for the same Job, and an answer to an older state is refused by its resource version.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

import msgspec

from runtime.contract import KUEUE_CHECK_CONTROLLER, KUEUE_GROUP, KUEUE_JOB_UID_LABEL, KUEUE_VERSION, Phase
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ObjectNotFound
from runtime.kubernetes.escrow import FUNDED, Escrow
from runtime.kubernetes.events import one_line
from runtime.kubernetes.shape import Json, Metadata, Shape
from runtime.kubernetes.watch import watch
from runtime.operator.jobs import JOB, JobFacts, absent_job

WAITS_SECONDS: Final = 600.0
"""Seconds until a Job that waits for quota, or a person, is looked at again; Kueue's next word starts it at once."""

SOON_SECONDS: Final = 5.0
"""What is tried again within this time keeps its quota."""

_API: Final = f"/apis/{KUEUE_GROUP}/{KUEUE_VERSION}"
_APPLY: Final = "application/apply-patch+yaml"
_PENDING, _READY, _RETRY = "Pending", "Ready", "Retry"

_log = logging.getLogger(__name__)


class _Named(msgspec.Struct, frozen=True):
    """An entry of a list that Kubernetes keeps by name."""

    name: str = ""
    state: str = ""
    kind: str = ""


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _WorkloadStatus(msgspec.Struct, frozen=True, rename="camel"):
    conditions: tuple[_Condition, ...] = ()
    admission_checks: tuple[_Named, ...] = ()


_Labels: Any = TypedDict("_Labels", {KUEUE_JOB_UID_LABEL: str}, total=False)


class _WorkloadMetadata(Metadata, frozen=True, kw_only=True, rename="camel"):
    labels: _Labels = msgspec.field(default_factory=dict)
    owner_references: tuple[_Named, ...] = ()


class _Workload(msgspec.Struct, frozen=True):
    metadata: _WorkloadMetadata
    status: _WorkloadStatus = _WorkloadStatus()


class _CheckSpec(msgspec.Struct, frozen=True, rename="camel"):
    controller_name: str = ""


class _CheckStatus(msgspec.Struct, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class _Check(msgspec.Struct, frozen=True):
    spec: _CheckSpec = _CheckSpec()
    status: _CheckStatus = _CheckStatus()


@dataclass(frozen=True, slots=True)
class Workload:
    """What Kueue says of one Job."""

    namespace: str
    name: str
    uid: str
    """The Job's; its own where it is no Job's."""
    job: str
    """The Job's name; empty where it is no Job's."""
    version: str
    reserved: bool
    admitted: bool
    over: bool
    """It has finished, or is gone."""
    checks: dict[str, str]
    """Name → state."""


def _read_workload(found: _Workload, gone: bool) -> Workload:
    metadata, status = found.metadata, found.status
    true = {condition.type for condition in status.conditions if condition.status == "True"}
    return Workload(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.labels.get(KUEUE_JOB_UID_LABEL) or metadata.uid,
        job=next((owner.name for owner in metadata.owner_references if owner.kind == "Job"), ""),
        version=metadata.resource_version,
        # An eviction is written before its quota is given back, with the checks set back to Pending.
        reserved="QuotaReserved" in true and "Evicted" not in true,
        admitted="Admitted" in true,
        over=gone or "Finished" in true,
        checks={check.name: check.state for check in status.admission_checks},
    )


_WORKLOAD: Final[Shape[Workload]] = Shape.of("Workload", _Workload).then(_read_workload)
_CHECK: Final[Shape[_Check]] = Shape.of("AdmissionCheck", _Check)


class Kueue:
    """Answers one AdmissionCheck; does nothing while there is no such check.

    Args:
        check: Name of the AdmissionCheck; None where queued Jobs are funded whatever Kueue says.
        look: Called with a Job about which Kueue has said something that may be acted on now.
    """

    def __init__(self, api: KubernetesApi, check: str | None, look: Callable[[JobFacts], None]) -> None:
        self._api = api
        self._check = check or ""
        self._look = look
        self._workloads: dict[str, Workload] = {}
        """By the UID of the Job; only those that are not over."""
        self._retries: dict[str, float] = {}
        """UID → when the Job may ask for its money again, after a `Retry`, whenever its quota is reserved anew."""
        self._serving = asyncio.Event()
        """Set while the check exists and is ours."""

    async def refresh(self) -> None:
        """Find out whether the check is there, and say that it is served: without that Kueue admits nothing."""
        if not self._check:
            return
        path = f"{_API}/admissionchecks/{self._check}"
        try:
            found = await self._api.get(path, _CHECK)
        except ObjectNotFound:
            self._serve(f"there is no AdmissionCheck {self._check}: queued Jobs get their money before their quota")
            return
        if found.spec.controller_name != KUEUE_CHECK_CONTROLLER:
            self._serve(f"the AdmissionCheck {self._check} is {found.spec.controller_name}'s, and left alone")
            return
        if _Condition("Active", "True") not in found.status.conditions:
            words = {"reason": "Serving", "message": "the escrow operator locks the money of admitted Jobs"}
            active = {"type": "Active", "status": "True", "lastTransitionTime": _now(), **words}
            await self._apply(path, "AdmissionCheck", {"name": self._check}, {"conditions": [active]})
        self._serve("")

    def _serve(self, hindrance: str) -> None:
        if hindrance:
            _log.warning("%s", hindrance)
            self._serving.clear()
        else:
            self._serving.set()

    async def watch(self, namespace: str) -> None:
        """Keep what Kueue says of the namespace's Jobs, once the check is there; until cancelled."""
        await self._serving.wait()
        await watch(self._api, f"{_API}/namespaces/{namespace}/workloads", _WORKLOAD, self._seen)

    def _seen(self, workload: Workload) -> None:
        known = self._workloads.get(workload.uid)
        if workload.over:
            if known is not None and known.name == workload.name:
                self._forget(workload.uid)
            return
        self._keep(workload)
        # Also one that was admitted without our check: its queue does not have it, and its Job waits for its money.
        if self._is_asked(workload) or (workload.admitted and not (known and known.admitted)):
            self._look(_unread(workload))

    def _keep(self, workload: Workload) -> None:
        known = self._workloads.get(workload.uid)
        if known is None or int(known.version) <= int(workload.version):
            self._workloads[workload.uid] = workload

    def _forget(self, uid: str) -> None:
        self._workloads.pop(uid, None)
        self._retries.pop(uid, None)

    def _is_asked(self, workload: Workload) -> bool:
        """Whether Kueue waits for our answer."""
        return workload.reserved and workload.checks.get(self._check) == _PENDING

    async def read(self, job: JobFacts) -> JobFacts | None:
        """The Job itself, where no more is known than that Kueue told of it; None where there is none any more."""
        if job.version or job.gone:
            return job
        if not job.name:  # another kind of work: it asks for no money
            await self._answer(job.uid, _READY, "it is no Job, and asks for no escrow")
            return None
        try:
            found = await self._api.get(job.path, JOB)
        except ObjectNotFound:
            return None
        return found if found.uid == job.uid else None

    def waits(self, job: JobFacts, escrow: Escrow) -> float | None:
        """Seconds until a Job without money is looked at again; None where its money may be locked now.

        What has ended locks nothing, and a create that was begun is carried on whatever Kueue says.
        """
        if not (self._serving.is_set() and job.queued) or job.ending or job.gone or escrow.status.creation is not None:
            return None
        if (left := self._left(job.uid)) > 0:
            return left
        workload = self._workloads.get(job.uid)
        if workload is None:
            return WAITS_SECONDS
        ready = workload.reserved if self._check in workload.checks else workload.admitted
        return None if ready else WAITS_SECONDS

    async def answer(self, job: JobFacts, escrow: Escrow | None, delay: float | None) -> float | None:
        """Tell Kueue how the Job stands, where it waits for that; the seconds until the Job is looked at again.

        Args:
            job: The Job, after everything was done that can be done now.
            escrow: Its account, if it has one.
            delay: In how many seconds it would be looked at again anyway; None for never.
        """
        workload = self._workloads.get(job.uid)
        if workload is None or not self._serving.is_set():
            return delay
        if job.ending or job.gone:
            self._forget(job.uid)
        elif not self._is_asked(workload):
            pass
        elif escrow is None and not job.asks:
            await self._answer(job.uid, _READY, "the Job asks for no escrow")
        elif escrow is not None and escrow.phase is Phase.FUNDED and (job.funded or not job.suspended):
            await self._answer(job.uid, _READY, f"escrow {escrow.escrow_id} holds the Job's money")
            self._retries.pop(job.uid, None)
        elif (left := self._left(job.uid)) > 0:
            return left
        elif delay is None or delay > SOON_SECONDS:
            seconds = math.ceil(WAITS_SECONDS if delay is None else delay)
            await self._answer(job.uid, _RETRY, _why(job, escrow))
            # No `requeueAfterSeconds`: Kueue 0.19 keeps the quota until they are over, and evicts only then. Without it
            # the quota may be reserved again at once, and waits: else the service were asked at every turn.
            self._retries[job.uid] = asyncio.get_running_loop().time() + seconds
        return delay

    def _left(self, uid: str) -> float:
        """Seconds until the Job may ask for its money again."""
        return self._retries.get(uid, 0.0) - asyncio.get_running_loop().time()

    async def _answer(self, uid: str, state: str, message: str) -> None:
        if (workload := self._workloads.get(uid)) is None or not self._is_asked(workload):
            return
        entry = {"name": self._check, "state": state, "lastTransitionTime": _now(), "message": message}
        path = f"{_API}/namespaces/{workload.namespace}/workloads/{workload.name}"
        identity = {"name": workload.name, "namespace": workload.namespace, "resourceVersion": workload.version}
        try:
            written = await self._apply(path, "Workload", identity, {"admissionChecks": [entry]})
        except ObjectNotFound:
            self._forget(uid)
        else:
            self._keep(_WORKLOAD.read(written))

    async def _apply(self, path: str, kind: str, metadata: Json, status: Json) -> bytes | bytearray:
        """Apply our part of a status; with a resource version it is tested, and raises `WriteConflict`."""
        body = {"apiVersion": f"{KUEUE_GROUP}/{KUEUE_VERSION}", "kind": kind, "metadata": metadata, "status": status}
        # Forced: Kueue owns the entry since it made or reset it, and waits for whoever answers.
        return await self._api.request("PATCH", f"{path}/status", body, params={"force": "true"}, content_type=_APPLY)


def _now() -> str:
    """In whole seconds, as Kueue writes them."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unread(workload: Workload) -> JobFacts:
    """The Job of which no more is known than that Kueue told of it; see `Kueue.read`."""
    unknown = absent_job(workload.namespace, workload.uid, "")
    return replace(unknown, name=workload.job, gone=False, deleting=False)


def _why(job: JobFacts, escrow: Escrow | None) -> str:
    """Why there is no money for the Job."""
    if escrow is None:
        return one_line(job.withheld or "the Job has no account yet", 1000)
    found = escrow.condition(FUNDED)
    words = found.message if found is not None else "nothing is locked for the Job"
    if not escrow.is_open:
        words = f"{escrow.status.outcome or ''} {escrow.status.reason}".strip()
    return one_line(f"Escrow {escrow.name} is {escrow.phase}: {words}", 1000)
