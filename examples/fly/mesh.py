"""A mesh over `.internal`: services call each other, and each bills its caller, so that revenue is its own.

The caller locks the money in the callee's favour and names the escrow in the request; the callee looks at it before it
works: the private network has no authentication, an escrow shows who pays. Here both run in this process; on Fly each
is an app of its own, `transport` goes, and `http://fetcher.internal:8080` is found by Fly's DNS.
"""

import asyncio
from collections import Counter
from decimal import Decimal

import httpx
from fastapi import FastAPI, HTTPException

from examples.fly.paying import Service, escrowed, service
from runtime.errors import NotFound
from runtime.money import Usdc
from runtime.payments import EscrowStatus, PaymentsClient

PRICE = "0.10"
"""Of a call, in USDC."""


def app(name: str, client: PaymentsClient) -> FastAPI:
    """A service that works for whoever has locked its price for it, once an escrow."""
    built, used = FastAPI(), set[str]()

    @built.get("/")
    async def work(q: str, escrow: str) -> str:
        try:
            found = await client.read_escrow(escrow)
        except NotFound:
            raise HTTPException(402, "no such escrow") from None
        paid = found.amount is not None and found.amount >= Usdc.parse(PRICE) and found.payee == name
        if found.status is not EscrowStatus.LOCKED or not paid or escrow in used:
            raise HTTPException(402, f"lock {PRICE} USDC for {name} first")
        used.add(escrow)  # before anything is awaited; an agent that may crash keeps it in a ledger
        await client.complete(escrow)
        return f"{name}({q})"

    return built


async def main() -> None:
    with service() as purple_flea:
        await calls(purple_flea)


async def calls(purple_flea: Service) -> None:
    names, revenue = ("fetcher", "ranker"), Counter[str]()
    async with (
        purple_flea.client("caller", "server") as front,
        purple_flea.client("fetcher", "server") as fetcher,
        purple_flea.client("ranker", "server") as ranker,
    ):
        apps = {"fetcher": app("fetcher", fetcher), "ranker": app("ranker", ranker)}
        transport = {f"http://{name}.internal:8080": httpx.ASGITransport(apps[name]) for name in names}
        async with httpx.AsyncClient(mounts=transport, trust_env=False) as http:
            refused = await http.get("http://fetcher.internal:8080/", params={"q": "x", "escrow": "esc_0"})
            print(f"without an escrow: {refused.status_code}")
            answer = "news"
            for name in names:
                async with escrowed(front, name, PRICE, f"{name}: {answer}") as escrow:
                    asked = {"q": answer, "escrow": escrow.id}
                    answer = (await http.get(f"http://{name}.internal:8080/", params=asked)).raise_for_status().json()
                revenue[name] += 1
    print(answer)
    for name in names:
        print(f"{name}: {Decimal(PRICE) * revenue[name]} USDC from 1 caller")


if __name__ == "__main__":
    asyncio.run(main())
