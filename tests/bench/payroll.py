"""Payroll over many escrows and pods beside the guide's own loop, at 20 ms of latency and 200m of CPU.

`python -m tests.bench.payroll 1000 50`: so many escrows and pods. The guide's loop reads them all in one list and sends
one request for each, so its time is its start and that list, measured by themselves, and as often what it needs for
each of the first 200.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from aiohttp import web
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, ServiceAccount

from runtime.contract import Env
from runtime.sandbox.testing import SandboxProcess
from tests.runtime.operator import crowd
from tests.runtime.operator.world import PAYER, eventually, install_definition
from tests.runtime.payroll.pods import line
from tests.runtime.payroll.world import WALLET, PayrollWorld
from tests.toolchain import cluster

ESCROWS, PODS, GUIDES = 10_000, 500, 200
LATENCY_SECONDS = 0.02
MILLICORES = 200
GUIDE = Path(__file__).parent / "listings" / "guide_payroll.py"


@contextmanager
def worker_pods(logs: list[bytes]) -> Iterator[int]:
    """One server for the logs of all pods, each at an address of its own: 127.1.X.Y."""
    started: threading.Event = threading.Event()
    found: dict[str, object] = {}

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(LATENCY_SECONDS)
        _, _, high, low = (request.url.host or "").split(".")
        log, since = logs[int(high) * 250 + int(low) - 1], int(request.query["since"])
        return web.Response(body=log[since:], headers={"PF-Next": f"{len(log)}"})

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/work-log", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 0).start()
        found.update(port=runner.addresses[0][1], stop=asyncio.Event(), loop=asyncio.get_running_loop())
        started.set()
        await found["stop"].wait()  # ty: ignore[unresolved-attribute]
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    started.wait()
    yield int(found["port"])  # ty: ignore[invalid-argument-type]
    found["loop"].call_soon_threadsafe(found["stop"].set)  # ty: ignore[unresolved-attribute]
    thread.join()


def _ours(world: PayrollWorld, limited: bool) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, peak memory in MiB."""
    run = world.payroll(without=crowd.foreign_modules(), **{Env.LOG_LEVEL: "WARNING"})
    cost, begun, cpu, peak = crowd.Cost(run.process.pid), time.monotonic(), 0.0, 0.0
    with crowd.cpu_limit(run.process.pid, MILLICORES if limited else None):
        while run.process.poll() is None:
            try:
                cpu, (_, peak) = cost.cpu_seconds(), cost.memory_mib()
            except (OSError, StopIteration, psutil.Error):  # it has ended
                break
            time.sleep(0.05)
        code = run.wait(3600)
    assert code == 0, run.log()[-2000:]
    return time.monotonic() - begun, cpu, peak


def _guide(world: PayrollWorld, limited: bool, releases: int) -> float:
    """Wall seconds of its list and so many releases."""
    environment = {
        "PATH": os.environ["PATH"], Env.API_KEY: world.key, Env.ESCROW_URL: world.sandbox.url,
        "LIMIT": f"{releases}", "AGE": "0",
    }  # fmt: skip
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, f"{GUIDE}"], env=environment, stdout=subprocess.DEVNULL)
    with crowd.cpu_limit(process.pid, MILLICORES if limited else None):
        assert process.wait(3600) == 0
    return time.monotonic() - begun


def main(escrows: int = ESCROWS, pods: int = PODS) -> None:
    """Print one line a payroll."""
    name = f"bench-{os.getpid()}-payroll"
    running = cluster.start("controlplane", name, os.getpid())
    try:
        install_definition(running)
        with tempfile.TemporaryDirectory() as folder:
            _measure(running, Path(folder), escrows, pods)
    finally:
        cluster.stop(name)


def _measure(running: cluster.Cluster, folder: Path, escrows: int, pods: int) -> None:
    client = running.client("payroll")
    client.create(Namespace(metadata=ObjectMeta(name="payroll")))
    eventually(lambda: list(client.list(ServiceAccount)), "the namespace is ready")
    database = folder / "ledger.db"
    SandboxProcess(database).stop()  # makes the ledger
    locked = crowd.lock(database, PAYER, WALLET, escrows + GUIDES)
    world = PayrollWorld(running, "payroll", client, SandboxProcess(database), "kubernetes", folder=folder)
    limited = os.geteuid() == 0
    mine = locked[GUIDES:]  # the oldest are what the guide's loop comes to first
    logs = [b"".join(map(line, mine[number::pods])) for number in range(pods)]
    try:
        _compare(world, logs, limited)
    finally:
        world.sandbox.stop()


def _servers(world: PayrollWorld) -> dict[str, float]:
    """CPU seconds of what payroll works with, so far."""
    pids = world.cluster.processes() | {"sandbox": world.sandbox.process.pid}
    return {name: crowd.Cost(pid).cpu_seconds() for name, pid in pids.items()}


def _compare(world: PayrollWorld, logs: list[bytes], limited: bool) -> None:
    pods, escrows = len(logs), sum(log.count(b"\n") for log in logs)
    world.sandbox.fault("*", "delay", seconds=LATENCY_SECONDS, dialect="kubernetes")
    start = _guide(world, limited, 0)
    each = (_guide(world, limited, GUIDES) - start) / GUIDES
    with worker_pods(logs) as port:
        for number in range(pods):
            world.pod(f"worker-{number:04d}", port, f"127.1.{number // 250}.{number % 250 + 1}")
        before, asked = _servers(world), world.sandbox.faults()["rules"][0]["seen"]
        wall, cpu, peak = _ours(world, limited)
    guide, asked = start + each * escrows, world.sandbox.faults()["rules"][0]["seen"] - asked
    servers = {name: seconds - before[name] for name, seconds in _servers(world).items()}
    limit = f"{MILLICORES}m" if limited else "no limit"
    print(f"{escrows} escrows, {pods} pods, {LATENCY_SECONDS * 1000:.0f} ms, {limit}")
    print(f"  ours   {wall:8.1f} s  {wall / escrows * 1000:6.2f} ms each  {cpu:6.1f} s of CPU, peak {peak:.0f} MiB")
    print(f"  guide  {guide:8.1f} s  {each * 1000:6.2f} ms each over {GUIDES}, {start:.1f} s for its start and list")
    print(f"  {guide / wall:.1f} times as fast; the interpreter's start is in both")
    print(f"  {asked} requests to the service; CPU: " + ", ".join(f"{n} {s:.0f} s" for n, s in servers.items()))
    totals = world.sandbox.statement()["totals"]
    print(f"  the ledger: {totals}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
