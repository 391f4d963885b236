"""What the operator reads of Jobs and of their pods. The rest is skipped while it is decoded."""

from typing import Any, TypedDict

import msgspec

from runtime.contract import (
    AGENT_LABEL,
    BY_HAND_ANNOTATION,
    ESCROW_ID_ANNOTATION,
    ESCROW_REQUEST_ANNOTATION,
    FUNDED_ANNOTATION,
    KUEUE_QUEUE_LABEL,
    REGION_LABEL,
    SCHEDULED_ANNOTATION,
    SETTLED_ANNOTATION,
    WITHHELD_ANNOTATION,
    WORK_ID_ANNOTATION,
)
from runtime.kubernetes.shape import Shape


class _Condition(TypedDict, total=False):
    type: str
    status: str
    reason: str
    message: str
    lastTransitionTime: str


_Annotations: Any = TypedDict(
    "_Annotations",
    {
        ESCROW_ID_ANNOTATION: str,
        ESCROW_REQUEST_ANNOTATION: str,
        SETTLED_ANNOTATION: str,
        WORK_ID_ANNOTATION: str,
        FUNDED_ANNOTATION: str,
        WITHHELD_ANNOTATION: str,
        SCHEDULED_ANNOTATION: str,
        BY_HAND_ANNOTATION: str,
    },
    total=False,
)
_Labels: Any = TypedDict("_Labels", {KUEUE_QUEUE_LABEL: str, AGENT_LABEL: str, REGION_LABEL: str}, total=False)
"""Ours, Kueue's and those of CronJobs: those of others are read by nobody here, and may be a quarter of a megabyte."""


class _JobMetadata(TypedDict, total=False):
    name: str
    namespace: str
    uid: str
    resourceVersion: str
    annotations: _Annotations
    labels: _Labels
    finalizers: list[str]
    creationTimestamp: str
    deletionTimestamp: str


class _JobSpec(TypedDict, total=False):
    suspend: bool


class _JobStatus(TypedDict, total=False):
    conditions: list[_Condition]


class ListedJob(TypedDict, total=False):
    """All that `read_job` reads: no pod template, no managed fields."""

    metadata: _JobMetadata
    spec: _JobSpec
    status: _JobStatus


class Terminated(msgspec.Struct, frozen=True, rename="camel"):
    """How a container ended."""

    exit_code: int = 0
    message: str = ""
    reason: str = ""
    finished_at: str = ""


class _State(msgspec.Struct, frozen=True):
    terminated: Terminated | None = None


class _Container(msgspec.Struct, frozen=True, rename="camel"):
    name: str = "?"
    state: _State = _State()
    last_state: _State = _State()


class _PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    init_container_statuses: tuple[_Container, ...] = ()
    container_statuses: tuple[_Container, ...] = ()


class FailedPod(msgspec.Struct, frozen=True):
    """All that is read of a pod: how its containers ended."""

    status: _PodStatus = _PodStatus()


FAILED_POD: Shape[FailedPod] = Shape.of("Pod", FailedPod)
