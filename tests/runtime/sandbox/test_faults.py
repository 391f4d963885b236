"""Every fault, seen from the other end of the socket."""

import socket
import time

import httpx
import pytest

from runtime.sandbox.faults import Fault


@pytest.fixture
def payer(as_agent):
    return as_agent("payer", "10.00")


def create(payer):
    return payer.post("/api/escrow", json={"payee_id": "w", "amount": 1, "terms_hash": "t"}).json()["escrow_id"]


def paid(sandbox):
    return sandbox.statement()["totals"]["paid"]


def exchange(sandbox, method="GET", path="/health"):
    """One request over a bare socket; returns every byte of the answer, or the exception that ended it."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize(("moment", "expected"), [("before", "0.00"), ("between", "0.99"), ("after", "0.99")])
def test_a_reset_is_a_reset_and_its_moment_decides_what_was_done(sandbox, payer, moment, expected):
    escrow_id = create(payer)
    sandbox.fault("release", "reset", moment=moment, nth=1)
    with pytest.raises(httpx.ReadError, match="reset"):
        payer.post(f"/api/escrow/{escrow_id}/release")
    assert paid(sandbox) == expected
    again = payer.post(f"/api/escrow/{escrow_id}/release").status_code
    assert again == {"before": 200, "between": 500, "after": 409}[moment]


def test_a_reset_is_tcps_own(sandbox):
    sandbox.fault("health", "reset")
    with pytest.raises(ConnectionResetError):
        exchange(sandbox)


def test_half_an_answer_ends_in_the_middle_of_its_body(sandbox):
    whole = exchange(sandbox)
    sandbox.fault("health", "half", moment="after", times=1)
    half = exchange(sandbox)
    head, _, body = half.partition(b"\r\n\r\n")
    assert (
        f"content-length: {len(body) * 2}".encode() in head or f"content-length: {len(body) * 2 + 1}".encode() in head
    )
    assert len(half) < len(whole)
    assert exchange(sandbox)[-10:] == whole[-10:]


def test_a_duplicated_answer_is_there_twice(sandbox):
    sandbox.fault("health", "duplicate", moment="after", times=1)
    assert exchange(sandbox).count(b'"status":"ok"') == 2


@pytest.mark.parametrize(
    ("kind", "rule", "status", "content_type", "body"),
    [
        ("status", {"status": 503, "headers": {"retry-after": "7"}}, 503, "application/json", b'{"error":"internal'),
        ("status", {"status": 302, "headers": {"location": "/x"}, "body": {}}, 302, "application/json", b"{}"),
        ("html", {}, 502, "text/html", b"<!DOCTYPE html>"),
        ("html", {"status": 200, "moment": "after"}, 200, "text/html", b"<!DOCTYPE html>"),
        ("empty", {"moment": "after"}, 200, "application/json", b""),
        ("content_type", {"moment": "after"}, 200, "text/plain; charset=utf-8", b'{"status":"ok"'),
        ("replace", {"moment": "after", "body": {"status": "exploded"}}, 200, "application/json", b'{"status":"expl'),
    ],
)  # fmt: skip
def test_another_answer_takes_the_true_ones_place(sandbox, anyone, kind, rule, status, content_type, body):
    sandbox.fault("health", kind, **rule)
    answer = anyone.get("/health")
    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    assert answer.content.startswith(body)
    assert bool(answer.content) is bool(body)
    for name, value in rule.get("headers", {}).items():
        assert answer.headers[name] == value


def test_a_large_answer_is_beyond_ten_megabytes(sandbox, anyone):
    sandbox.fault("health", "large", moment="after")
    assert len(anyone.get("/health").content) > 10 * 1024 * 1024


@pytest.mark.parametrize(("moment", "expected"), [("before", "0.00"), ("after", "0.99")])
def test_a_delay_holds_back_the_act_or_only_its_answer(sandbox, payer, moment, expected):
    escrow_id = create(payer)
    sandbox.fault("release", "delay", moment=moment, seconds=1.0, nth=1)
    with pytest.raises(httpx.ReadTimeout):
        payer.post(f"/api/escrow/{escrow_id}/release", timeout=0.5)
    assert paid(sandbox) == expected
    deadline = time.monotonic() + 20  # whoever gave up waiting is still paid for: the act is only late
    while paid(sandbox) != "0.99" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert paid(sandbox) == "0.99"
    assert payer.post(f"/api/escrow/{escrow_id}/release").status_code == 409


def test_rules_choose_the_call(sandbox, anyone):
    def statuses(count):
        return [anyone.get("/health").status_code for _ in range(count)]

    sandbox.fault("health", nth=2)
    assert statuses(3) == [200, 500, 200]
    sandbox.clear_faults()
    sandbox.fault("health", every=2, times=2)
    assert statuses(6) == [200, 500, 200, 500, 200, 200]
    sandbox.clear_faults()
    sandbox.fault("*", dialect="fly")
    assert statuses(2) == [200, 200]
    sandbox.clear_faults()
    sandbox.fault("health", probability=0.5, seed=1)
    first = statuses(20)
    sandbox.clear_faults()
    sandbox.fault("health", probability=0.5, seed=1)
    assert statuses(20) == first
    assert 0 < first.count(500) < 20
    assert sandbox.faults()["rules"][0]["injected"] == first.count(500)


def test_what_was_injected_stays_on_record(sandbox, anyone):
    sandbox.fault("health", "empty", nth=1)
    anyone.get("/health")
    sandbox.clear_faults()
    record = sandbox.faults()
    assert (record["rules"], record["injected"], record["recent"][0]["kind"]) == ([], 1, "empty")
    assert 'sandbox_faults_total{kind="empty",operation="health"} 1.0' in anyone.get("/metrics").text


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "operation is missing"),
        ({"operation": "read", "kind": "explode"}, "explode"),
        ({"operation": "read", "moment": "between"}, "only a release"),
        ({"operation": "read", "nth": 0}, "nth is 0"),
        ({"operation": "read", "nth": "2"}, "nth is '2'"),
        ({"operation": "read", "probability": 2}, "from 0 to 1"),
        ({"operation": "read", "status": 99}, "from 200 to 599"),
        ({"operation": "read", "kind": "replace"}, "replace needs a body"),
        ({"operation": "read", "headers": {"retry-after": 7}}, "object of texts"),
        ({"operation": "read", "probability": "often"}, "from 0 to 1"),
        ({"operation": "read", "oops": 1}, "unknown field oops"),
    ],
)
def test_a_rule_that_cannot_be_says_what_is_wrong(sandbox, anyone, document, says):
    headers = {"authorization": f"Bearer {sandbox.admin_token}"}
    answer = anyone.post("/admin/faults", json=document, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_fault")
    assert says in answer.json()["message"]


def test_admin_needs_its_token_and_no_rule_can_lock_it_out(sandbox, anyone):
    key = sandbox.issue_key("agent")
    for token in (None, "wrong", key):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        assert anyone.get("/admin/faults", headers=headers).status_code == 401
    sandbox.fault("*", "reset")
    sandbox.clear_faults()
    assert anyone.get("/health").status_code == 200


def test_a_fault_has_the_same_fields_in_process():
    assert Fault("release", "reset", moment="after", nth=3).summary()["kind"] == "reset"
