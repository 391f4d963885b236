"""How an Escrow is read: typed, frozen, and refused by name where it cannot be understood."""

import json
from datetime import UTC, datetime

import pytest

from runtime.contract import Phase, WorkKind
from runtime.kubernetes.errors import MalformedObject
from runtime.kubernetes.escrow import ESCROW, Ending, Escrow
from runtime.kubernetes.escrow_journals import read_record, status_of
from runtime.kubernetes.new_escrow import new_escrow
from runtime.money import Usdc
from runtime.settlement.table import ActResult, Intent, Outcome

NOW = "2026-01-01T00:00:00.123456Z"
MOMENT = datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
METADATA = {"name": "job-u-1", "namespace": "agent-jobs", "uid": "e-1", "resourceVersion": "7"}
STATUS = {
    "phase": "Settled",
    "intent": "release",
    "outcome": "Paid",
    "attempts": 1,
    "drift": True,
    "claim": "escrow-1",
    "payee": "worker-agent-007",
    "lockedUsdc": "0.10",
    "paidUsdc": "0.099",
    "feeUsdc": "0.001",
    "lockedAt": NOW,
    "decidedAt": NOW,
    "closedAt": NOW,
    "autoReleaseAt": NOW,
    "reason": "Job daily completed",
    "evidence": "all of it",
    "jobEnding": {"type": "Complete", "time": NOW, "message": "fine"},
    "creation": {"fingerprint": "f", "sentAt": NOW, "attempts": 1},
    "lastAnswer": {"kind": "accepted", "time": NOW, "status": 200},
    "conditions": [{"type": "Funded", "status": "True", "reason": "Created", "lastTransitionTime": NOW}],
    "acts": [{"who": "ann", "when": NOW, "what": "retry", "reason": "it is back"}],
}


def whole(status: dict | None = None, **spec: object) -> dict:
    agreed = {"payee": "worker-agent-007", "amount": Usdc.parse("0.10"), "escrow_id": "esc_1"}
    found = new_escrow("agent-jobs", "daily", "u-1", dialect="server", token="pf-1", **agreed)
    found["spec"] = {key: value for key, value in (found["spec"] | spec).items() if value is not None}
    return found | {"metadata": METADATA} | ({} if status is None else {"status": status})


def read(found: dict) -> Escrow:
    return ESCROW.read(json.dumps(found).encode())


def test_everything_has_its_type():
    escrow = read(whole(STATUS))
    assert (escrow.namespace, escrow.name, escrow.phase) == ("agent-jobs", "job-u-1", Phase.SETTLED)
    assert (escrow.amount, escrow.locked, escrow.paid) == (Usdc(100_000), Usdc(100_000), Usdc(99_000))
    assert escrow.ending is not None
    assert (escrow.ending.type, escrow.ending.time) == (Ending.COMPLETE, MOMENT)
    assert escrow.acts[0].who == "ann"
    assert not escrow.is_open
    with pytest.raises(AttributeError, match="immutable"):
        escrow.status.phase = Phase.PENDING


def test_what_is_not_there_is_unknown_not_nothing():
    escrow = read(whole())
    assert (escrow.phase, escrow.is_open) == (Phase.PENDING, True)
    assert (escrow.locked, escrow.paid, escrow.ending, escrow.acts) == (None, None, None, ())
    assert escrow.amount == Usdc(100_000), "agreed, though nobody has said that it is locked"
    assert read(whole(amountUsdc=None)).amount is None
    assert read(whole({"lockedUsdc": "0"})).locked == Usdc(0), "told to be nothing"


def test_a_record_is_read_as_it_was_written():
    record = read_record(read(whole(STATUS)))
    assert record is not None
    assert (record.intent, record.outcome, record.paid) == (Intent.RELEASE, Outcome.PAID, Usdc(99_000))
    assert record.answer is not None
    assert record.answer.kind is ActResult.ACCEPTED
    again = _merged(status_of(record, Phase.SETTLED))
    assert read_record(read(whole(STATUS | again))) == record
    assert read_record(read(whole({"phase": "Funded"}))) is None


def _merged(written: dict) -> dict:
    """What a merge patch leaves of it: no null."""
    kept = {key: value for key, value in written.items() if value is not None}
    return {key: _merged(value) if isinstance(value, dict) else value for key, value in kept.items()}


def test_an_account_of_the_version_before_pays_for_a_job():
    before = read(whole(work=None))
    assert before.work == read(whole(job=None)).work
    assert (before.work.kind, before.work.name, before.work.key) == (WorkKind.JOB, "daily", "u-1")


def test_a_task_is_known_by_its_id():
    work = {"kind": "Task", "name": "summary", "taskId": "t-1", "id": "summary/2026-01-01"}
    task = read(whole(job=None, work=work)).work
    assert (task.kind, task.key, task.id) == (WorkKind.TASK, "t-1", "summary/2026-01-01")


def changed(path: str, value: object) -> dict:
    found = json.loads(json.dumps(whole(STATUS)))
    part = found
    *sections, last = path.split(".")
    for section in sections:
        part = part[section]
    part[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((f"status.{name}", value) for name in ("lockedAt", "decidedAt", "closedAt", "autoReleaseAt")
          for value in ("2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00x1z", "0000-01-01T00:00:00Z", "soon", 7)),
        ("status.jobEnding.time", "2026-13-01T00:00:00Z"),
        ("status.creation.sentAt", "2026-01-01T00:00:00"),
        ("status.lastAnswer.time", ""),
        *((f"status.{name}", value) for name in ("lockedUsdc", "paidUsdc", "feeUsdc", "referralUsdc")
          for value in ("1e3", "-1", "", "0.1234567", 0.1, {"micro": 5}, "9" * 12)),
        ("spec.amountUsdc", "1,5"),
        ("status.phase", "Paid"),
        ("status.intent", "refund"),
        ("status.outcome", "Lost"),
        ("status.acts", "none"),
        ("status.jobEnding.type", "Vanished"),
        ("spec.work.kind", "Cron"),
        ("metadata.creationTimestamp", "yesterday"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named_with_its_place(path, value):
    with pytest.raises(MalformedObject) as caught:
        read(changed(path, value))
    assert str(caught.value).startswith("Escrow agent-jobs/job-u-1 cannot be read and is left alone: ")
    assert f"$.{path}" in str(caught.value)
    assert caught.value.version == "7"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (whole(job=None, work=None), "what it pays for"),
        (whole(job=None, work={"kind": "Task", "name": "n"}), "what it pays for"),
        (whole({"phase": "Verifying"}, escrowId=None), "without an escrow"),
        (whole({"phase": "Decided", "intent": "release"}), "not since when"),
        (whole() | {"metadata": []}, "metadata"),
        ({"kind": "Escrow"}, "metadata"),
    ],
)
def test_what_contradicts_itself_is_not_guessed_at(found, words):
    with pytest.raises(MalformedObject, match=words):
        read(found)
