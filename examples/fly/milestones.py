"""A subscription by milestones: the next one is locked when the last one was delivered, and it ends at any time.

What is locked is never more than one milestone; one that is not delivered costs nothing and ends the subscription.
"""

import asyncio
from dataclasses import dataclass

from examples.fly.paying import escrowed, service


@dataclass(frozen=True)
class Milestone:
    """A part of the subscription, and what it costs in USDC."""

    name: str
    usdc: str
    delivered: bool = True


PLAN = (
    Milestone("week 1: the crawl", "0.10"),
    Milestone("week 2: the index", "0.10"),
    Milestone("week 3: the report", "0.15", delivered=False),
    Milestone("week 4: the review", "0.05"),
)


class NotDelivered(Exception):
    """What was agreed did not come."""


async def deliver(milestone: Milestone) -> None:
    """Your agent's work, and your own look at it."""
    if not milestone.delivered:
        raise NotDelivered(milestone.name)


async def main() -> None:
    with service() as purple_flea:
        async with purple_flea.client("caller") as client:
            try:
                for milestone in PLAN:
                    async with escrowed(client, "agent", milestone.usdc, milestone.name):
                        await deliver(milestone)
                    print(f"{milestone.name}: {milestone.usdc} USDC")
            except NotDelivered as error:
                print(f"{error}: not delivered, taken back; the subscription ends")


if __name__ == "__main__":
    asyncio.run(main())
