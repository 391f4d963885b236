"""Writing Job objects: our finalizer, and the escrow that a suspended Job waits for. Status is the Job controller's."""

from collections.abc import Sequence
from dataclasses import replace

from runtime.contract import ESCROW_ID_ANNOTATION, SETTLED_ANNOTATION, SETTLEMENT_FINALIZER
from runtime.kubernetes.client import Json, KubernetesApi, NotFound, WriteConflict
from runtime.operator.jobs import JobFacts


class JobObjects:
    """Writes Jobs."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def hold(self, job: JobFacts) -> JobFacts:
        """Have the Job stay until its end is on record; the Job as it is then."""
        if job.finalizer or (metadata := await self._edit_finalizers(job, add=True)) is None:
            return job
        return replace(job, version=metadata["resourceVersion"], finalizers=tuple(metadata["finalizers"]))

    async def let_go(self, job: JobFacts, *, settled: bool = False) -> None:
        """Let the Job be deleted; one that is `settled` is marked so, in the same request."""
        if job.finalizer and not job.gone:
            mark = {"annotations": {SETTLED_ANNOTATION: job.uid}} if settled else None
            await self._edit_finalizers(job, add=False, more=mark)

    async def resume(self, job: JobFacts, escrow_id: str) -> int:
        """Tell a suspended Job its escrow, and have it run; one that Kueue queues is left for Kueue to resume.

        Returns the resource version at which the Job is resumed: what is older shows it suspended still.
        """
        metadata = {"uid": job.uid, "annotations": {ESCROW_ID_ANNOTATION: escrow_id}}
        run = {} if job.queued else {"spec": {"suspend": False}}
        resumed = await self._api.merge_patch(job.path, {"metadata": metadata, **run})
        return int(resumed["metadata"]["resourceVersion"])

    async def pods(self, job: JobFacts) -> list[Json]:
        """The Job's pods."""
        selector = f"batch.kubernetes.io/controller-uid={job.uid}"
        pods = self._api.list(f"/api/v1/namespaces/{job.namespace}/pods", labelSelector=selector)
        return [pod async for pod in pods]

    async def _edit_finalizers(self, job: JobFacts, *, add: bool, more: Json | None = None) -> Json | None:
        """The Job's metadata as written; None where nothing had to be.

        Most Jobs are as they were last seen; any other is read once more, and left alone if it is another by now.
        """
        try:
            try:
                return await self._write(job, job.version, job.finalizers, add=add, more=more)
            except WriteConflict:
                found = (await self._api.get(job.path))["metadata"]
                if found["uid"] != job.uid:
                    return None
                finalizers = found.get("finalizers") or ()
                return await self._write(job, found["resourceVersion"], finalizers, add=add, more=more)
        except NotFound:
            return None

    async def _write(
        self, job: JobFacts, version: str, found: Sequence[str], *, add: bool, more: Json | None
    ) -> Json | None:
        if (SETTLEMENT_FINALIZER in found) is add:
            return None
        rest = [finalizer for finalizer in found if finalizer != SETTLEMENT_FINALIZER]
        wanted = [*rest, SETTLEMENT_FINALIZER] if add else rest
        return await self._api.edit_metadata(
            job.path, {"resourceVersion": version, "finalizers": wanted, **(more or {})}
        )
