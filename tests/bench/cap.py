"""A thousand Jobs, three active operators, a budget that admits a hundred: how many run. `python -m tests.bench.cap`"""

import argparse
import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack

from runtime.contract import BUDGET_NAME, Env
from runtime.kubernetes.budget import BUDGET, budgets_path
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.escrow import FUNDED, Escrow
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.money import Usdc
from tests.bench import budgets, operator
from tests.bench.budgets import ROOT, serving
from tests.runtime.operator.world import PAYER

JOBS, ADMITTED, OPERATORS = 1_000, 100, 3
AMOUNT = Usdc.parse("0.10")
PATIENCE_SECONDS = 900
QUIET_SECONDS = 130
"""A Job over a limit asks again every minute."""


def _decided(escrow: Escrow) -> str:
    told = escrow.condition(FUNDED)
    return f"{escrow.phase}" if told is None else f"{escrow.phase} {told.reason}"


async def _count(api: KubernetesApi, namespace: str, jobs: int) -> Counter[str]:
    """What became of each, once each has been decided and nothing has changed through two rounds of retries."""
    begun = changed = time.monotonic()
    before: Counter[str] = Counter()
    while True:
        found = Counter([_decided(escrow) async for escrow in EscrowObjects(api).list(namespace)])
        now = time.monotonic()
        if found != before:
            before, changed = found, now
        if found.total() == jobs and "Pending" not in found and now - changed > QUIET_SECONDS:
            print(f"settled after {changed - begun:.0f} s")
            return found
        if now - begun > PATIENCE_SECONDS:
            raise TimeoutError(f"after {PATIENCE_SECONDS} s: {found}")
        await asyncio.sleep(2)


async def _measure(jobs: int, admitted: int) -> None:
    cap = Usdc(AMOUNT.micro * admitted)
    with operator.bench() as (running, database), ExitStack() as started:
        async with KubernetesApi("tests") as api:
            built = operator.Bench(running, api, database)
            started.callback(built.sandbox.stop)
            world = built.world("cap", "server")
            world.sandbox.deposit(PAYER, f"{jobs}")
            await budgets.jobs(api, world, jobs)
            for _ in range(OPERATORS):
                started.enter_context(serving(world, ROOT, {Env.NAMESPACE_BUDGET_USDC: f"{cap}"}))
            found = await _count(api, world.namespace, jobs)
            budget = await api.get(f"{budgets_path(world.namespace)}/{BUDGET_NAME}", BUDGET)
            held = (
                sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute("SELECT COUNT(*) FROM escrows").fetchone()
            )
    print(f"{jobs} Jobs of {AMOUNT} USDC, {OPERATORS} operators, at most {cap} USDC: {dict(found)}")
    locked = budget.status.locked_usdc if budget.status else "unknown"
    print(f"escrows at the service: {held[0]}; locked by the Budget's book: {locked} USDC")


def main(jobs: int = JOBS, admitted: int = ADMITTED) -> None:
    """Print what became of the Jobs."""
    asyncio.run(_measure(jobs, admitted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cap", description=__doc__)
    parser.add_argument("jobs", nargs="?", type=int, default=JOBS)
    parser.add_argument("admitted", nargs="?", type=int, default=ADMITTED)
    arguments = parser.parse_args()
    main(arguments.jobs, arguments.admitted)
