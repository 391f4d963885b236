"""What the client costs per call, beside bare httpx on one connection and the guide's way, a connection a call.

The ratio is of processor time in the calling process, so a busy machine does not blur it.
"""

import asyncio
import multiprocessing
import statistics
import time

import httpx

from runtime.money import Usdc
from runtime.payments import Credentials, PaymentsClient
from tests.runtime.payments.scripted_server import Reply, scripted_server

ROUNDS, CALLS = 9, 30
ANSWER = Reply(200, {"escrow_id": "esc_1", "status": "released", "amount_released": 0.099, "commission": 0.001})
PATH = "/escrow/release/esc_1"
HEADERS = {"Authorization": "Bearer bench-key", "Content-Type": "application/json"}


def _serve(url: multiprocessing.Queue) -> None:
    async def run():
        async with scripted_server() as server:
            server.script = lambda request: ANSWER
            url.put(server.url)
            await asyncio.Event().wait()

    asyncio.run(run())


async def _seconds_per_call(call) -> tuple[float, float]:
    """Wall and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - wall) / CALLS, (time.process_time() - processor) / CALLS


async def _measure(url: str) -> dict[str, list[tuple[float, float]]]:
    amount = Usdc.parse("0.10")

    async def guide():
        # The guide's `httpx.post`: a client, and so a connection and a trust store, for every call.
        async with httpx.AsyncClient(trust_env=False) as once:
            (await once.post(url + PATH, headers=HEADERS, timeout=15)).json()

    async with (
        httpx.AsyncClient(trust_env=False, headers=HEADERS) as bare,
        PaymentsClient("server", url, Credentials("bench-key"), allow_http=True) as client,
    ):

        async def raw():
            (await bare.post(url + PATH)).raise_for_status().json()

        async def checked():
            await client.release("esc_1", amount, "ag_payee")

        ways = {"bare httpx, one connection": raw, "payments client": checked, "guide: a connection a call": guide}
        for way in ways.values():
            await way()
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):  # in turn, so that a busy machine slows all of them alike
            for name, way in ways.items():
                taken[name].append(await _seconds_per_call(way))
    return taken


def main() -> None:
    queue: multiprocessing.Queue = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(queue,), daemon=True)
    server.start()
    try:
        taken = asyncio.run(_measure(queue.get(timeout=30)))
    finally:
        server.terminate()
        server.join()
    medians = {name: [statistics.median(kind) for kind in zip(*pairs, strict=True)] for name, pairs in taken.items()}
    floor = next(iter(medians.values()))[1]
    print(f"{'release over loopback':<28}{'wall ms':>9}{'CPU ms':>9}{'CPU ratio':>11}   ({ROUNDS} x {CALLS} calls)")
    for name, (wall, processor) in medians.items():
        print(f"{name:<28}{wall * 1000:>9.2f}{processor * 1000:>9.2f}{processor / floor:>11.2f}")
