"""Watches a collection until cancelled: list, then watch from the list's version, as every informer does.

There is no cache: the caller keeps what it needs.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError, MalformedObject
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import Shape

T = TypeVar("T")

LONGEST_DELAY_SECONDS: Final = 30.0
SHORTEST_WATCH_SECONDS: Final = 1.0
"""A watch that ends sooner and without an event counts as failed. A proxy that ends every watch at once would otherwise
be asked again without a pause."""

_log = logging.getLogger(__name__)


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str


class _Versioned(msgspec.Struct):
    metadata: _Version


_read_version = msgspec.json.Decoder(_Versioned).decode


async def watch(
    api: KubernetesApi, path: str, shape: Shape[T], seen: Callable[[T], None], version: str = "", **selectors: str
) -> None:
    """Call `seen` for every object that changed after `version`, until cancelled.

    A broken connection is resumed from the last version seen. Where the API server no longer has that version (410),
    everything is listed again. An object that cannot be read is noted and left out.

    Args:
        api: The API server.
        path: Of the collection.
        shape: What is read of each object.
        seen: Called for each, also for a deleted one (the shape is told so). It must not raise.
        version: Resource version to start from; empty: list first, and call `seen` for every object.
        selectors: `labelSelector`, `fieldSelector`.
    """
    failures = 0
    while True:
        begun, events = time.monotonic(), 0
        try:
            version = version or await _list(api, path, shape, seen, selectors)
            async for kind, raw in api.events(path, version, selectors):
                failures, events = 0, events + 1
                # Before the object is read: one that cannot be read must not be delivered again at every reconnect. A
                # BOOKMARK carries nothing but a newer version, so that a quiet watch does not run into 410.
                version = _read_version(raw).metadata.resource_version
                if kind != "BOOKMARK":
                    _tell(api, shape, seen, raw, gone=kind == "DELETED")
            if not events and time.monotonic() - begun < SHORTEST_WATCH_SECONDS:
                raise ApiUnreachable(f"WATCH {path}: it ended at once")
        except (KubernetesError, ApiUnreachable) as error:
            failures += 1
            delay = min(LONGEST_DELAY_SECONDS, 2.0**failures / 4) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            _log.warning("the watch goes on in %.1f s: %s", delay, error)
            # Only a 410 means that the version is lost. A list for each broken connection would load the API server
            # most when it has just restarted.
            if isinstance(error, KubernetesError) and error.status == 410:
                version = ""
            await asyncio.sleep(delay)


async def _list(
    api: KubernetesApi, path: str, shape: Shape[T], seen: Callable[[T], None], selectors: dict[str, str]
) -> str:
    listing = Listing(api, path, shape, selectors)
    async for found in listing:
        seen(found)
    return listing.version


def _tell(api: KubernetesApi, shape: Shape[T], seen: Callable[[T], None], raw: msgspec.Raw, *, gone: bool) -> None:
    try:
        found = shape.read(raw, gone=gone)
    except MalformedObject as error:
        api.malformed.note(error)
    else:
        seen(found)
