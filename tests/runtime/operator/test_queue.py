"""The work queue: what the service refunds soon goes first, and one worker looks at a key at a time."""

import asyncio

import pytest

from runtime.operator.metrics import Metrics
from runtime.operator.queue import Turn, WorkQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def _turn(item: str) -> Turn:
    """`tenant/name` is a tenant's, `+...` begins something."""
    return Turn(item.strip("+").partition("/")[0] if "/" in item else "", item.startswith("+"))


async def _worked(*added: tuple[str, float | None]) -> list[str]:
    """The order in which one worker takes what was added, with its priority, before it began."""
    order: list[str] = []

    async def process(item: str) -> None:
        order.append(item)

    queue: WorkQueue[str, str] = WorkQueue(process, _turn, 1, Metrics())
    for key, refund in added:
        queue.add(key, key, *([] if refund is None else [refund]))
    stopping = asyncio.Event()
    working = asyncio.create_task(queue.run(stopping))
    await queue.until_done([key for key, _ in added])
    stopping.set()
    await working
    return order


async def test_the_nearest_refund_comes_first():
    assert await _worked(("none", None), ("late", 20.0), ("soon", 2.0)) == ["soon", "late", "none"]


async def test_one_that_waits_already_is_taken_forward_and_taken_once():
    assert await _worked(("first", None), ("second", None), ("second", 2.0)) == ["second", "first"]


async def test_tenants_take_turns_and_what_ends_something_comes_first():
    added = ["+a/1", "+a/2", "+b/1", "a/end", "a/end-2", "b/end"]
    expected = ["a/end", "b/end", "a/end-2", "+a/1", "+b/1", "+a/2"]
    assert await _worked(*((key, None) for key in added)) == expected


async def test_what_begins_something_leaves_half_of_the_workers_to_the_others():
    release, order = asyncio.Event(), list[str]()

    async def process(item: str) -> None:
        order.append(item)
        if item.startswith("+"):
            await release.wait()

    queue: WorkQueue[str, str] = WorkQueue(process, _turn, 4, Metrics())
    begun = [f"+slow/{number}" for number in range(20)]
    for key in begun:
        queue.add(key, key)
    stopping = asyncio.Event()
    working = asyncio.create_task(queue.run(stopping))
    ends = [f"other/{number}" for number in range(5)]
    for key in ends:
        queue.add(key, key)
    await queue.until_done(ends)
    assert len([item for item in order if item.startswith("+")]) == 2
    release.set()
    await queue.until_done(begun)
    assert sorted(order) == sorted(begun + ends)
    stopping.set()
    await working


async def test_one_that_waits_to_begin_and_has_ended_since_comes_with_those_that_end():
    order: list[str] = []

    async def process(item: str) -> None:
        order.append(item)

    queue: WorkQueue[str, str] = WorkQueue(process, _turn, 1, Metrics())
    for key, item in (("first", "+first"), ("second", "+second"), ("second", "second")):
        queue.add(key, item)
    stopping = asyncio.Event()
    working = asyncio.create_task(queue.run(stopping))
    await queue.until_done(["first", "second"])
    assert order == ["second", "+first"]
    stopping.set()
    await working
