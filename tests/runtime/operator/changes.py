"""Waiting for what happens in a namespace by watching it, so that a test goes on at the moment of the change."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import lightkube
from lightkube import ApiError
from lightkube.core import decoders

RECONNECT_SECONDS = 0.2


class Changes:
    """Counts the changes of some kinds of objects in a namespace; started by the first wait.

    Each watch begins with a list, which counts as a change: a condition asked before it is asked again after it, and
    every later change arrives as an event. So none is missed, neither at the start nor after a broken connection.
    """

    def __init__(self, connect: Callable[[], lightkube.AsyncClient], kinds: tuple[Any, ...]) -> None:
        self._connect = connect
        self._kinds = kinds
        self._changed = threading.Condition()
        self._number = 0
        self._stop: Callable[[], Any] | None = None
        # Here, before there is a thread: two that decode a type for the first time at one moment end the process.
        for kind in kinds:
            decoders.decode_list(b'{"items": []}', kind)
        decoders.decode_watch_event(b'{"type": "BOOKMARK", "object": {}}')

    def eventually(self, condition: Callable[[], Any], what: str, seconds: float) -> Any:
        """The first true value of `condition`, asked now and after every change."""
        self._start()
        deadline = time.monotonic() + seconds
        while True:
            with self._changed:
                asked_at = self._number
            if found := condition():
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {seconds} s: {what}")
            with self._changed:
                self._changed.wait_for(lambda asked_at=asked_at: self._number != asked_at, left)

    def note(self) -> None:
        """Count a change that no watch sees, such as the end of a process."""
        with self._changed:
            self._number += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Close the watches; the next wait opens them again."""
        with self._changed:
            stop, self._stop = self._stop, None
        if stop:
            stop()

    def _start(self) -> None:
        with self._changed:
            if self._stop:
                return
            loop = asyncio.new_event_loop()
            watching = loop.create_task(self._watch_all())
            thread = threading.Thread(target=_run, args=(loop, watching), name="changes", daemon=True)

            def stop() -> None:
                loop.call_soon_threadsafe(watching.cancel)
                thread.join()

            self._stop = stop
            thread.start()

    async def _watch_all(self) -> None:
        client = self._connect()
        try:
            async with asyncio.TaskGroup() as group:
                for kind in self._kinds:
                    group.create_task(self._watch(client, kind))
        finally:
            await client.close()

    async def _watch(self, client: lightkube.AsyncClient, kind: Any) -> None:
        while True:
            try:
                listed = client.list(kind)
                async for _ in listed:
                    pass
                self.note()
                async for _ in client.watch(kind, resource_version=listed.resourceVersion):
                    self.note()
            except (httpx2.HTTPError, ApiError):  # the API server restarts, or no longer has that version
                await asyncio.sleep(RECONNECT_SECONDS)


def _run(loop: asyncio.AbstractEventLoop, watching: asyncio.Task[None]) -> None:
    with contextlib.closing(loop), contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(watching)
