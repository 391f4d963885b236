"""The Fly.io agents beside the guide's own, in both languages, at a payment service that answers after 20 ms.

Each agent has one core, as Fly's smallest Machine, and its callers the other. All run side by side and take turns at
each load: served requests a second, p99, CPU a request; then memory and cold start, and what the disk allows. The
guide's agents keep no intent: a crash loses what they locked. They bound no callers either, so the Go agent's bound is
set to the most that are asked at once; the Python agent's is the guide's 50.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from runtime.agent.database import Database
from tests.conformance import go_agent
from tests.ports import free_port

LOADS = ((1, 100), (50, 1500), (200, 2000))
LISTINGS = Path(__file__).parent / "listings"
ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))


@dataclass
class Agent:
    """One of them, and what was seen of it."""

    name: str
    process: psutil.Popen
    url: str
    start_seconds: float
    idle_mib: float

    @property
    def tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self.tree)

    def memory_mib(self) -> float:
        return sum(each.memory_full_info().pss for each in self.tree) / 2**20


def built(scratch: Path, name: str) -> Path:
    """A listing in Go, as a program."""
    folder = scratch / name
    folder.mkdir()
    (folder / "main.go").write_text((LISTINGS / f"{name}.go.txt").read_text())
    (folder / "go.mod").write_text(f"module {name}\n\ngo 1.25.0\n")
    go_agent.run(folder, "build", "-o", "program", ".")
    return folder / "program"


@contextmanager
def payment_service(load: Path) -> Iterator[str]:
    """Says yes to everything after 20 ms."""
    with subprocess.Popen([load, "serve"], stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, CORES[1:] or CORES)
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def commands(scratch: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """By name: the command, and what it is told beyond the others; `PORT` stands for the port."""
    packages = scratch / "packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages), "aiosqlite==0.22.1"]
    subprocess.run(pip, check=True)
    guide = [sys.executable, "-m", "uvicorn", "tests.bench.listings.guide_fly_agent:app", "--port", "PORT"]
    guide += ["--log-level", "error", "--loop", "asyncio"]
    return {
        "guide, Python (1 worker)": (guide, {}),
        "guide, Python (4 workers)": ([*guide, "--workers", "4"], {}),
        "ours, Python": ([sys.executable, "-m", "runtime.agent"], {}),
        "guide, Go": ([str(built(scratch, "guide_fly_agent"))], {}),
        "ours, Go": ([str(go_agent.build())], {"PF_CONCURRENCY": str(max(callers for callers, _ in LOADS))}),
    }


@contextmanager
def started(name: str, command: list[str], told: dict[str, str], service: str, scratch: Path) -> Iterator[Agent]:
    """The agent, serving on one core."""
    port, folder = free_port(), scratch / name.replace(" ", "-")
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
        **told,
    }
    command = [str(port) if word == "PORT" else word for word in command]
    began, quiet = time.perf_counter(), subprocess.DEVNULL
    pinned = ["taskset", "--cpu-list", str(CORES[0]), *command]
    process = psutil.Popen(pinned, env=environment, cwd=ROOT, stdout=quiet, stderr=quiet)
    agent = Agent(name, process, f"http://127.0.0.1:{port}", 0, 0)
    try:
        serves(agent.url)
        agent.start_seconds, agent.idle_mib = time.perf_counter() - began, agent.memory_mib()
        yield agent
    finally:
        for each in agent.tree:
            each.terminate()
        process.wait()


def serves(url: str) -> None:
    with httpx.Client(trust_env=False) as http:
        while True:
            try:
                http.get(f"{url}/health")
                return
            except httpx.TransportError:
                time.sleep(0.005)


def measure(load: Path, agent: Agent, callers: int, requests: int) -> str:
    before = agent.cpu_seconds()
    command = ["taskset", "--cpu-list", str(CORES[-1]), load, "ask", agent.url, str(callers), str(requests)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    served, failed, seconds, p99 = int(told[0]), int(told[1]), float(told[2]), float(told[3])
    each = (agent.cpu_seconds() - before) / max(served, 1) * 1000
    return f"{served / seconds:5.0f}/s {p99:6.0f} ms {each:5.2f} ms CPU" + (f" {failed} failed" if failed else "")


def writes(scratch: Path) -> None:
    """The ledger's durable writes a second, alone and 50 at a time, beside what the disk syncs."""

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

    with (scratch / "synced").open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
        print(f"the disk: {200 / (time.perf_counter() - began):.0f} syncs of 4 KiB a second")
    for together, number in ((1, 500), (50, 10_000)):
        print(f"ledger, {together:>2} writers: {asyncio.run(run(together, number)):7.0f} durable writes/s")


def main() -> None:
    """Print a line an agent and load, and one an agent."""
    with tempfile.TemporaryDirectory(prefix="bench-fly-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        load = built(scratch, "fly_load")
        service = stack.enter_context(payment_service(load))
        agents = [
            stack.enter_context(started(name, *each, service, scratch)) for name, each in commands(scratch).items()
        ]
        for callers, requests in LOADS:
            print(f"{callers} at once")
            for agent in agents:
                print(f"  {agent.name:<26}{measure(load, agent, callers, requests)}", flush=True)
        for agent in agents:
            memory = f"{agent.idle_mib:4.0f} MiB idle, {agent.memory_mib():4.0f} loaded"
            print(f"{agent.name:<26}started in {agent.start_seconds:4.2f} s, {memory}")
        writes(scratch)
