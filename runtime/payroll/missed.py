"""Runs that Kubernetes did not make: after a downtime it makes up at most one, and says nothing about the others."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import ObjectNotFound
from runtime.kubernetes.events import ObjectReference
from runtime.kubernetes.shape import Metadata, Moment, Shape
from runtime.schedule import Schedule

MOST: Final = 200
"""Runs that are counted."""


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    schedule: str
    time_zone: str = "Etc/UTC"


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    last_successful_time: Moment | None = None


class CronJob(msgspec.Struct, frozen=True):
    """Payroll's own."""

    metadata: Metadata
    spec: _Spec
    status: _Status = _Status()

    @property
    def reference(self) -> ObjectReference:
        """What an event about it names."""
        metadata = self.metadata
        return ObjectReference("batch/v1", "CronJob", metadata.namespace, metadata.name, metadata.uid)


_CRON_JOB: Final[Shape[CronJob]] = Shape.of("CronJob", CronJob)


async def read_cron_job(api: KubernetesApi, namespace: str, name: str) -> CronJob | None:
    """The CronJob; None where payroll runs without one."""
    try:
        return await api.get(f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}", _CRON_JOB)
    except ObjectNotFound:
        return None


def missed(cron_job: CronJob, now: datetime) -> str:
    """What is to be said about runs that were due since the last good one; empty where none is missing.

    The hours of a clock change are counted as they are: a time that a day does not have is no run.
    """
    last, schedule = cron_job.status.last_successful_time, Schedule.parse(cron_job.spec.schedule)
    if last is None:
        return ""
    if schedule.every_seconds:
        due = int((now - last).total_seconds() // schedule.every_seconds)
    else:
        due = schedule.runs_between(last, now, ZoneInfo(cron_job.spec.time_zone), MOST)
    if due >= MOST:
        return f"no run has succeeded since {last:%Y-%m-%dT%H:%M:%SZ}"
    if due <= 1:  # this one
        return ""
    since = f"{last:%Y-%m-%dT%H:%M:%SZ}"
    return f"{due - 1} runs that were due since {since} were not made, or failed; this one does their work"
