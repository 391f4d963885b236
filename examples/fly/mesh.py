"""A mesh over `.internal`: services call each other, and each bills its caller, so that revenue is its own.

The caller locks the money in the callee's favour and names the escrow in the request; the callee looks at it before it
works: the private network has no authentication, an escrow shows who pays. Here all run in this process; on Fly each
is an app of its own, the transport goes, and `http://fetcher.internal:8080` is found by Fly's DNS.
"""

import asyncio

import httpx
from fastapi import FastAPI, HTTPException

from examples.fly.paying import Service, escrowed, service
from runtime.errors import NotFound
from runtime.money import Usdc
from runtime.payments import EscrowStatus, PaymentsClient

PRICES = {"fetcher": "0.10", "ranker": "0.25"}
"""Of a call, in USDC."""
ASKS = {"ranker": "fetcher"}
"""Whom a service asks, and pays, before it answers."""


async def call(http: httpx.AsyncClient, name: str, payer: PaymentsClient, callee: str, q: str) -> str:
    """Ask a service for its work, and pay it once it has answered."""
    async with escrowed(payer, callee, PRICES[callee], f"{callee}: {q}") as escrow:
        asked = {"q": q, "escrow": escrow.id}
        answer = (await http.get(f"http://{callee}.internal:8080/", params=asked)).raise_for_status().json()
    print(f"{name} pays {callee} {PRICES[callee]} USDC")
    return answer


def app(name: str, client: PaymentsClient, http: httpx.AsyncClient) -> FastAPI:
    """A service that works for whoever has locked its price for it, once an escrow."""
    built, used = FastAPI(), set[str]()

    @built.get("/")
    async def work(q: str, escrow: str) -> str:
        try:
            found = await client.read_escrow(escrow)
        except NotFound:
            raise HTTPException(402, "no such escrow") from None
        paid = found.amount is not None and found.amount >= Usdc.parse(PRICES[name]) and found.payee == name
        if found.status is not EscrowStatus.LOCKED or not paid or escrow in used:
            raise HTTPException(402, f"lock {PRICES[name]} USDC for {name} first")
        used.add(escrow)  # before anything is awaited; an agent that may crash keeps it in a ledger
        if name in ASKS:
            q = await call(http, name, client, ASKS[name], q)
        await client.complete(escrow)
        return f"{name}({q})"

    return built


async def main() -> None:
    with service() as purple_flea:
        await calls(purple_flea)


async def calls(purple_flea: Service) -> None:
    async with (
        purple_flea.client("caller", "server") as front,
        purple_flea.client("fetcher", "server") as fetcher,
        purple_flea.client("ranker", "server") as ranker,
    ):
        apps = FastAPI()  # by the names of their hosts, as Fly's DNS has them
        async with httpx.AsyncClient(transport=httpx.ASGITransport(apps), trust_env=False) as http:
            apps.host("fetcher.internal", app("fetcher", fetcher, http))
            apps.host("ranker.internal", app("ranker", ranker, http))
            refused = await http.get("http://fetcher.internal:8080/", params={"q": "x", "escrow": "esc_0"})
            print(f"without an escrow: {refused.status_code}")
            print(await call(http, "caller", front, "ranker", "news"))


if __name__ == "__main__":
    asyncio.run(main())
