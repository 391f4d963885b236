"""Writing Job objects: our finalizer, and the escrow that a suspended Job waits for. Status is the Job controller's."""

from collections.abc import Sequence

from runtime.contract import ESCROW_ID_ANNOTATION, SETTLED_ANNOTATION, SETTLEMENT_FINALIZER
from runtime.operator.api import Json, KubernetesApi, NotFound, WriteConflict
from runtime.operator.jobs import JobFacts


class JobObjects:
    """Writes Jobs."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def hold(self, job: JobFacts) -> None:
        """Have the Job stay until its end is on record."""
        if not job.finalizer:
            await self._edit_finalizers(job, add=True)

    async def let_go(self, job: JobFacts, *, settled: bool = False) -> None:
        """Let the Job be deleted; one that is `settled` is marked so, in the same request."""
        if job.finalizer and not job.gone:
            mark = {"annotations": {SETTLED_ANNOTATION: job.uid}} if settled else None
            await self._edit_finalizers(job, add=False, more=mark)

    async def resume(self, job: JobFacts, escrow_id: str) -> None:
        """Tell a suspended Job its escrow, and have it run."""
        metadata = {"uid": job.uid, "annotations": {ESCROW_ID_ANNOTATION: escrow_id}}
        await self._api.merge_patch(job.path, {"metadata": metadata, "spec": {"suspend": False}})

    async def pods(self, job: JobFacts) -> list[Json]:
        """The Job's pods."""
        selector = f"batch.kubernetes.io/controller-uid={job.uid}"
        pods = self._api.list(f"/api/v1/namespaces/{job.namespace}/pods", labelSelector=selector)
        return [pod async for pod in pods]

    async def _edit_finalizers(self, job: JobFacts, *, add: bool, more: Json | None = None) -> None:
        """Most Jobs are as they were last seen; any other is read once more, and left alone if it is another by now."""
        try:
            try:
                await self._write(job, job.version, job.finalizers, add=add, more=more)
            except WriteConflict:
                found = (await self._api.get(job.path))["metadata"]
                if found["uid"] == job.uid:
                    finalizers = found.get("finalizers") or ()
                    await self._write(job, found["resourceVersion"], finalizers, add=add, more=more)
        except NotFound:
            return

    async def _write(self, job: JobFacts, version: str, found: Sequence[str], *, add: bool, more: Json | None) -> None:
        if (SETTLEMENT_FINALIZER in found) is add:
            return
        rest = [finalizer for finalizer in found if finalizer != SETTLEMENT_FINALIZER]
        wanted = [*rest, SETTLEMENT_FINALIZER] if add else rest
        await self._api.edit_metadata(job.path, {"resourceVersion": version, "finalizers": wanted, **(more or {})})
