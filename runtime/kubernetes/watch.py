"""Watching a collection, for as long as it takes: the plain "list, then watch from its version" of every informer.

There is no cache: whoever watches keeps what it needs.
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
"""A watch that ends sooner, without an event, has failed: a proxy that ends each would be asked without a pause."""

_log = logging.getLogger(__name__)


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str


class _Versioned(msgspec.Struct):
    metadata: _Version


_read_version = msgspec.json.Decoder(_Versioned).decode


async def watch(
    api: KubernetesApi, path: str, shape: Shape[T], seen: Callable[[T], None], version: str = "", **selectors: str
) -> None:
    """Call `seen` for every object that changed after `version`, until cancelled; without one, first for every object.

    A connection that breaks is taken up where it was; a version that the API server no longer has means a new list. An
    object that cannot be read is left out.
    """
    failures = 0
    while True:
        begun, events = time.monotonic(), 0
        try:
            version = version or await _list(api, path, shape, seen, selectors)
            async for kind, raw in api.events(path, version, selectors):
                failures, events = 0, events + 1
                version = _read_version(raw).metadata.resource_version
                if kind != "BOOKMARK":
                    _tell(api, shape, seen, raw, gone=kind == "DELETED")
            if not events and time.monotonic() - begun < SHORTEST_WATCH_SECONDS:
                raise ApiUnreachable(f"WATCH {path}: it ended at once")
        except (KubernetesError, ApiUnreachable) as error:
            failures += 1
            delay = min(LONGEST_DELAY_SECONDS, 2.0**failures / 4) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            _log.warning("the watch goes on in %.1f s: %s", delay, error)
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
