"""Waiting for something that will be, with a bound: an event where there is one to await is better."""

import time
from collections.abc import Callable

SECONDS = 60
POLL_SECONDS = 0.05


def until(what: str, probe: Callable[[], object], seconds: float = SECONDS, state: Callable[[], str] = str) -> None:
    """Ask `probe` until it is true; `TimeoutError` says what was awaited and the `state` things were in."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}\n{state()}")
        time.sleep(POLL_SECONDS)
