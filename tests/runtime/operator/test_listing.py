"""A Job as a list decodes it tells the same as the whole object, however long what others wrote on it is."""

import json

import msgspec
import pytest

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION
from runtime.kubernetes.errors import MalformedObject
from runtime.kubernetes.escrow import Ending
from runtime.operator.annotations import ESCROW_ID_LIMIT, REQUEST_LIMIT, AnnotationError, parse_request
from runtime.operator.jobs import JOB, read_job
from runtime.operator.listing import ListedJob
from tests.runtime.operator import crowd

ENDED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "has reached the limit"}
SERVER = {
    "namespace": "agent-jobs",
    "uid": "0b5c1f2e",
    "resourceVersion": "7",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "managedFields": [{"manager": "kubectl", "fieldsV1": {}}],
}


def listed(whole: dict, shape: type) -> dict:
    return msgspec.json.decode(json.dumps(whole), type=shape)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {"annotations": {ESCROW_REQUEST_ANNOTATION: "{}", "other": "x"}}, "spec": {"suspend": True}},
        {"metadata": {"annotations": {ESCROW_ID_ANNOTATION: "esc_1"}, "finalizers": ["example.com/other"]}},
        {"status": {"active": 1, "conditions": [ENDED | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}},
        {"status": {"conditions": [{"type": "Suspended", "status": "True"}, ENDED]}},
    ],
)
def test_a_listed_job_reads_like_the_whole_one(changes):
    job = crowd.job_manifest("crowd", "esc_0")
    job["metadata"] |= SERVER
    for part, values in changes.items():
        job[part] = job.get(part, {}) | values
    assert read_job(listed(job, ListedJob)) == read_job(job)
    assert len(json.dumps(listed(job, ListedJob))) < len(json.dumps(job)) / 3, "most of it is not even built"


def test_of_long_annotations_no_more_is_kept_than_tells_that_they_are_too_long():
    job = crowd.job_manifest("crowd", "esc_0")
    job["metadata"] |= SERVER
    long = {ESCROW_ID_ANNOTATION: "1" * 100_000, ESCROW_REQUEST_ANNOTATION: "[" * 100_000, "other": "x" * 100_000}
    job["metadata"]["annotations"] = long
    found = JOB.read(json.dumps(job).encode())
    assert len(found.escrow_id) == ESCROW_ID_LIMIT + 1
    assert len(found.request) == REQUEST_LIMIT + 1
    with pytest.raises(AnnotationError, match="longer than"):
        parse_request(found.request)


@pytest.mark.parametrize(
    "request_", ['{"payee": "a", "payee": "b"}', '{"payee": "a", "amountUsdc": "0.10", "amountUsdc": "5"}', "[" * 4000]
)
def test_a_request_says_one_thing(request_):
    """Which of two amounts counts is for no parser to say; and one that nobody can parse ends nothing else."""
    with pytest.raises(AnnotationError, match="is not JSON"):
        parse_request(request_)


@pytest.mark.parametrize(
    ("ended_at", "ending"), [("10:00:00", Ending.FAILED), ("10:00:01", Ending.FAILED), ("10:00:02", Ending.DELETED)]
)
def test_an_ending_that_came_after_the_deletion_is_not_trusted(ended_at, ending):
    """Its pods are deleted with it: one that had succeeded, and was not counted yet, makes the Job read Failed."""
    job = crowd.job_manifest("crowd", "esc_0")
    job["metadata"] |= SERVER | {"deletionTimestamp": "2026-01-01T10:00:01Z"}
    failed = {"type": "Failed", "status": "True", "lastTransitionTime": f"2026-01-01T{ended_at}Z"}
    job["status"] = {"conditions": [failed]}
    assert read_job(job).ending is ending


def test_a_job_with_a_time_that_is_none_is_malformed_and_named():
    """Go knows a year 0, Python does not."""
    job = crowd.job_manifest("crowd", "esc_0")
    job["metadata"] |= SERVER
    job["status"] = {"conditions": [ENDED | {"lastTransitionTime": "0000-01-01T00:00:00Z"}]}
    with pytest.raises(MalformedObject, match="Job agent-jobs/crowd cannot be read and is left alone: year 0"):
        JOB.read(json.dumps(job).encode())
