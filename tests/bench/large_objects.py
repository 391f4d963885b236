"""The operator's memory beside objects that are large, each scenario with a start of its own; a pod has 128 MiB.

Real API server, our operator as in a pod. `most` is the largest resident size from its start to the payment of a
Job beside the large ones.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace, Pod, ServiceAccount
from lightkube.types import PatchType

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION, Env
from runtime.sandbox.testing import SandboxProcess
from tests.bench import operator
from tests.runtime.operator import crowd
from tests.runtime.operator.world import World, eventually
from tests.toolchain.cluster import Cluster

MEGABYTE = 1_000_000


def plain_jobs(world: World) -> str:
    """100 Jobs of 1 MB that have nothing to do with us."""
    for number in range(100):
        world.client.create(_job(f"plain-{number}", env=" " * MEGABYTE))
    return "100 plain Jobs of 1 MB"


def annotated_jobs(world: World) -> str:
    """600 Jobs whose annotation for us is a quarter of a megabyte."""
    for number in range(600):
        key = ESCROW_ID_ANNOTATION if number % 2 else ESCROW_REQUEST_ANNOTATION
        world.client.create(_job(f"long-{number}", annotations={key: "x" * 250_000}))
    return "600 Jobs with 250 kB annotations"


def failed_pods(world: World) -> str:
    """A Job that failed with 60 pods of 0.8 MB."""
    job = world.client.create(_job("failed", annotations={ESCROW_ID_ANNOTATION: world.fund(token="by-hand-failed")}))
    labels = {"batch.kubernetes.io/controller-uid": job.metadata.uid}
    state = {"name": "main", "image": "agent:1", "imageID": "", "ready": False, "restartCount": 0}
    ended = {"terminated": {"exitCode": 3, "message": "out of cheese", "finishedAt": "2026-01-01T00:00:01Z"}}
    for number in range(60):
        container = {"name": "main", "image": "agent:1", "args": ["x" * 800_000]}
        pod = {"metadata": {"name": f"failed-{number}", "labels": labels}, "spec": {"containers": [container]}}
        world.client.create(Pod.from_dict(pod))
        status = {"phase": "Failed", "containerStatuses": [state | {"state": ended}]}
        world.client.patch(Pod.Status, f"failed-{number}", {"status": status}, patch_type=PatchType.MERGE)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kinds = ("FailureTarget", "Failed")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds]
    status = {"status": {"startTime": now, "failed": 60, "conditions": conditions}}
    world.client.patch(Job.Status, "failed", status, patch_type=PatchType.MERGE)
    return "60 failed pods of 0.8 MB"


def _job(name: str, annotations: dict | None = None, env: str = "") -> Job:
    container = {"name": "main", "image": "agent:1", "env": [{"name": "LARGE", "value": env}]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    metadata = {"name": name, "annotations": annotations or {}}
    return Job.from_dict({"metadata": metadata, "spec": {"template": template, "managedBy": "example.com/crowd"}})


SCENARIOS: tuple[Callable[[World], str], ...] = (plain_jobs, failed_pods, annotated_jobs)


def main() -> None:
    """Print a line for each scenario."""
    print(f"{'beside':<36}{'paid after':>12}{'at rest':>10}{'most':>10}{'log':>10}")
    with operator.bench() as (running, database):
        sandbox = SandboxProcess(database)
        try:
            for scenario in SCENARIOS:
                _measure(running, sandbox, scenario)
        finally:
            sandbox.stop()


def _measure(running: Cluster, sandbox: SandboxProcess, scenario: Callable[[World], str]) -> None:
    name = scenario.__name__.replace("_", "-")
    client = running.client(name)
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    eventually(lambda: list(client.list(ServiceAccount)), "the namespace is ready")
    world = World(running, name, client, sandbox, "server")
    what = scenario(world)
    process = world.operator(wait=False, without=crowd.foreign_modules(), **{Env.RESYNC_SECONDS: "300"})
    begun, cost = time.monotonic(), crowd.Cost(process.process.pid)
    escrow_id = world.fund(token=f"by-hand-{name}")
    world.job("beside", escrow_id)
    world.finish("beside")
    world.await_phase("beside", "Settled", seconds=300)
    paid = time.monotonic() - begun
    asyncio.run(cost.quiet())
    rest, most = cost.memory_mib()
    log = len(process.log())
    process.kill()
    print(f"{what:<36}{paid:>10.1f} s{rest:>6.0f} MiB{most:>6.0f} MiB{log / 1e6:>7.1f} MB", flush=True)


if __name__ == "__main__":
    main()
