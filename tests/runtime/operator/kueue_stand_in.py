"""Kueue's part on a real API server: its own definitions of two kinds, and a controller that is as unkind.

What Kueue 0.19 was seen to do: it makes a Workload of each Job with a queue name, admits nothing while a check of the
queue is not active, resumes an admitted Job whoever holds it suspended, suspends one that is not admitted, and of a
`Retry` it takes the quota away, sets the checks back and, if nobody else waits, reserves it again at once. It writes by
server-side apply, by force, with the resource version.
"""

import json
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightkube import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.batch_v1 import Job
from lightkube.types import PatchType

from components.manifests import kueue, rbac
from components.settings import Settings
from runtime.contract import KUEUE_GROUP, KUEUE_JOB_UID_LABEL, KUEUE_QUEUE_LABEL, KUEUE_VERSION, Env
from tests.runtime.operator.world import OperatorProcess, World, _apply, _install

Workload = create_namespaced_resource(KUEUE_GROUP, KUEUE_VERSION, "Workload", "workloads")
AdmissionCheck = create_global_resource(KUEUE_GROUP, KUEUE_VERSION, "AdmissionCheck", "admissionchecks")
QUEUE = {KUEUE_QUEUE_LABEL: "agents"}
TURN_SECONDS = 0.1


DEFINITIONS = Path(__file__).with_name("kueue_definitions.json")


def install(world: World) -> None:
    """Kueue's own definitions, once a cluster."""
    found = json.loads(DEFINITIONS.read_text())
    for kind, plural in ((Workload, "workloads"), (AdmissionCheck, "admissionchecks")):
        _install(world.client, CustomResourceDefinition.from_dict(found[plural]), kind)


class KueueStandIn:
    """Kueue for one namespace, whose one queue has these checks.

    Args:
        world: The namespace, in which the operator gets its rights to Kueue's objects.
        checks: Names of the queue's AdmissionChecks; by default the one that the world's operator answers.
    """

    def __init__(self, world: World, checks: tuple[str, ...] | None = None) -> None:
        self.world = world
        self.check = f"money-of-{world.namespace}"
        self.checks = (self.check,) if checks is None else checks
        self.has_quota = True
        self.resumes = True
        self.evictions: Counter[str] = Counter()
        self.told: dict[str, str] = {}
        """What our check said as a Job was last evicted."""
        self._to_evict: set[str] = set()
        self._client = world.cluster.client(world.namespace)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "KueueStandIn":
        install(self.world)
        stack = {"namespace": self.world.namespace, "createNamespace": False}
        settings = Settings.parse({**stack, "operator": {"admissionCheck": self.check, "replicas": 2}})
        for manifest in (
            rbac.operator_role(settings, self.world.namespace),
            kueue.admission_check(settings),
            rbac.operator_check_role(settings),
            rbac.operator_check_role_binding(settings),
        ):
            _apply(self.world.client, manifest)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        with suppress(ApiError):
            self._client.delete(AdmissionCheck, self.check)

    # --- what a test does and sees

    def operator(self, **changes: str) -> OperatorProcess:
        """An operator that answers the check."""
        return self.world.operator(**{Env.KUEUE_ADMISSION_CHECK: self.check, **changes})

    def evict(self, job: str) -> None:
        """Take a Job's quota away, as for a Job of a higher priority."""
        self._to_evict.add(job)

    def workload(self, job: str) -> dict[str, Any] | None:
        """The Workload of that Job."""
        return next((w for w in self._workloads() if w["metadata"]["name"] == f"job-{job}"), None)

    def state(self, job: str) -> tuple[str, str]:
        """State and message of the check."""
        workload = self.workload(job) or {}
        checks = workload.get("status", {}).get("admissionChecks", [])
        return next(((c["state"], c["message"]) for c in checks if c["name"] == self.check), ("", ""))

    def has(self, job: str, condition: str) -> bool:
        """Whether the Workload's condition is true."""
        return _is(self.workload(job) or {}, condition)

    # --- the controller

    def _run(self) -> None:
        while not self._stop.wait(TURN_SECONDS):
            with suppress(ApiError):  # e.g. somebody else wrote first: the next turn reads again
                self._turn()

    def _workloads(self) -> list[dict[str, Any]]:
        return [each.to_dict() for each in self._client.list(Workload, namespace=self.world.namespace)]

    def _turn(self) -> None:
        jobs = {job.metadata.name: job for job in self._client.list(Job, namespace=self.world.namespace)}
        known = {workload["metadata"]["name"]: workload for workload in self._workloads()}
        for name, job in jobs.items():
            if KUEUE_QUEUE_LABEL in (job.metadata.labels or {}) and f"job-{name}" not in known:
                self._client.create(self._made_of(job))
        active = all(self._is_active(check) for check in self.checks)
        for name, workload in known.items():
            job = jobs.get(name.removeprefix("job-"))
            if job is not None or not workload["metadata"].get("ownerReferences"):
                with suppress(ApiError):
                    self._advance(workload, job, active)

    def _made_of(self, job: Any) -> Any:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.metadata.name, "uid": job.metadata.uid}
        metadata = {
            "name": f"job-{job.metadata.name}",
            "labels": {KUEUE_JOB_UID_LABEL: job.metadata.uid},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        }
        pods = {"name": "main", "count": 1, "template": job.spec.template.to_dict()}
        return Workload(metadata=ObjectMeta.from_dict(metadata), spec={"queueName": "agents", "podSets": [pods]})

    def _is_active(self, check: str) -> bool:
        return _is(self._client.get(AdmissionCheck, check).to_dict(), "Active")

    def _advance(self, workload: dict[str, Any], job: Any, active: bool) -> None:
        name = workload["metadata"]["name"].removeprefix("job-")
        checks = {check["name"]: check for check in workload.get("status", {}).get("admissionChecks", [])}
        reserved, admitted = _is(workload, "QuotaReserved"), _is(workload, "Admitted")
        if job is not None and any(c.type in ("Complete", "Failed") for c in job.status.conditions or []):
            if not _is(workload, "Finished"):
                self._write(workload, checks, Finished=True)
            return
        if missing := [check for check in self.checks if check not in checks]:
            self._write(workload, checks | {check: _pending(check, "") for check in missing})
            return
        states = {check["state"] for check in checks.values()}
        if reserved and ("Retry" in states or name in self._to_evict):
            self._to_evict.discard(name)
            reset = {c: _pending(c, f"Reset to Pending. Previously: {was['state']}") for c, was in checks.items()}
            self._write(workload, reset, QuotaReserved=False, Admitted=False, Evicted=True)
            self.told[name] = checks.get(self.check, {}).get("message", "")
            self.evictions[name] += 1
        elif not reserved and active and self.has_quota:
            self._write(workload, checks, QuotaReserved=True, Evicted=False)
        elif reserved and not admitted and states <= {"Ready"}:
            self._write(workload, checks, Admitted=True)
        elif job is not None and bool(job.spec.suspend) == admitted and (self.resumes or not admitted):
            self._client.patch(Job, name, {"spec": {"suspend": not admitted}}, patch_type=PatchType.MERGE)

    def _write(self, workload: dict[str, Any], checks: dict[str, Any], **conditions: bool) -> None:
        found = {c["type"]: c for c in workload.get("status", {}).get("conditions", [])}
        for kind, status in conditions.items():
            words = {"reason": "StandIn", "message": "", "lastTransitionTime": _now()}
            found[kind] = {"type": kind, "status": str(status), **words}
        status: dict[str, Any] = {"conditions": [*found.values()], "admissionChecks": [*checks.values()]}
        if found.get("QuotaReserved", {}).get("status") == "True":
            pods = [{"name": each["name"], "count": each["count"]} for each in workload["spec"].get("podSets", [])]
            status["admission"] = {"clusterQueue": "agents", "podSetAssignments": pods}
        metadata = {key: workload["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
        body = {
            "apiVersion": f"{KUEUE_GROUP}/{KUEUE_VERSION}",
            "kind": "Workload",
            "metadata": metadata,
            "status": status,
        }
        apply = {"patch_type": PatchType.APPLY, "field_manager": "kueue-admission", "force": True}
        self._client.patch(Workload.Status, metadata["name"], body, **apply)


def _is(found: dict[str, Any], condition: str) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def _pending(check: str, message: str) -> dict[str, Any]:
    return {"name": check, "state": "Pending", "lastTransitionTime": _now(), "message": message}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
