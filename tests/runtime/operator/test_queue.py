"""The work queue: what the service refunds soon goes first, and one worker looks at a key at a time."""

import asyncio

import pytest

from runtime.operator.metrics import Metrics
from runtime.operator.queue import WorkQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def _worked(*added: tuple[str, float | None]) -> list[str]:
    """The order in which one worker takes what was added, with its priority, before it began."""
    order: list[str] = []

    async def process(item: str) -> None:
        order.append(item)

    queue: WorkQueue[str, str] = WorkQueue(process, 1, Metrics())
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
