"""Much to do, and a bound on how much of it at one time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Do the work for every item, begun in their order. Raises what it raises.

    There is a task for each that is at work, not one for each item: ten thousand that wait are tens of MiB.
    """
    left = iter(items)

    async def go_on() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(go_on() for _ in range(at_once)))
