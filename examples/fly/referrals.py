"""A referral network: who brings an agent gets 15 % of the fee of each escrow that this agent creates.

A recruiter brings the first agent, which brings the second. The first takes the faucet's dollar and pays the second,
which pays a third party: each create carries the code of the one who brought its payer.
"""

import asyncio
import secrets
from dataclasses import dataclass

import httpx

from examples.fly.paying import Service, service
from runtime.money import Usdc
from runtime.payments import Credentials, EscrowRequest


@dataclass(frozen=True)
class Agent:
    """One that the service has made: its id, its key, the code by which it brings others, and who brought it."""

    name: str
    agent_id: str
    key: str
    code: str
    brought_by: "Agent | None" = None


async def register(http: httpx.AsyncClient, name: str, brought_by: Agent | None = None) -> Agent:
    body = {"referral_code": brought_by.code} if brought_by else {}
    made = (await http.post("/api/v1/auth/register", json=body)).raise_for_status().json()
    return Agent(name, made["agent_id"], made["api_key"], made["referral_code"], brought_by)


async def pay(purple_flea: Service, payer: Agent, payee: Agent, usdc: str, *, claims: bool = False) -> None:
    code = payer.brought_by.code if payer.brought_by else None
    async with purple_flea.client(Credentials(payer.key), "server") as client:
        if claims:
            print(f"{payer.name}: faucet {(await client.claim(payer.agent_id)).outcome}")
        token = f"example-{secrets.token_hex(8)}"
        order = EscrowRequest(payee=payee.agent_id, amount=Usdc.parse(usdc), token=token, referral_code=code)
        escrow = await client.create_escrow(order)
        paid = await client.release(escrow.id, order.amount, order.payee)
    referrer = payer.brought_by.name if payer.brought_by else "nobody"
    print(f"{payer.name} pays {payee.name} {usdc}: fee {paid.fee}, of which {referrer} gets {paid.referral}")


async def main() -> None:
    with service() as purple_flea:
        async with httpx.AsyncClient(base_url=purple_flea.url, trust_env=False) as http:
            recruiter, worker = await register(http, "recruiter"), await register(http, "worker")
            first = await register(http, "first", recruiter)
            second = await register(http, "second", first)
        await pay(purple_flea, first, second, "0.50", claims=True)
        await pay(purple_flea, second, worker, "0.40")


if __name__ == "__main__":
    asyncio.run(main())
