"""Fundings with a daily budget: what they cost the API server, by this operator and by one of an earlier revision.

`python -m tests.bench.budgets 1000 --before REVISION` runs both beside one cluster, one after the other, each in a
namespace of its own, at 20 ms of latency and, with `--millicores 200`, with a container's CPU limit. What the API
server did is read from its own metrics; in the end, how many times less than before.
"""

import argparse
import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.contract import ESCROW_REQUEST_ANNOTATION, Env
from runtime.kubernetes.client import KubernetesApi
from tests.bench import operator
from tests.ports import free_port
from tests.runtime.operator import crowd
from tests.runtime.operator.world import PAYEE, PAYER, World

ROOT = Path(__file__).parents[2]
COUNT = 300
PATIENCE_SECONDS = 900
BUDGETS = {Env.NAMESPACE_BUDGET_USDC: "100000", Env.NAMESPACE_DAILY_BUDGET_USDC: "100000"}
ALL_BUDGETS = BUDGETS | {
    Env.AGENT_BUDGET_USDC: "100000",
    Env.AGENT_DAILY_BUDGET_USDC: "100000",
    Env.PAYEE_BUDGET_USDC: "100000",
    Env.PAYEE_DAILY_BUDGET_USDC: "100000",
}
OURS = re.compile(r'group="purpleflea\.com"')
HEAD = ("operator", "fundings", "a second", "CPU each", "requests each", "lists", "read", "server CPU each")


class Work:
    """What the API server has done so far for our resources."""

    def __init__(self, page: str) -> None:
        self.requests = self._sum(page, "apiserver_request_total")
        self.lists = self._sum(page, "apiserver_request_total", 'verb="LIST"')
        self.bytes = self._sum(page, "apiserver_response_sizes_sum")
        self.cpu = self._sum(page, "process_cpu_seconds_total", group=None)

    @staticmethod
    def _sum(page: str, name: str, also: str = "", group: re.Pattern[str] | None = OURS) -> float:
        lines = (line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} ")) and also in line)
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if group is None or group.search(line))


async def work(api: KubernetesApi) -> Work:
    return Work(bytes(await api.request("GET", "/metrics", accept="text/plain")).decode())


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """The sources of a revision, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", f"{place}", revision], cwd=ROOT, check=True)
        try:
            yield place
        finally:
            shutil.rmtree(place)
            subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)


@contextmanager
def serving(world: World, sources: Path, limits: dict[str, str]) -> Iterator[crowd.Cost]:
    """The operator of these sources, as in a pod but for its login."""
    settings = {Env.RESYNC_SECONDS: "3600", Env.HEALTH_PORT: f"{free_port()}", "KUBECONFIG": f"{world.kubeconfig}"}
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "runtime.operator"]
        environment = world.environment(**settings, **limits)
        process = subprocess.Popen(command, env=environment, cwd=sources, stdout=log, stderr=log)
        try:
            yield crowd.Cost(process.pid)
        finally:
            process.kill()
            process.wait()


Figures = tuple[float, ...]
FORMATS = ("{:.0f}", "{:.1f}", "{:.1f} ms", "{:.1f}", "{:.0f}", "{:.1f} MiB", "{:.1f} ms")


async def funded(
    running: operator.Bench, name: str, sources: Path, limits: dict[str, str], count: int, millicores: int | None
) -> Figures:
    """Fund so many Jobs by the operator of these sources; prints and returns its line of the table."""
    world = running.world(f"budget-{re.sub('[^a-z]+', '-', name)}", "server")
    world.sandbox.deposit(PAYER, f"{count}")
    await jobs(running.api, world, count)
    ledger = sqlite3.connect(f"file:{running.database}?mode=ro", uri=True)
    before, earlier = await work(running.api), _held(ledger)
    running.sandbox.fault("*", "delay", seconds=operator.LATENCY_SECONDS, dialect="server")
    with serving(world, sources, limits) as cost, crowd.cpu_limit(cost.pid, millicores):
        await _until(ledger, earlier + 1)
        begun, cpu_before = time.monotonic(), cost.cpu_seconds()
        await _until(ledger, earlier + count)
        seconds, cpu, after = time.monotonic() - begun, cost.cpu_seconds() - cpu_before, await work(running.api)
    running.sandbox.clear_faults()
    made = _held(ledger) - earlier
    figures = (
        made,
        made / seconds,
        cpu / made * 1000,
        (after.requests - before.requests) / made,
        after.lists - before.lists,
        (after.bytes - before.bytes) / 2**20,
        (after.cpu - before.cpu) / made * 1000,
    )
    texts = (form.format(figure) for form, figure in zip(FORMATS, figures, strict=True))
    print(f"{name:<18}" + "".join(f"{text:>16}" for text in texts), flush=True)
    return figures


def _held(ledger: sqlite3.Connection) -> int:
    return ledger.execute("SELECT COUNT(*) FROM escrows").fetchone()[0]


async def _until(ledger: sqlite3.Connection, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _held(ledger) < count and time.monotonic() < deadline:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)


async def jobs(api: KubernetesApi, world: World, count: int) -> None:
    """So many Jobs that ask for an escrow; nobody runs them."""
    template = crowd.job_manifest("asks", "esc_0")
    template["spec"]["suspend"] = True
    request = json.dumps({"payee": PAYEE, "amountUsdc": "0.10"})

    async def create(number: int) -> None:
        metadata = template["metadata"] | {
            "name": f"asks-{number}",
            "annotations": {ESCROW_REQUEST_ANNOTATION: request},
        }
        await api.create(f"/apis/batch/v1/namespaces/{world.namespace}/jobs", template | {"metadata": metadata})

    await crowd.many(create, range(count))


async def _measure(count: int, revision: str | None, millicores: int | None) -> None:
    with operator.bench() as (running, database):
        async with KubernetesApi("tests") as api:
            built = operator.Bench(running, api, database)
            print(f"{HEAD[0]:<18}" + "".join(f"{word:>16}" for word in HEAD[1:]), flush=True)
            try:
                before: Figures = ()
                if revision:
                    with checkout(revision) as place:
                        before = await funded(built, "before", place, BUDGETS, count, millicores)
                now = await funded(built, "now", ROOT, BUDGETS, count, millicores)
                await funded(built, "now, all limits", ROOT, ALL_BUDGETS, count, millicores)
                ratios = (f"{was / max(new, 1e-9):.1f}" for was, new in zip(before, now, strict=False))
                print(f"{'before / now':<18}" + "".join(f"{ratio:>16}" for ratio in ratios))
            finally:
                built.sandbox.stop()


def main(count: int = COUNT, revision: str | None = None, millicores: int | None = None) -> None:
    """Print the table."""
    asyncio.run(_measure(count, revision, millicores))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.budgets", description=__doc__.partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help="fundings")
    parser.add_argument("--before", metavar="REVISION", help="measure the operator of this revision too")
    parser.add_argument("--millicores", type=int, help="CPU limit of each operator, as of a container; needs root")
    arguments = parser.parse_args()
    main(arguments.count, arguments.before, arguments.millicores)
