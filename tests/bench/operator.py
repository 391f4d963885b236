"""The operator beside the guide's own: with many Jobs present, and when a thousand of them end at once.

Real API server, real operators as processes of their own, the sandbox as another. `python -m tests.bench.operator
presence 1000 50000` measures one table, here with so many Jobs; `settled 50000` what so many settled works cost;
`throughput` another; without a name all.
"""

import argparse
import asyncio
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, ServiceAccount

from runtime.contract import Env
from runtime.kubernetes.client import KubernetesApi
from runtime.sandbox.testing import SandboxProcess
from tests.runtime.operator import crowd
from tests.runtime.operator.world import PAYEE, PAYER, World, eventually, install_definition
from tests.toolchain import cluster

TABLES = ("throughput", "presence", "settled")
SIZES = (1_000, 10_000)
LATENCY_SECONDS = 0.02
BURST, GUIDE_BURST = 1_000, 200
PATIENCE_SECONDS = 300
"""How long an operator may take to start; what it has done by then is printed."""
GUIDE = Path(__file__).parent / "listings" / "guide_operator.py"


class Bench:
    """A control plane, and a sandbox on a ledger with as many escrows as are needed."""

    def __init__(self, running: cluster.Cluster, api: KubernetesApi, database: Path) -> None:
        self.cluster = running
        self.api = api
        self.database = database
        self.sandbox = SandboxProcess(database)

    def escrows(self, count: int) -> list[str]:
        """New ones, locked past HTTP: the sandbox is started anew, on another port."""
        self.sandbox.stop()
        locked = crowd.lock(self.database, PAYER, PAYEE, count)
        self.sandbox = SandboxProcess(self.database)
        return locked

    def world(self, name: str, dialect: str) -> World:
        client = self.cluster.client(name)
        client.create(Namespace(metadata=ObjectMeta(name=name)))
        eventually(lambda: list(client.list(ServiceAccount)), "the namespace is ready")
        return World(self.cluster, name, client, self.sandbox, dialect)


@contextmanager
def bench() -> Iterator[tuple[cluster.Cluster, Path]]:
    name = f"bench-{os.getpid()}-operator"
    running = cluster.start("controlplane", name, os.getpid())
    try:
        install_definition(running)
        os.environ["KUBECONFIG"] = f"{running.kubeconfig}"
        with tempfile.TemporaryDirectory() as folder:
            yield running, Path(folder) / "ledger.db"
    finally:
        cluster.stop(name)


class Process(NamedTuple):
    """A running operator; `port` answers `/readyz` and `/metrics`, None where the guide's has neither."""

    pid: int
    port: int | None


@contextmanager
def ours(world: World, period: int = 300) -> Iterator[Process]:
    """Our operator; ends without a farewell, the cluster goes anyway."""
    operator = world.operator(wait=False, without=crowd.foreign_modules(), **{Env.RESYNC_SECONDS: f"{period}"})
    try:
        yield Process(operator.process.pid, operator.port)
    finally:
        operator.kill()
        if problems := [line for line in operator.log().splitlines() if "WARNING" in line or "ERROR" in line]:
            print(f"  {len(problems)} warnings, the last: {problems[-1][:200]}")


@contextmanager
def guide(world: World, period: int = 0) -> Iterator[Process]:
    """The guide's operator with the same rights; it lists once and has no period."""
    with tempfile.TemporaryFile() as log:
        environment = {"PATH": os.environ["PATH"], **world.environment(KUBECONFIG=f"{world.kubeconfig}")}
        process = subprocess.Popen([sys.executable, f"{GUIDE}"], env=environment, stdout=log, stderr=log)
        try:
            yield Process(process.pid, None)
        finally:
            process.kill()
            process.wait()


OPERATORS = {"ours": ours, "guide": guide}
Ask = Callable[[str], Awaitable[str]]


PRESENCE = ("Jobs", "operator", "ready", "paid", "at rest", "CPU", "memory", "peak", "idle CPU", "a pass", "300 s")


async def presence(running: Bench, sizes: tuple[int, ...]) -> None:
    """Memory, start and idleness beside many funded Jobs.

    Seconds from the start to ready, to the first payment and to rest; the CPU of the start; then CPU between two
    periodic passes (thousandths of a core), CPU seconds of a pass, and both together at the default period of 300 s.
    """
    print(("{:>7} {:<17}" + "{:>9}" * 9).format(*PRESENCE))
    runs = (("ours", "kubernetes"), ("ours", "server"), ("guide", "kubernetes"))
    world, present = running.world("present", "kubernetes"), 0
    for size in sizes:
        escrow_ids = running.escrows(size - present + len(runs))
        world.sandbox, present = running.sandbox, size
        jobs = await crowd.create_jobs(running.api, world.namespace, escrow_ids)
        await crowd.create_escrows(running.api, world.namespace, "kubernetes", jobs[len(runs) :])
        for (name, dialect), ended in zip(runs, jobs, strict=False):
            world.dialect = dialect
            figures = await _present(running, world, OPERATORS[name], ended, max(20, size // 500))
            print(f"{size:>7} {f'{name} {dialect}':<17}" + "".join(f"{figure:>9}" for figure in figures), flush=True)


async def _present(running: Bench, world: World, start, ended: crowd.CrowdJob, period: int) -> list[str]:
    """Start an operator beside a Job that ended while it was away."""
    await crowd.complete(running.api, world.namespace, [ended])
    payments = crowd.Payments(running.database)
    begun = time.monotonic()
    with start(world, period) as process:
        cost = crowd.Cost(process.pid)
        async with probe(process) as ask:
            ready = await _until_ready(ask, begun) if process.port else math.nan
            await payments.await_all([ended.escrow_id], PATIENCE_SECONDS)
            paid = payments.paid.get(ended.escrow_id, math.nan) - begun
            rested = await cost.quiet(PATIENCE_SECONDS)
            rest, used = (time.monotonic() - begun - 2 if rested else math.nan), cost.cpu_seconds()
            memory, _ = cost.memory_mib()
            idle, a_pass = await _idle(cost, ask if process.port else None, period)
        _, peak = cost.memory_mib()
    seconds = [f"{value:.1f} s" for value in (ready, paid, rest, used)]
    sizes = [f"{value:.0f} MiB" for value in (memory, peak)]
    return [*seconds, *sizes, f"{idle:.1f} m", f"{a_pass:.1f} s", f"{idle + a_pass / 300 * 1000:.1f} m"]


@asynccontextmanager
async def probe(process: Process) -> AsyncIterator[Ask]:
    """Asks a page of the operator; an empty text while it does not say yes."""
    async with aiohttp.ClientSession() as session:

        async def ask(page: str) -> str:
            try:
                async with session.get(f"http://127.0.0.1:{process.port}{page}") as response:
                    return await response.text() if response.ok else ""
            except aiohttp.ClientError:
                return ""

        yield ask


async def _until_ready(ask: Ask, begun: float) -> float:
    while time.monotonic() - begun < PATIENCE_SECONDS:
        if await ask("/readyz"):
            return time.monotonic() - begun
        await asyncio.sleep(0.02)
    return math.nan


async def _idle(cost: crowd.Cost, ask: Ask | None, period: int) -> tuple[float, float]:
    """CPU (thousandths of a core) late between two passes, and what a pass with its comparison takes more (s)."""
    if ask:
        await _next_list(ask)
    begun, before = time.monotonic(), cost.cpu_seconds()
    await asyncio.sleep(period / 2)
    from_here, used = time.monotonic(), cost.cpu_seconds()
    await asyncio.sleep(period / 2 - 2)
    idle = (cost.cpu_seconds() - used) / (time.monotonic() - from_here)
    if ask:
        await _next_list(ask)
    return idle * 1000, max(0.0, cost.cpu_seconds() - before - idle * (time.monotonic() - begun)) if ask else 0.0


async def _next_list(ask: Ask) -> None:
    """Until everything was listed once more."""
    seen = await _last_list(ask)
    while await _last_list(ask) == seen:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.5)


async def _last_list(ask: Ask) -> str:
    page = await ask("/metrics")
    return next((line for line in page.splitlines() if line.startswith("escrow_last_list_timestamp")), "")


async def settled(running: Bench, sizes: tuple[int, ...]) -> None:
    """Memory and start of our operator beside settled works alone, which it must not keep."""
    world = running.world("settled", "server")
    print(f"{'settled works':>14}{'ready':>9}{'CPU':>9}{'memory':>9}{'peak':>9}")
    present = 0
    for size in (0, *sizes):
        await crowd.settle_works(running.api, running.cluster, world.namespace, range(present, size))
        present, begun = size, time.monotonic()
        with ours(world) as process:
            cost = crowd.Cost(process.pid)
            async with probe(process) as ask:
                ready = await _until_ready(ask, begun)
            await cost.quiet(PATIENCE_SECONDS)
            memory, peak = cost.memory_mib()
            print(
                f"{size:>14}{ready:>7.1f} s{cost.cpu_seconds():>7.1f} s{memory:>5.0f} MiB{peak:>5.0f} MiB", flush=True
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
    escrow_ids = running.escrows(count)
    world = running.world(f"burst-{name}-{dialect}-{millicores or 'all'}", dialect)
    jobs = await crowd.create_jobs(running.api, world.namespace, escrow_ids)
    payments = crowd.Payments(running.database)
    with OPERATORS[name](world) as process:
        cost = crowd.Cost(process.pid)
        await cost.quiet()
        running.sandbox.fault("*", "delay", seconds=LATENCY_SECONDS, dialect=dialect)
        with crowd.cpu_limit(process.pid, millicores):
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


async def _measure(tables: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    with bench() as (running, database):
        async with KubernetesApi("tests") as api:
            built = Bench(running, api, database)
            try:
                if "throughput" in tables:
                    await throughput(built)
                if "presence" in tables:
                    await presence(built, sizes)
                if "settled" in tables:
                    await settled(built, sizes)
            finally:
                built.sandbox.stop()


def main(tables: tuple[str, ...] = TABLES, sizes: tuple[int, ...] = SIZES) -> None:
    """Print the tables."""
    asyncio.run(_measure(tables, sizes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.operator", description=__doc__.partition("\n")[0])
    parser.add_argument("table", nargs="?", choices=TABLES, help="only this one")
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="Jobs that are present, growing")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    main((arguments.table,) if arguments.table else TABLES, tuple(sorted(arguments.sizes)))
