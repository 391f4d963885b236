"""Schemathesis against the sandbox's own description: no crash, and no answer that the description does not know."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from runtime.sandbox.app import OPERATIONS
from runtime.sandbox.openapi import describe
from runtime.sandbox.testing import running_sandbox

# Left out: 405 for a wrong method, because the published server answers 404, and "valid data is accepted", because a
# description cannot say that a text must be storable. That nothing works without a key is test_escrows.py's.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

schema = schemathesis.openapi.from_dict(describe(OPERATIONS))


@pytest.fixture(scope="module")
def rich():
    """A sandbox, and a header with the key of an agent who can pay."""
    with running_sandbox(claim_per_ip=False) as sandbox:
        key = sandbox.issue_key("rich")
        sandbox.deposit("rich", "100000000")
        yield sandbox, {"authorization": f"Bearer {key}"}


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_upsets_it(case, rich):
    sandbox, headers = rich
    body = case.operation.definition.raw.get("requestBody", {"required": False})
    # Unknown parameters are ignored, and a body that is no object counts as {}. In `server` a wrong type is the
    # published 500 (test_published.py has which); a crash is found all the same: its answer is no JSON.
    checks = CHECKS if body["required"] else CHECKS[:-1]
    if body != {"required": False} and case.operation.definition.raw["tags"] == ["server"]:
        checks = CHECKS[1:-1]
    case.call_and_validate(base_url=sandbox.url, headers=headers, checks=checks)


def test_the_books_balance_after_all_that(rich):
    assert rich[0].statement()["balanced"]
