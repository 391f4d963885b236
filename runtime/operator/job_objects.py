"""Writing Job objects: our finalizer, and the escrow that a suspended Job waits for. Status is the Job controller's."""

from collections.abc import Callable, Iterable

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
            await self._edit(job, lambda found: [*found, SETTLEMENT_FINALIZER], {})

    async def let_go(self, job: JobFacts, *, settled: bool = False) -> None:
        """Let the Job be deleted; one that is `settled` is marked so, in the same request."""
        if job.finalizer and not job.gone:
            mark = {"annotations": {SETTLED_ANNOTATION: job.uid}} if settled else {}
            await self._edit(job, lambda found: [*found], mark)

    async def resume(self, job: JobFacts, escrow_id: str) -> None:
        """Tell a suspended Job its escrow, and have it run."""
        metadata = {"uid": job.uid, "annotations": {ESCROW_ID_ANNOTATION: escrow_id}}
        await self._api.merge_patch(job.path, {"metadata": metadata, "spec": {"suspend": False}})

    async def pods(self, job: JobFacts) -> list[Json]:
        """The Job's pods."""
        selector = f"batch.kubernetes.io/controller-uid={job.uid}"
        pods = self._api.list(f"/api/v1/namespaces/{job.namespace}/pods", labelSelector=selector)
        return [pod async for pod in pods]

    async def _edit(self, job: JobFacts, finalizers: Callable[[list[str]], list[str]], more: Json) -> None:
        """Most Jobs are as they were last seen; any other is read once more, and left alone if it is another by now."""
        try:
            try:
                await self._write(job, job.version, finalizers(_others(job.finalizers)), more)
            except WriteConflict:
                found = (await self._api.get(job.path))["metadata"]
                if found["uid"] == job.uid:
                    wanted = finalizers(_others(found.get("finalizers") or ()))
                    await self._write(job, found["resourceVersion"], wanted, more)
        except NotFound:
            return

    async def _write(self, job: JobFacts, version: str, finalizers: list[str], more: Json) -> None:
        await self._api.edit_metadata(job.path, {"resourceVersion": version, "finalizers": finalizers, **more})


def _others(finalizers: Iterable[str]) -> list[str]:
    return [finalizer for finalizer in finalizers if finalizer != SETTLEMENT_FINALIZER]
