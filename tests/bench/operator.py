"""The operator beside the guide's own: with many Jobs present, and when a thousand of them end at once.

Real API server, real operators as processes of their own, the sandbox as another. `python -m tests.bench.operator
1000 10000 50000` chooses how many Jobs are present; by default 1,000 and 10,000.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, ServiceAccount

from runtime.contract import Env
from runtime.operator.api import KubernetesApi
from runtime.sandbox.testing import SandboxProcess
from tests.runtime.operator import crowd
from tests.runtime.operator.world import PAYEE, PAYER, World, eventually, install_definition
from tests.toolchain import cluster

SIZES = (1_000, 10_000)
LATENCY_SECONDS = 0.02
BURST, GUIDE_BURST = 1_000, 200
IDLE_SECONDS = 10
GUIDE = Path(__file__).parent / "listings" / "guide_operator.py"


class Bench:
    """A control plane, a sandbox and a ledger with enough escrows."""

    def __init__(self, running: cluster.Cluster, api: KubernetesApi, database: Path, escrows: int) -> None:
        self.cluster = running
        self.api = api
        self.database = database
        self._escrows = iter(crowd.lock(database, PAYER, PAYEE, escrows))
        self.sandbox = SandboxProcess(database)

    def escrows(self, count: int) -> list[str]:
        return [next(self._escrows) for _ in range(count)]

    def world(self, name: str, dialect: str) -> World:
        client = self.cluster.client(name)
        client.create(Namespace(metadata=ObjectMeta(name=name)))
        eventually(lambda: list(client.list(ServiceAccount)), "the namespace is ready")
        return World(self.cluster, name, client, self.sandbox, dialect)

    async def ended_job(self, world: World) -> crowd.CrowdJob:
        """One that ended before the operator starts."""
        (job,) = await crowd.create_jobs(self.api, world.namespace, self.escrows(1))
        await crowd.complete(self.api, world.namespace, [job])
        return job


@contextmanager
def bench(escrows: int) -> Iterator[tuple[cluster.Cluster, Path]]:
    name = f"bench-{os.getpid()}-operator"
    running = cluster.start("controlplane", name, os.getpid())
    try:
        install_definition(running)
        os.environ["KUBECONFIG"] = f"{running.kubeconfig}"
        with tempfile.TemporaryDirectory() as folder:
            yield running, Path(folder) / "ledger.db"
    finally:
        cluster.stop(name)


@contextmanager
def ours(world: World) -> Iterator[int]:
    """Our operator; ends without a farewell, the cluster goes anyway."""
    operator = world.operator(wait=False, without=crowd.foreign_modules(), **{Env.RESYNC_SECONDS: "300"})
    try:
        yield operator.process.pid
    finally:
        operator.kill()
        if problems := [line for line in operator.log().splitlines() if "WARNING" in line or "ERROR" in line]:
            print(f"  {len(problems)} warnings, the last: {problems[-1][:200]}")


@contextmanager
def guide(world: World) -> Iterator[int]:
    """The guide's operator with the same rights."""
    with tempfile.TemporaryFile() as log:
        environment = {"PATH": os.environ["PATH"], **world.environment()}
        process = subprocess.Popen([sys.executable, f"{GUIDE}"], env=environment, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait()


OPERATORS = {"ours": ours, "guide": guide}


async def presence(running: Bench, sizes: tuple[int, ...]) -> None:
    """Memory, start and idleness beside many funded Jobs."""
    print(
        f"{'Jobs':>7} {'operator':<9}{'first paid':>11}{'settled':>9}{'CPU':>9}{'memory':>9}{'peak':>8}{'idle CPU':>10}"
    )
    world, present = running.world("present", "kubernetes"), 0
    for size in sizes:
        jobs = await crowd.create_jobs(running.api, world.namespace, running.escrows(size - present))
        await crowd.create_escrows(running.api, world.namespace, "kubernetes", jobs)
        present = size
        for name, start in OPERATORS.items():
            await _present(running, world, f"{size:>7} {name:<9}", start)


async def _present(running: Bench, world: World, label: str, start) -> None:
    last = await running.ended_job(world)
    payments = crowd.Payments(running.database)
    begun = time.monotonic()
    with start(world) as pid:
        cost = crowd.Cost(pid)
        await payments.await_all([last.escrow_id], 300)
        paid = payments.paid.get(last.escrow_id, float("nan")) - begun
        await cost.quiet()
        settled, used = time.monotonic() - begun - 2, cost.cpu_seconds()
        memory, peak = cost.memory_mib()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (cost.cpu_seconds() - used) / IDLE_SECONDS * 1000
    print(
        f"{label}{paid:>9.1f} s{settled:>7.1f} s{used:>7.1f} s{memory:>6.0f}MiB{peak:>5.0f}MiB{idle:>9.1f}m", flush=True
    )


async def throughput(running: Bench) -> None:
    """Settlements a second when many Jobs end at once, and from a Job's end to its payment."""
    print(f"{'operator':<8}{'dialect':<12}{'limit':>7}{'Jobs':>6}{'rate':>9}{'p50':>8}{'p99':>8}{'CPU each':>11}")
    runs = [("guide", "kubernetes", GUIDE_BURST), ("ours", "kubernetes", BURST), ("ours", "server", BURST)]
    for millicores in (None, 200) if os.geteuid() == 0 else (None,):
        for name, dialect, count in runs:
            line = await _burst(running, name, dialect, count, millicores)
            limit = f"{millicores}m" if millicores else "none"
            print(f"{name:<8}{dialect:<12}{limit:>7}{count:>6}{line}", flush=True)


async def _burst(running: Bench, name: str, dialect: str, count: int, millicores: int | None) -> str:
    world = running.world(f"burst-{name}-{dialect}-{millicores or 'all'}", dialect)
    jobs = await crowd.create_jobs(running.api, world.namespace, running.escrows(count))
    payments = crowd.Payments(running.database)
    with OPERATORS[name](world) as pid:
        cost = crowd.Cost(pid)
        await cost.quiet()
        running.sandbox.fault("*", "delay", seconds=LATENCY_SECONDS, dialect=dialect)
        with crowd.cpu_limit(pid, millicores):
            before, begun = cost.cpu_seconds(), time.monotonic()
            done, _ = await asyncio.gather(
                crowd.complete(running.api, world.namespace, jobs),
                payments.await_all([job.escrow_id for job in jobs], 240),
            )
            await cost.quiet(60)
            each = (cost.cpu_seconds() - before) / count * 1000
        running.sandbox.clear_faults()
    waits = sorted(payments.paid[escrow] - ended for escrow, ended in done.items() if escrow in payments.paid)
    rate = len(waits) / (max(payments.paid[e] for e in done if e in payments.paid) - begun)
    missing = "" if len(waits) == count else f"  {count - len(waits)} not paid in time"
    p50, p99 = statistics.median(waits), waits[int(len(waits) * 0.99)]
    return f"{rate:>7.1f}/s{p50:>6.1f} s{p99:>6.1f} s{each:>8.2f} ms{missing}"


async def _measure(sizes: tuple[int, ...]) -> None:
    with bench(0) as (running, database):
        async with KubernetesApi() as api:
            built = Bench(running, api, database, max(sizes, default=0) + 5 * BURST + 100)
            with built.sandbox:
                await throughput(built)
                if sizes:
                    await presence(built, sizes)


def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Print the tables."""
    asyncio.run(_measure(sizes))


if __name__ == "__main__":
    main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
