"""Inference by the token: each piece is locked before it is generated and paid once it is there.

The caller never owes more than one piece, and pays nothing for a piece that failed.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

from examples.fly.paying import escrowed, service

PIECE_TOKENS = 20
USDC_PER_TOKEN = Decimal("0.0001")
BUDGET_USDC = Decimal("0.01")


class ModelFailed(Exception):
    """The model broke off."""


def generate(prompt: str) -> Iterator[list[str]]:
    """Your model: pieces of so many tokens. This one breaks off in its fourth."""
    for number in range(1, 10):
        if number == 4:
            raise ModelFailed("out of memory")
        yield [f"{prompt}-{number}"] * PIECE_TOKENS


async def main() -> None:
    price, spent, text = USDC_PER_TOKEN * PIECE_TOKENS, Decimal(0), list[str]()
    with service() as purple_flea:
        async with purple_flea.client("caller") as client:
            pieces = generate("hello")
            try:
                while spent + price <= BUDGET_USDC:
                    async with escrowed(client, "agent", str(price), f"{PIECE_TOKENS} tokens"):
                        text += next(pieces)
                    spent += price
            except ModelFailed as error:
                print(f"{error}: that piece was taken back")
    print(f"{len(text)} tokens for {spent} USDC")


if __name__ == "__main__":
    asyncio.run(main())
