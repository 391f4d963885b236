"""A geo-localised API: each region answers in its own words and at its own price, and its revenue is told apart.

Fly's proxy brings a caller to the nearest Machine, which finds `FLY_REGION` in its environment. Every escrow carries
`metadata.fly_region`, so that the service's own records can be grouped by it as well.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

from examples.fly.paying import escrowed, service
from runtime.money import ZERO, Usdc
from runtime.payments import PaymentsClient


@dataclass(frozen=True)
class Place:
    """What a region has to say, and for how many USDC."""

    greeting: str
    usdc: str


PLACES = {"lhr": Place("Good morning", "0.002"), "nrt": Place("おはよう", "0.003"), "syd": Place("G'day", "0.001")}


async def answer(client: PaymentsClient, region: str, name: str) -> str:
    """What the Machine in that region sells."""
    place = PLACES[region]
    async with escrowed(client, "agent", place.usdc, f"greeting ({region})", fly_region=region):
        return f"{place.greeting}, {name}"


async def main() -> None:
    revenue, sold = dict.fromkeys(PLACES, ZERO), Counter[str]()
    with service() as purple_flea:
        async with purple_flea.client("caller") as client:
            for region in ("lhr", "nrt", "lhr", "syd"):
                print(await answer(client, region, "Ada"))
                revenue[region] += Usdc.parse(PLACES[region].usdc)
                sold[region] += 1
    for region, earned in revenue.items():
        print(f"{region}: {sold[region]} sold, {earned} USDC")


if __name__ == "__main__":
    asyncio.run(main())
