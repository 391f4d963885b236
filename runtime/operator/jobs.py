"""What the operator needs to know of a Job: a small, pure reading of the object.

Pay on the terminal conditions `Complete` and `Failed` only: `SuccessCriteriaMet`, `FailureTarget` and
`status.succeeded` come earlier, while pods may still run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from runtime.contract import (
    AGENT_LABEL,
    ESCROW_ID_ANNOTATION,
    ESCROW_REQUEST_ANNOTATION,
    FUNDED_ANNOTATION,
    KUEUE_QUEUE_LABEL,
    REGION_LABEL,
    SCHEDULED_ANNOTATION,
    SETTLED_ANNOTATION,
    SETTLEMENT_FINALIZER,
    WITHHELD_ANNOTATION,
    WorkKind,
)
from runtime.kubernetes.escrow import ESCROW, Ending, Escrow
from runtime.kubernetes.events import ObjectReference, one_line
from runtime.kubernetes.finalizers import is_held
from runtime.kubernetes.shape import Metadata, Shape, stamp
from runtime.operator.annotations import ESCROW_ID_LIMIT, REQUEST_LIMIT
from runtime.operator.listing import FailedPod, ListedJob, Terminated
from runtime.operator.queue import Turn
from runtime.operator.work_ids import work_id, work_id_problem
from runtime.redaction import excerpt

WITHHELD_LIMIT: Final = 1000
ENDING_MESSAGE_LIMIT: Final = 2000
"""Characters that are kept of what anybody may write as long as etcd takes it; one more tells that it was too long."""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """One Job as last seen."""

    namespace: str
    name: str
    uid: str
    escrow_id: str | None
    """The annotation as it stands, unchecked."""
    request: str | None
    """The funding request as it stands, unparsed."""
    suspended: bool
    """It runs no pods: from its creation on, until its escrow is bound, or because somebody suspended it later."""
    queued: bool
    """Kueue decides when it runs."""
    ending: Ending | None
    ending_message: str
    ended_at: datetime | None
    """When the terminal condition was set, or the deletion recorded; None before."""
    created_at: str
    """As the API server writes it, so that these sort by age; empty where only its Escrow is known."""
    version: str
    """The object's resource version."""
    finalizers: tuple[str, ...]
    settled: bool
    """We wrote on it that its Escrow is closed."""
    deleting: bool
    gone: bool
    """The object no longer exists; `ending` is then what was last seen of it, or None."""
    work_id: str | None = None
    """The identity of its work, with the run of its schedule; None where it has none that can be used."""
    work_id_problem: str = ""
    """Why its work id cannot be used."""
    funded: bool = False
    """We wrote on it that its escrow is bound."""
    withheld: str = ""
    """What we wrote on it of why it is not run."""
    agent: str = ""
    """Its agent, by the label; empty where it has none."""
    scheduled: bool = False
    """A CronJob made it at its scheduled time, and counts it as active until it has ended."""
    region: str = ""
    """Where it runs, by the label; empty where it has none."""
    account: str = ""
    """Name of its Escrow, where it is known from that; see `Works`."""

    @property
    def path(self) -> str:
        """Path of the object at the API server."""
        return f"{jobs_path(self.namespace)}/{self.name}"

    @property
    def metadata(self) -> Metadata:
        """What a write to it starts from."""
        return Metadata(
            name=self.name,
            namespace=self.namespace,
            uid=self.uid,
            resource_version=self.version,
            finalizers=self.finalizers,
        )

    @property
    def reference(self) -> ObjectReference:
        """What an event about it names."""
        return ObjectReference("batch/v1", "Job", self.namespace, self.name, self.uid)

    @property
    def finalizer(self) -> bool:
        """True if it has our finalizer."""
        return SETTLEMENT_FINALIZER in self.finalizers

    @property
    def unanswered(self) -> bool:
        """True if it requests an escrow and no escrow's id is written on it yet."""
        return self.request is not None and self.escrow_id is None

    @property
    def waits_for_us(self) -> bool:
        """True if it will not run until the operator writes on it that it is funded, or resumes it."""
        return self.unanswered or (self.suspended and not (self.queued and self.funded))

    def ending_status(self) -> dict[str, str]:
        """`status.jobEnding` of its Escrow: how it ended, as last seen."""
        ended_at = self.ended_at or datetime.now(UTC)
        found = {"type": (self.ending or Ending.DELETED).value, "time": stamp(ended_at)}
        if message := one_line(self.ending_message, 1000):
            found["message"] = message
        return found

    @property
    def asks(self) -> bool:
        """Whether it asks to be paid, by an escrow of its own or a request for one."""
        return self.escrow_id is not None or self.request is not None

    @property
    def concerned(self) -> bool:
        """True if this Job asks for money or has our finalizer."""
        return self.asks or self.finalizer


def read_job(job: Mapping[str, Any], *, gone: bool = False) -> JobFacts:
    """Facts of a `batch/v1` Job object; `gone` when the watch says that it was deleted."""
    metadata = job["metadata"]
    annotations = metadata.get("annotations") or {}
    status = job.get("status") or {}
    deleting = gone or "deletionTimestamp" in metadata
    ending, message, ended_at = _ending(status.get("conditions") or [])
    deleted_at = metadata.get("deletionTimestamp")
    if ended_at is not None and deleted_at is not None and ended_at > datetime.fromisoformat(deleted_at):
        # Its pods are deleted with it, so a Job whose work had succeeded may read Failed afterwards.
        ending, message, ended_at = None, "", None
    if ending is None and deleting:
        ending, message = Ending.DELETED, "deleted before it had ended"
    return JobFacts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        escrow_id=_cut(annotations.get(ESCROW_ID_ANNOTATION), ESCROW_ID_LIMIT),
        request=_cut(annotations.get(ESCROW_REQUEST_ANNOTATION), REQUEST_LIMIT),
        suspended=bool((job.get("spec") or {}).get("suspend")),
        queued=KUEUE_QUEUE_LABEL in (metadata.get("labels") or {}),
        ending=ending,
        ending_message=excerpt(message, ENDING_MESSAGE_LIMIT),
        ended_at=ended_at,
        created_at=metadata["creationTimestamp"],
        version=metadata["resourceVersion"],
        finalizers=tuple(metadata.get("finalizers") or ()),
        settled=annotations.get(SETTLED_ANNOTATION) == metadata["uid"],
        deleting=deleting,
        gone=gone,
        work_id=work_id(annotations, metadata["name"]),
        work_id_problem=work_id_problem(annotations),
        agent=(metadata.get("labels") or {}).get(AGENT_LABEL, ""),
        scheduled=SCHEDULED_ANNOTATION in annotations,
        region=(metadata.get("labels") or {}).get(REGION_LABEL, ""),
        funded=annotations.get(FUNDED_ANNOTATION) == metadata["uid"],
        withheld=_cut(annotations.get(WITHHELD_ANNOTATION), WITHHELD_LIMIT) or "",
    )


def turn(job: JobFacts) -> Turn:
    """When it comes in the queue: a Job that waits for money after those that have ended, namespaces in turn."""
    return Turn(job.namespace, begins=job.waits_for_us and not (job.ending or job.gone))


def jobs_path(namespace: str) -> str:
    """Path of a namespace's Jobs at the API server."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


JOB: Final[Shape[JobFacts]] = Shape.of("Job", ListedJob).then(lambda job, gone: read_job(job, gone=gone))
"""How a Job is read."""


def _job_acted_on(escrow: Escrow, gone: bool) -> JobFacts | None:
    # Closed by a person: what it held is returned to the budget, and its finalizer goes.
    due = escrow.is_open or escrow.counts or is_held(escrow.metadata)
    return job_of(escrow) if not gone and due and escrow.work.kind is WorkKind.JOB else None


ACTED: Final[Shape[JobFacts | None]] = ESCROW.then(_job_acted_on)
"""How an Escrow with a manual decision is read: as the Job to reconcile, None where nothing is to be done."""


def _cut(annotation: str | None, limit: int) -> str | None:
    return annotation if annotation is None or len(annotation) <= limit else annotation[: limit + 1]


def _ending(conditions: list[Mapping[str, Any]]) -> tuple[Ending | None, str, datetime | None]:
    for condition in conditions:
        if condition.get("status") == "True" and condition.get("type") in (Ending.COMPLETE, Ending.FAILED):
            words = ": ".join(w for w in (condition.get("reason"), condition.get("message")) if w)
            moment = condition.get("lastTransitionTime")
            return Ending(condition["type"]), words, datetime.fromisoformat(moment) if moment else None
    return None, "", None


def job_of(escrow: Escrow) -> JobFacts:
    """The Job as far as its Escrow tells: it no longer exists, or was not read."""
    absent = absent_job(escrow.namespace, escrow.work.key, escrow.name)
    return replace(absent, name=escrow.work.name, escrow_id=escrow.escrow_id)


def absent_job(namespace: str, uid: str, account: str) -> JobFacts:
    """A Job of which no more is known than that it has an Escrow, which goes by its name here."""
    return JobFacts(
        namespace=namespace,
        name=account,
        uid=uid,
        escrow_id=None,
        request=None,
        suspended=False,
        queued=False,
        ending=None,
        ending_message="",
        ended_at=None,
        created_at="",
        version="",
        finalizers=(),
        settled=False,
        deleting=True,
        gone=True,
        account=account,
    )


def ended_as_recorded(job: JobFacts, escrow: Escrow) -> JobFacts:
    """The Job with the end that its Escrow has on record, which never changes; as it is where there is none."""
    if (ending := escrow.ending) is None:
        return job
    return replace(job, ending=ending.type, ending_message=ending.message, ended_at=ending.time)


def failure_reason(job: JobFacts, pods: Sequence[FailedPod], limit: int = 400) -> str:
    """Why a Job failed, for the dispute: its condition, the failing container, exit code and last message."""
    words = f"Job {job.name}: {job.ending_message or 'failed'}"
    if failure := _last_failure(pods):
        container, terminated = failure
        words += f"; container {container} exited with {terminated.exit_code}"
        if detail := terminated.message or terminated.reason:
            words += f": {detail}"
    return one_line(words, limit)


def _last_failure(pods: Sequence[FailedPod]) -> tuple[str, Terminated] | None:
    failures = [
        (terminated.finished_at, container.name, terminated)
        for pod in pods
        for container in pod.status.init_container_statuses + pod.status.container_statuses
        for terminated in (container.state.terminated, container.last_state.terminated)
        if terminated is not None and terminated.exit_code
    ]
    if not failures:
        return None
    _, name, terminated = max(failures, key=lambda failure: failure[0])
    return name, terminated
