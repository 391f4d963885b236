"""The Fly.io agents beside the guide's own, in both languages, at 20 ms of payment latency each way of the answer.

Requests a second and p99 at 1, 50 and 200 concurrent callers, CPU a request, memory idle and loaded, cold start, and
the ledger's writes a second. The guide's agents keep no intent: a crash loses what they locked.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import aiohttp
import psutil
from aiohttp import web

from runtime.agent.database import Database
from tests.conformance import go_agent
from tests.ports import free_port

LATENCY_SECONDS = 0.02
LOADS = ((1, 60), (50, 1000), (200, 1500))
LISTINGS = Path(__file__).parent / "listings"
ROOT = Path(__file__).parents[2]


@contextmanager
def payment_service() -> Iterator[str]:
    """Says yes to everything after 20 ms."""
    numbers, ready = count(), threading.Event()
    found: dict[str, object] = {}

    async def create(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.json_response({"escrow_id": f"esc_{next(numbers)}", "status": "pending"})

    async def release(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.json_response({"escrow_id": body["escrow_id"], "status": "released"})

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/api/escrow/create", create)
        app.router.add_post("/api/escrow/release", release)
        app.router.add_get("/health", lambda _: web.json_response({}))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        found.update(port=runner.addresses[0][1], stop=asyncio.Event(), loop=asyncio.get_running_loop())
        ready.set()
        await found["stop"].wait()  # ty: ignore[unresolved-attribute]
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait()
    yield f"http://127.0.0.1:{found['port']}"
    found["loop"].call_soon_threadsafe(found["stop"].set)  # ty: ignore[unresolved-attribute]
    thread.join()


def agents(scratch: Path, port: int) -> dict[str, list[str]]:
    """By name: the command."""
    packages = scratch / "packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages), "aiosqlite==0.22.1"]
    subprocess.run(pip, check=True)
    guide = scratch / "guide-go"
    guide.mkdir()
    (guide / "main.go").write_text((LISTINGS / "guide_fly_agent.go.txt").read_text())
    (guide / "go.mod").write_text("module guide\n\ngo 1.25.0\n")
    go_agent.run(guide, "build", "-o", "agent", ".")
    uvicorn = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.bench.listings.guide_fly_agent:app",
        "--port",
        str(port),
        "--loop",
        "asyncio",
    ]
    return {
        "guide, Python (1 worker)": [*uvicorn, "--log-level", "error"],
        "guide, Python (4 workers)": [*uvicorn, "--log-level", "error", "--workers", "4"],
        "ours, Python": [sys.executable, "-m", "runtime.agent"],
        "guide, Go": [str(guide / "agent")],
        "ours, Go": [str(go_agent.build())],
    }


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def cpu_seconds(process: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in tree(process))


def memory_mib(process: psutil.Process) -> float:
    return sum(each.memory_full_info().pss for each in tree(process)) / 2**20


async def load(url: str, callers: int, requests: int) -> tuple[float, float, int]:
    """Requests a second, p99 in ms, failures."""
    left, took, failed = iter(range(requests)), [], 0

    async def call(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        for _ in left:
            began = time.perf_counter()
            try:
                async with session.post(f"{url}/inference", json={"payer_wallet": "w", "prompt": "hello"}) as answer:
                    await answer.read()
                    failed += answer.status != 200
            except aiohttp.ClientError:
                failed += 1
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(call(session) for _ in range(callers)))
        seconds = time.perf_counter() - began
    return requests / seconds, statistics.quantiles(took, n=100)[98] * 1000, failed


async def serves(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/health"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.005)


def measure(name: str, command: list[str], service: str, port: int, scratch: Path) -> None:
    folder = scratch / name.replace(" ", "-")
    folder.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{scratch / 'packages'}",
        "ESCROW_BASE": service,
        "PF_ALLOW_HTTP": "true",
        "PF_API_KEY": "k" * 20,
        "AGENT_WALLET": "w",
        "FLY_REGION": "lhr",
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "PF_METRICS_PORT": str(free_port()),
    }
    began = time.perf_counter()
    process = psutil.Popen([*command], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(serves(url))
        start = time.perf_counter() - began
        asyncio.run(load(url, 4, 20))
        idle = memory_mib(process)
        figures, requests, before = [], 0, cpu_seconds(process)
        for callers, number in LOADS:
            rate, p99, failed = asyncio.run(load(url, callers, number))
            requests += number
            figures.append(f"{rate:5.0f}/s {p99:6.0f} ms" + (f" ({failed} failed)" if failed else ""))
        each = (cpu_seconds(process) - before) / requests * 1000
        told = f"start {start:4.2f} s, {idle:4.0f} -> {memory_mib(process):4.0f} MiB, {each:5.2f} ms CPU"
        print(f"{name:<26}{'   '.join(figures)}   {told}", flush=True)
    finally:
        for one in tree(process):
            one.terminate()
        process.wait()


def writes(scratch: Path) -> None:
    """The ledger's durable writes a second, alone and 50 at a time."""

    async def run(together: int, number: int) -> float:
        database = Database(scratch / f"writes-{together}.db")
        database.connection.execute("CREATE TABLE t (x INTEGER)")
        began = time.perf_counter()
        for _ in range(number // together):
            one = [database.write(lambda db: db.execute("INSERT INTO t VALUES (1)").rowcount) for _ in range(together)]
            await asyncio.gather(*one)
        seconds = time.perf_counter() - began
        database.close()
        return number / seconds

    for together, number in ((1, 500), (50, 10_000)):
        print(f"ledger, {together:>2} writers: {asyncio.run(run(together, number)):7.0f} durable writes/s")


def main() -> None:
    """Print a line an agent."""
    print("callers at once:           1                  50                 200")
    with tempfile.TemporaryDirectory(prefix="bench-fly-") as folder, payment_service() as service:
        scratch, port = Path(folder), free_port()
        for name, command in agents(scratch, port).items():
            measure(name, command, service, port, scratch)
        writes(scratch)
