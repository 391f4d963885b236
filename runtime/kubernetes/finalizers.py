"""Our finalizer on Jobs and Escrows: added, and removed, in one request where the object is as it was last seen."""

from collections.abc import Mapping, Sequence
from typing import Final

from runtime.contract import SETTLEMENT_FINALIZER
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ObjectNotFound, WriteConflict
from runtime.kubernetes.shape import NAMED, Json, Metadata

ATTEMPTS: Final = 10
"""Writes of an object that others write too."""


async def add_finalizer(api: KubernetesApi, path: str, seen: Metadata) -> Metadata | None:
    """Add our finalizer, so that the object stays until it is settled. See `remove_finalizer`."""
    return await _edit(api, path, seen, present=True)


async def remove_finalizer(
    api: KubernetesApi,
    path: str,
    seen: Metadata,
    *,
    annotations: dict[str, str] | None = None,
    labels: Mapping[str, str | None] | None = None,
    only_as_seen: bool = False,
) -> Metadata | None:
    """Let the object be deleted; its metadata as written, None where nothing had to be.

    An object that is gone, has no such finalizer or is another by now is left alone.

    Args:
        path: The object's.
        seen: Its metadata as last seen.
        annotations: Written in the same request.
        labels: Likewise; None takes one off.
        only_as_seen: Raise `WriteConflict` if somebody else wrote since, for what they wrote may call for it.
    """
    more: Json = {key: value for key, value in (("annotations", annotations), ("labels", labels)) if value}
    return await _edit(api, path, seen, present=False, more=more, only_as_seen=only_as_seen)


def is_held(metadata: Metadata) -> bool:
    """Whether our finalizer holds it."""
    return SETTLEMENT_FINALIZER in metadata.finalizers


async def _edit(
    api: KubernetesApi,
    path: str,
    seen: Metadata,
    *,
    present: bool,
    more: Json | None = None,
    only_as_seen: bool = False,
) -> Metadata | None:
    for attempt in range(1, ATTEMPTS + 1):
        if is_held(seen) is present:
            return None
        edit = {"resourceVersion": seen.resource_version, "finalizers": _wanted(seen.finalizers, present)}
        try:
            return await api.edit_metadata(path, {**edit, **(more or {})})
        except ObjectNotFound:
            return None
        except WriteConflict:
            if only_as_seen or attempt == ATTEMPTS:
                raise
        try:
            found = (await api.get_metadata(path, NAMED)).metadata
        except ObjectNotFound:
            return None
        if found.uid != seen.uid:
            return None
        seen = found
    return None


def _wanted(found: Sequence[str], present: bool) -> list[str]:
    rest = [finalizer for finalizer in found if finalizer != SETTLEMENT_FINALIZER]
    return [*rest, SETTLEMENT_FINALIZER] if present else rest
