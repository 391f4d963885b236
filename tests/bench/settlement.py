"""Settlements per second of one process against the sandbox, beside the guide's loop; memory; imports.

A settlement reads, notes, releases, reads again and records. The guide's loop sends one release on a connection of its
own, one after the other, and believes whatever JSON comes back. The sandbox is a process of its own.
"""

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from runtime.money import Usdc
from runtime.payments import Credentials, EscrowRequest, PaymentsClient, escrow_token
from runtime.sandbox.testing import SandboxProcess
from runtime.settlement.driver import Settler
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.record import Case
from runtime.settlement.table import Intent, Outcome

AMOUNT = Usdc.parse("0.10")
RELEASE = {"server": "/escrow/release/{}", "kubernetes": "/api/escrow/{}/release"}
_numbers = itertools.count()


async def _cases(client, count) -> list[Case]:
    numbers = [next(_numbers) for _ in range(count)]
    orders = (EscrowRequest(payee="ag_payee", amount=AMOUNT, token=escrow_token(f"bench-{n}")) for n in numbers)
    escrows = [await client.create_escrow(order) for order in orders]
    return [
        Case(f"bench-{n}", escrow.id, Intent.RELEASE, "Job complete", AMOUNT, "ag_payee")
        for n, escrow in zip(numbers, escrows, strict=True)
    ]


async def _ours(client, cases, concurrency, journal) -> None:
    settler, slots = Settler(client, journal), asyncio.Semaphore(concurrency)

    async def one(case):
        async with slots:
            assert (await settler.settle(case)).record.outcome is Outcome.PAID

    await asyncio.gather(*(one(case) for case in cases))


async def _guide(url, key, dialect, cases) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for case in cases:
        async with httpx.AsyncClient(trust_env=False) as once:  # httpx.post makes a client a call
            answer = await once.post(url + RELEASE[dialect].format(case.escrow_id), headers=headers, timeout=15)
            answer.json()


async def _timed(work, count) -> tuple[float, float]:
    """Settlements per second, and processor milliseconds of this process for each."""
    wall, processor = time.perf_counter(), time.process_time()
    await work
    return count / (time.perf_counter() - wall), (time.process_time() - processor) / count * 1000


async def _rates(sandbox, key, dialect) -> None:
    async with PaymentsClient(dialect, sandbox.url, Credentials(key), allow_http=True) as client:
        for latency_ms in (0, 20):
            sandbox.clear_faults()
            cases = await _cases(client, 40)
            if latency_ms:
                sandbox.fault("*", "delay", seconds=latency_ms / 1000, dialect=dialect)
            base, cost = await _timed(_guide(sandbox.url, key, dialect, cases), len(cases))
            print(
                f"{dialect:<12}{latency_ms:>3} ms  {'guide, one by one':<24}{base:>8.1f}/s{1.0:>8.2f}x{cost:>9.2f} ms"
            )
            for concurrency, count in ((1, 40), (10, 120), (50, 250)):
                sandbox.clear_faults()
                cases = await _cases(client, count)
                if latency_ms:
                    sandbox.fault("*", "delay", seconds=latency_ms / 1000, dialect=dialect)
                rate, cost = await _timed(_ours(client, cases, concurrency, SqliteJournal(":memory:")), count)
                name = f"settlement, {concurrency} at once"
                print(f"{dialect:<12}{latency_ms:>3} ms  {name:<24}{rate:>8.1f}/s{rate / base:>8.2f}x{cost:>9.2f} ms")
        sandbox.clear_faults()
        if dialect == "server":
            cases = await _cases(client, 120)
            with tempfile.TemporaryDirectory() as folder:
                journal = SqliteJournal(Path(folder) / "journal.db")
                rate, cost = await _timed(_ours(client, cases, 10, journal), len(cases))
            print(f"{dialect:<12}  0 ms  {'10 at once, on disk':<24}{rate:>8.1f}/s{'':>9}{cost:>9.2f} ms")


def _start_ms(statement: str) -> tuple[float, float]:
    """Median wall and processor milliseconds of a Python that runs one statement and ends."""

    def once() -> tuple[float, float]:
        wall, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-c", statement], check=True)
        after = os.times()
        processor = after.children_user - before.children_user + after.children_system - before.children_system
        return (time.perf_counter() - wall) * 1000, processor * 1000

    walls, processors = zip(*(once() for _ in range(9)), strict=True)
    return statistics.median(walls), statistics.median(processors)


def main() -> None:
    """Print the tables."""
    with SandboxProcess() as sandbox:
        key = sandbox.issue_key("ag_bench")
        sandbox.issue_key("ag_payee")
        sandbox.deposit("ag_bench", "1000")
        before = psutil.Process().memory_info().rss
        print(f"{'dialect':<12}{'server':>6}  {'way':<24}{'rate':>10}{'ratio':>9}{'CPU each':>12}")
        for dialect in RELEASE:
            asyncio.run(_rates(sandbox, key, dialect))
        escrows = len(sandbox.statement()["escrows"])
        mib = 1024 * 1024
        grown = (psutil.Process().memory_info().rss - before) / mib
        print(f"memory: this process {before / mib:.0f} MiB, and {grown:.0f} more after {escrows} escrows;", end=" ")
        print(f"the sandbox {psutil.Process(sandbox.process.pid).memory_info().rss / mib:.0f} MiB")
    for statement in ("pass", "import httpx", "import runtime.faucet_claim"):
        wall, processor = _start_ms(statement)
        print(f"python -c '{statement}': {wall:.0f} ms wall, {processor:.0f} ms CPU")
