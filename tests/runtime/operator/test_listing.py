"""A Job or Escrow as a list decodes it tells the same as the whole object."""

import json

import msgspec
import pytest

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION
from runtime.operator.jobs import job_of, read_job
from runtime.operator.listing import ListedEscrow, ListedJob
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


def test_a_listed_escrow_reads_like_the_whole_one():
    metadata = SERVER | {"name": "job-0b5c1f2e", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"job": {"name": "daily", "uid": "0b5c1f2e"}, "dialect": "server", "token": "pf-1", "escrowId": "esc_1"}
    status = {"phase": "Settled", "lockedAt": "2026-01-01T00:00:00Z", "lastAnswer": {"kind": "accepted"}}
    whole = {"metadata": metadata, "spec": spec, "status": status}
    escrow = listed(whole, ListedEscrow)
    assert job_of(escrow) == job_of(whole)
    assert (escrow["spec"], escrow["status"]) == (spec, status)
    assert "managedFields" not in escrow["metadata"]
