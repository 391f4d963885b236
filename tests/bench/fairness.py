"""How long one tenant's payment waits while another's fundings are slow, by this operator and by an earlier revision.

`python -m tests.bench.fairness 60 --before REVISION`: so many Jobs of one namespace ask for an escrow from a service
that takes two seconds for each; meanwhile a Job of another namespace completes.
"""

import argparse
import asyncio
import time
from pathlib import Path

from runtime.contract import Env
from runtime.kubernetes.client import KubernetesApi
from tests.bench import budgets, operator
from tests.bench.budgets import ROOT, checkout, serving
from tests.runtime.operator.world import World, eventually

COUNT = 60
CREATE_SECONDS = 2.0


async def waited(running: operator.Bench, name: str, sources: Path, count: int) -> float:
    """Seconds from a Job's completion to its payment, beside so many fundings."""
    busy, other = running.world(f"fair-busy-{name}", "server"), running.world(f"fair-other-{name}", "server")
    busy.let_serve(other)
    escrow_id = await asyncio.to_thread(other.fund, token=f"fairness-{name}-01")
    other.job("quick", escrow_id)
    settings = {Env.WATCH_NAMESPACE: f"{busy.namespace},{other.namespace}"}
    with serving(busy, sources, settings):
        other.await_phase("quick", "Funded")
        running.sandbox.fault("create", "delay", moment="before", seconds=CREATE_SECONDS)
        await budgets.jobs(running.api, busy, count)
        eventually(lambda: _begun(busy), "the fundings have begun")
        begun = time.monotonic()
        other.finish("quick")
        other.await_phase("quick", "Settled", seconds=300)
        seconds = time.monotonic() - begun
    running.sandbox.clear_faults()
    return seconds


def _begun(world: World) -> bool:
    return any(escrow.get("status", {}).get("creation") for escrow in world.escrows())


async def _measure(count: int, revision: str | None) -> None:
    with operator.bench() as (running, database):
        async with KubernetesApi("tests") as api:
            built = operator.Bench(running, api, database)
            try:
                print(f"a payment beside {count} fundings of {CREATE_SECONDS:.0f} s each in another namespace:")
                if revision:
                    with checkout(revision) as place:
                        print(f"  before: {await waited(built, 'before', place, count):.1f} s", flush=True)
                print(f"  now:    {await waited(built, 'now', ROOT, count):.1f} s", flush=True)
            finally:
                built.sandbox.stop()


def main(count: int = COUNT, revision: str | None = None) -> None:
    """Print how long it waited."""
    asyncio.run(_measure(count, revision))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fairness", description=__doc__.partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=COUNT, help="fundings")
    parser.add_argument("--before", metavar="REVISION", help="measure the operator of this revision too")
    arguments = parser.parse_args()
    main(arguments.count, arguments.before)
