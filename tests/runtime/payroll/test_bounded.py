"""So many at a time, in order."""

import asyncio

import pytest

from runtime.payroll.bounded import for_each


def test_no_more_are_at_work_than_may_be_and_each_is_done_once_in_order():
    begun, at_work, most = [], 0, 0

    async def work(item):
        nonlocal at_work, most
        begun.append(item)
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1

    asyncio.run(for_each(iter(range(10)), work, 3))
    assert (begun, most) == ([*range(10)], 3)


def test_what_one_raises_is_raised():
    async def work(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        asyncio.run(for_each([1], work, 3))
