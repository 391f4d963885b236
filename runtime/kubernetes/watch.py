"""Watching Jobs, the stream that every payment begins with.

kopf would do it too, at 3 ms of CPU a Job that ends and some kilobytes a Job that is there, for bookkeeping that has no
use here: the Escrows are the durable state, and the periodic list finds what a watch missed. So this is the plain
"list, then watch from its version" of every informer, without the cache.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from runtime.kubernetes.client import KubernetesApi, KubernetesError, Unreachable
from runtime.operator.jobs import JobFacts, read_job
from runtime.operator.listing import ListedJob

LONGEST_DELAY_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


def jobs_path(namespace: str) -> str:
    """Path of a namespace's Jobs at the API server."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


async def watch_jobs(api: KubernetesApi, namespace: str, version: str, seen: Callable[[JobFacts], None]) -> None:
    """Call `seen` for every Job that changed after `version`, until cancelled.

    A connection that breaks is taken up where it was; a version that the API server no longer has means a new list.
    """
    failures = 0
    while True:
        try:
            version = version or await _list(api, namespace, seen)
            async for kind, job in api.watch(jobs_path(namespace), version, ListedJob):
                failures = 0
                version = job["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    seen(read_job(job, gone=kind == "DELETED"))
        except (KubernetesError, Unreachable) as error:
            failures += 1
            delay = min(LONGEST_DELAY_SECONDS, 2.0**failures / 4) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            _log.warning("the watch goes on in %.1f s: %s", delay, error)
            if isinstance(error, KubernetesError) and error.status == 410:
                version = ""
            await asyncio.sleep(delay)


async def _list(api: KubernetesApi, namespace: str, seen: Callable[[JobFacts], None]) -> str:
    listing = api.list(jobs_path(namespace), ListedJob)
    async for job in listing:
        seen(read_job(job))
    return listing.version
