"""The work that is sold, without a model: the sample, and a function of one's own, however it ends."""

import asyncio
import threading

import pytest

from runtime.agent.settings import WorkSettings
from runtime.agent.work import WorkFailed, opened, sample
from runtime.errors import BadInput

HERE = __name__
LEFT = threading.Event()


def plain(prompt):
    return {"prompt": prompt, "thread": threading.current_thread() is not threading.main_thread()}


async def later(prompt):
    await asyncio.sleep(0)
    return prompt[::-1]


async def never(_prompt):
    try:
        await asyncio.Event().wait()
    finally:
        LEFT.set()


def broken(prompt):
    raise RuntimeError(f"no {prompt}")


def done(function, prompt="hello"):
    async def run():
        async with opened(WorkSettings(function=function and f"{HERE}:{function}", seconds=1)) as work:
            return await work(prompt)

    return asyncio.run(run())


def test_a_function_may_be_async_or_block_in_a_thread_of_its_own():
    assert done("later") == "olleh"
    assert done("plain") == {"prompt": "hello", "thread": True}


@pytest.mark.parametrize(("function", "why"), [("broken", "RuntimeError: no hello"), ("never", "not done within 1 s")])
def test_work_that_fails_or_takes_too_long_is_not_done(function, why):
    with pytest.raises(WorkFailed, match=why):
        done(function)
    assert LEFT.is_set() is (function == "never")


@pytest.mark.parametrize("function", ["nothing_here", "sys:exit:now"])
def test_a_function_that_is_not_there_ends_the_start(function):
    with pytest.raises(BadInput, match="PF_TASK_CALLABLE"):
        done(function)


def test_the_sample_is_the_same_in_every_language(start, go):
    prompt = "h\u00e9llo \U0001f600"
    answer = start(command=go, OPENAI_BASE_URL="").infer(prompt)
    assert answer.json()["result"] == done(None, prompt) == asyncio.run(sample(prompt))
