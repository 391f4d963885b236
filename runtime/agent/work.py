"""What is done for a prompt: a function, a model behind an OpenAI-compatible endpoint, or a small sample."""

import asyncio
import hashlib
import importlib
import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from runtime.agent.settings import WorkSettings
from runtime.contract import Env
from runtime.errors import BadInput
from runtime.redaction import excerpt

Work = Callable[[str], Awaitable[Any]]
"""From a prompt to a result that JSON can hold."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a model's answer."""


class WorkFailed(Exception):
    """It was not done, or not in time; the message may be shown to the caller."""


@asynccontextmanager
async def opened(settings: WorkSettings) -> AsyncGenerator[Work]:
    """The work, bounded in time; within the block it may keep connections.

    Raises:
        BadInput: There is no such function.
    """
    if settings.model_url:
        async with _model(settings, settings.model_url) as work:
            yield _bounded(work, settings.seconds)
    elif settings.function:
        yield _bounded(_function(settings.function), settings.seconds)
    else:
        yield _bounded(sample, settings.seconds)


async def sample(prompt: str) -> str:
    """Count the characters of a prompt, and fingerprint it: something small, true, and the same in every language."""
    return f"{len(prompt)} characters, sha256 {hashlib.sha256(prompt.encode()).hexdigest()}"


def _bounded(work: Work, seconds: int) -> Work:
    async def bounded(prompt: str) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await work(prompt)
        except TimeoutError:
            raise WorkFailed(f"not done within {seconds} s") from None
        except WorkFailed:
            raise
        except Exception as error:
            raise WorkFailed(excerpt(f"{type(error).__name__}: {error}", 300)) from error

    return bounded


def _function(name: str) -> Work:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{Env.TASK_CALLABLE} is {name!r}: {error}") from None

    async def call(prompt: str) -> Any:
        # A plain function may block, and must not hold up the payments of others.
        found = function(prompt) if inspect.iscoroutinefunction(function) else asyncio.to_thread(function, prompt)
        return await found

    return call


@asynccontextmanager
async def _model(settings: WorkSettings, url: str) -> AsyncGenerator[Work]:
    import httpx  # here: only this kind of work needs it

    headers = {"Authorization": f"Bearer {settings.model_key}"} if settings.model_key else {}
    unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(headers=headers, timeout=None, limits=unbounded) as client:  # noqa: S113 - see _bounded

        async def ask(prompt: str) -> Any:
            body = {"model": settings.model, "messages": [{"role": "user", "content": prompt}]}
            content = bytearray()
            async with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
                if answer.status_code != 200:
                    raise WorkFailed(f"the model's endpoint answered {answer.status_code}")
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > MOST_BYTES:
                        raise WorkFailed(f"the model's answer is longer than {MOST_BYTES} bytes")
            found = json.loads(content)
            try:
                text = found["choices"][0]["message"]["content"]
            except (KeyError, IndexError, TypeError):
                text = None
            if not isinstance(text, str):
                raise WorkFailed("the model's answer has no choices[0].message.content")
            return text

        yield ask
