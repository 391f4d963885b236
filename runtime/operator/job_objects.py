"""Writing Job objects: our finalizer, and the escrow that a suspended Job waits for. Status is the Job controller's."""

from dataclasses import replace
from typing import Final

from runtime.contract import ESCROW_ID_ANNOTATION, FUNDED_ANNOTATION, SETTLED_ANNOTATION, WITHHELD_ANNOTATION
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ObjectNotFound
from runtime.kubernetes.finalizers import add_finalizer, remove_finalizer
from runtime.kubernetes.listing import Listing
from runtime.operator.jobs import JOB, JobFacts
from runtime.operator.listing import FAILED_POD, FailedPod

MOST_PODS: Final = 500
"""Pods of a failed Job that are read to find out why it failed."""


class JobObjects:
    """Writes Jobs."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def hold(self, job: JobFacts) -> JobFacts:
        """Add our finalizer, so that the Job stays until its end is on record; the Job as written."""
        if job.finalizer or (metadata := await add_finalizer(self._api, job.path, job.metadata)) is None:
            return job
        return replace(job, version=metadata.resource_version, finalizers=metadata.finalizers)

    async def now(self, job: JobFacts) -> JobFacts:
        """The Job as the API server has it at this moment; `gone` where it is no longer there.

        One that has ended stays so: of a namespace that ends, its Jobs do not know yet.
        """
        if job.ending or job.gone:
            return job
        try:
            found = await self._api.get(job.path, JOB)
        except ObjectNotFound:
            return replace(job, gone=True)
        return found if found.uid == job.uid else replace(job, gone=True)

    async def remove_finalizer(self, job: JobFacts, *, settled: bool = False) -> None:
        """Remove our finalizer; with `settled` the Job is marked as settled in the same request."""
        if job.finalizer and not job.gone:
            annotations = {SETTLED_ANNOTATION: job.uid} if settled else None
            await remove_finalizer(self._api, job.path, job.metadata, annotations=annotations)

    async def resume(self, job: JobFacts, escrow_id: str) -> int:
        """Write on a suspended Job that it is funded, and resume it; one that Kueue queues is left for Kueue to resume.

        Returns the resource version at which the Job is resumed: older states show it suspended.
        """
        annotations: dict[str, str | None] = {ESCROW_ID_ANNOTATION: escrow_id, FUNDED_ANNOTATION: job.uid}
        if job.withheld:
            annotations[WITHHELD_ANNOTATION] = None
        metadata = {"uid": job.uid, "annotations": annotations}
        run = {} if job.queued else {"spec": {"suspend": False}}
        resumed = await self._api.merge_patch(job.path, {"metadata": metadata, **run})
        return int(resumed["metadata"]["resourceVersion"])

    async def end_unrun(self, job: JobFacts) -> None:
        """End a suspended Job that never ran: with no parallelism it fails at its deadline of a second, without a pod.

        So the operator needs no right to delete Jobs, and this one stays to be seen.
        """
        spec = {"parallelism": 0, "activeDeadlineSeconds": 1, "suspend": False}
        await self._api.merge_patch(job.path, {"metadata": {"uid": job.uid}, "spec": spec})

    async def withhold(self, job: JobFacts, why: str) -> JobFacts:
        """Write on a Job why it is not run; the Job as written."""
        metadata = {"uid": job.uid, "annotations": {WITHHELD_ANNOTATION: why}}
        written = await self._api.merge_patch(job.path, {"metadata": metadata})
        return replace(job, version=written["metadata"]["resourceVersion"], withheld=why)

    async def pods(self, job: JobFacts) -> list[FailedPod]:
        """The Job's pods that did not succeed."""
        pods = Listing(
            self._api,
            f"/api/v1/namespaces/{job.namespace}/pods",
            FAILED_POD,
            {
                "labelSelector": f"batch.kubernetes.io/controller-uid={job.uid}",
                "fieldSelector": "status.phase!=Succeeded",
            },
        )
        found: list[FailedPod] = []
        async for pod in pods:
            found.append(pod)
            if len(found) == MOST_PODS:
                break
        return found
