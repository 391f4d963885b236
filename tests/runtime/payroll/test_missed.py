"""How many runs were left out: by Kubernetes' rule, in the hours of a clock change and with uneven schedules too."""

from datetime import UTC, datetime

import pytest

from runtime.kubernetes.shape import Metadata
from runtime.payroll.missed import CronJob, _Spec, _Status, missed


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "last", "now", "told"),
    [
        ("0 * * * *", "Etc/UTC", "2026-11-01T06:00:20", "2026-11-01T07:00:05", ""),
        ("0 * * * *", "Etc/UTC", "2026-11-01T06:00:20", "2026-11-01T10:00:05", "3 runs"),
        ("0 6,7,18 * * *", "Etc/UTC", "2026-11-01T06:00:20", "2026-11-01T18:00:05", "1 runs"),
        ("0 0 */2 * MON", "Etc/UTC", "2026-11-01T00:00:20", "2026-11-04T00:01:00", "1 runs"),
        # Berlin has no 02:30 on this day, and it is no run that was left out.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T01:30:20", "2026-03-30T00:30:05", ""),
        ("30 2,4 * * *", "Europe/Berlin", "2026-03-28T03:30:20", "2026-03-29T02:30:05", ""),
        # It has two on this one, an hour apart.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T00:30:20", "2026-10-25T01:30:05", "1 runs"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:20", "2026-10-25T01:30:05", ""),
        ("@every 90m", "Etc/UTC", "2026-11-01T06:00:00", "2026-11-01T10:30:00", "2 runs"),
        ("0 0 1 * *", "Etc/UTC", "2026-10-01T00:00:20", "2026-11-01T00:00:05", ""),
        ("0 0 1 1 *", "Asia/Kolkata", "2024-12-31T18:30:20", "2026-12-31T18:30:05", "1 runs"),
        ("0 * * * *", "Etc/UTC", "2026-10-01T00:00:20", "2026-11-01T00:00:05", "no run has succeeded since"),
    ],
)
def test_what_was_due_and_not_made_is_counted(schedule, zone, last, now, told):
    spec = _Spec(schedule=schedule, time_zone=zone)
    job = CronJob(metadata=Metadata(name="p", namespace="n"), spec=spec, status=_Status(last_successful_time=at(last)))
    said = missed(job, at(now))
    assert said.startswith(told) if told else said == "", said


def test_a_first_run_misses_none():
    job = CronJob(metadata=Metadata(name="p", namespace="n"), spec=_Spec(schedule="@hourly"))
    assert missed(job, at("2026-11-01T10:30:00")) == ""
