"""Retries. The error's class decides whether a request may be sent again; stamina counts and waits."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from runtime.errors import Problem, RateLimited, Retryable
from runtime.payments.model import CLAIMED_TODAY

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a `Retryable` is sent again before it reaches the caller. Nothing else is ever sent again."""

    attempts: int = 4
    deadline_seconds: float = 30.0
    """No new attempt after this long."""
    first_wait_seconds: float = 0.2
    """Doubles each time, with jitter on top."""
    longest_wait_seconds: float = 10.0
    """A service that asks to wait longer gets no further attempt; the error's `delay_seconds` tells the caller."""
    jitter_seconds: float = 0.5

    async def run(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send until it succeeds, fails for good, or the bounds are reached; raises the last error."""
        begun = time.monotonic()
        try:
            return await send()  # past stamina, whose bookkeeping takes a fifth of the CPU of a request
        except Retryable as error:
            failed = [error]
            if (left := self.deadline_seconds - (time.monotonic() - begun)) <= 0:
                raise

        async def send_again() -> T:
            if failed:
                raise failed.pop()  # what was tried already counts as stamina's first attempt
            return await send()

        import stamina  # here, because a program that need not retry need not load it

        return await stamina.AsyncRetryingCaller(
            attempts=self.attempts,
            timeout=left,
            wait_initial=self.first_wait_seconds,
            wait_max=self.longest_wait_seconds,
            wait_jitter=self.jitter_seconds,
        )(self._wait, send_again)

    def _wait(self, error: Exception) -> bool | float:
        """Say whether, or after how many seconds, to send again."""
        if not isinstance(error, Retryable):
            return False
        if isinstance(error, RateLimited) and error.code == CLAIMED_TODAY:
            return False  # one claim a day: the refusal is the outcome
        if error.problem is Problem.TOO_LARGE:
            return False  # it will not have shrunk
        if error.delay_seconds is None:
            return True
        if error.delay_seconds > self.longest_wait_seconds:
            return False
        return error.delay_seconds + random.uniform(0, self.jitter_seconds)  # noqa: S311 - jitter, no secret
