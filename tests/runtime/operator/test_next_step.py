"""Every state of a Job and its Escrow has one next step; a table, and what holds for all states."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runtime.contract import SETTLEMENT_FINALIZER, Phase, WorkKind
from runtime.kubernetes.escrow import CreationNote, Ending, Escrow, JobEnding, LatestRun, Spec, Status, Work
from runtime.kubernetes.shape import Metadata
from runtime.operator.jobs import JobFacts
from runtime.operator.next_step import Step, next_step
from runtime.settlement.table import Intent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = JobFacts(
    namespace="agent-jobs",
    name="job",
    uid="uid-1",
    escrow_id=None,
    request=None,
    suspended=False,
    queued=False,
    ending=None,
    ending_message="",
    ended_at=None,
    created_at="2026-01-01T00:00:00Z",
    version="1",
    finalizers=(),
    settled=False,
    deleting=False,
    gone=False,
)
HELD = replace(PLAIN, request="{}", suspended=True, finalizers=(SETTLEMENT_FINALIZER,))
RUNS = replace(HELD, suspended=False, escrow_id="esc_1")
COMPLETE = replace(RUNS, ending=Ending.COMPLETE, ended_at=NOW)
FAILED = replace(RUNS, ending=Ending.FAILED, ended_at=NOW)
DELETED = replace(RUNS, ending=Ending.DELETED, deleting=True)
GONE = replace(RUNS, ending=None, deleting=True, gone=True)


def escrow(phase: Phase, escrow_id: str | None = "esc_1", **status) -> Escrow:
    work = Work(kind=WorkKind.JOB, name="job", uid="uid-1")
    spec = Spec(dialect="server", token="token-0001", work=work, escrow_id=escrow_id)
    return Escrow(metadata=Metadata(name="job-uid-1"), spec=spec, status=Status(phase=phase, **status))


NO_ID, BROUGHT = escrow(Phase.PENDING, None), escrow(Phase.PENDING)
FUNDED = escrow(Phase.FUNDED)
RECORDED = escrow(Phase.FUNDED, job_ending=JobEnding(type=Ending.COMPLETE, time=NOW))
RETRIED = escrow(Phase.FUNDED, intent=Intent.RELEASE, decided_at=NOW)
SENT = escrow(Phase.PENDING, None, creation=CreationNote(fingerprint="f", sent_at=NOW, attempts=1))

TABLE = [
    (PLAIN, None, Step.NOTHING),
    (replace(PLAIN, ending=Ending.COMPLETE, finalizers=(SETTLEMENT_FINALIZER,)), None, Step.FORGET),
    (HELD, None, Step.OPEN_ACCOUNT),
    (COMPLETE, None, Step.OPEN_ACCOUNT),
    (replace(HELD, finalizers=()), NO_ID, Step.HOLD),
    (replace(GONE, finalizers=()), NO_ID, Step.FUND),
    (HELD, NO_ID, Step.FUND),
    (HELD, SENT, Step.FUND),
    (DELETED, NO_ID, Step.FUND),
    (HELD, BROUGHT, Step.BIND),
    (HELD, FUNDED, Step.RESUME),
    (replace(HELD, escrow_id="esc_1"), FUNDED, Step.RESUME),
    (replace(HELD, queued=True), FUNDED, Step.RESUME),
    (replace(HELD, queued=True, escrow_id="esc_1"), FUNDED, Step.RESUME),
    (replace(HELD, queued=True, escrow_id="esc_1", funded=True), FUNDED, Step.NOTHING),
    (RUNS, FUNDED, Step.NOTHING),
    (replace(RUNS, finalizers=()), FUNDED, Step.HOLD),
    (COMPLETE, FUNDED, Step.SETTLE),
    (FAILED, FUNDED, Step.SETTLE),
    (DELETED, FUNDED, Step.SETTLE),
    (GONE, FUNDED, Step.REVIEW),
    (replace(DELETED, gone=True), FUNDED, Step.REVIEW),
    (replace(COMPLETE, gone=True), FUNDED, Step.SETTLE),
    (replace(COMPLETE, gone=True), RECORDED, Step.SETTLE),
    (RUNS, RETRIED, Step.SETTLE),
    (RUNS, escrow(Phase.DECIDED), Step.SETTLE),
    (GONE, escrow(Phase.VERIFYING), Step.SETTLE),
    (COMPLETE, escrow(Phase.SETTLED), Step.CLOSE),
    (RUNS, escrow(Phase.NEEDS_REVIEW, None), Step.CLOSE),
]


@pytest.mark.parametrize(("job", "found", "step"), TABLE)
def test_each_state_has_its_next_step(job, found, step):
    assert next_step(job, found, auto_release=True) is step


def test_a_completion_that_a_person_releases_is_recorded_once():
    assert next_step(COMPLETE, FUNDED, auto_release=False) is Step.RECORD_ENDING
    assert next_step(COMPLETE, RECORDED, auto_release=False) is Step.NOTHING
    assert next_step(FAILED, FUNDED, auto_release=False) is Step.SETTLE
    assert next_step(COMPLETE, RETRIED, auto_release=False) is Step.SETTLE


def test_a_job_whose_work_anothers_account_has_is_withheld_until_it_is_given_the_next_run():
    """And let go of when it ends; nothing is opened for it."""
    for first in (FUNDED, escrow(Phase.SETTLED), escrow(Phase.SETTLED, run=LatestRun(number=2, uid="somebody"))):
        assert next_step(HELD, None, auto_release=True, first=first) is Step.WITHHOLD
        for ended in (COMPLETE, FAILED, DELETED):
            assert next_step(ended, None, auto_release=True, first=first) is Step.FORGET
        assert next_step(PLAIN, None, auto_release=True, first=first) is Step.NOTHING
    given = escrow(Phase.SETTLED, run=LatestRun(number=2, uid=HELD.uid))
    assert next_step(HELD, None, auto_release=True, first=given) is Step.OPEN_ACCOUNT


def test_every_step_is_reached():
    """Otherwise it is dead, or stands for a state that nobody has thought through."""
    elsewhere = {Step.RECORD_ENDING, Step.WITHHOLD}
    assert {step for *_, step in TABLE} == set(Step) - elsewhere, "which have tests of their own"


JOBS = [PLAIN, HELD, RUNS, COMPLETE, FAILED, DELETED, GONE, *(replace(job, finalizers=()) for job in (HELD, RUNS))]
JOBS += [replace(HELD, queued=True), replace(HELD, escrow_id="esc_1"), replace(COMPLETE, gone=True)]
ESCROWS = [None, NO_ID, BROUGHT, SENT, FUNDED, RECORDED, RETRIED, *map(escrow, (Phase.DECIDED, Phase.VERIFYING))]
ESCROWS += [*map(escrow, (Phase.SETTLED, Phase.NEEDS_REVIEW))]


@pytest.mark.parametrize("auto_release", [True, False])
def test_what_holds_in_every_state(auto_release):
    for job, found in itertools.product(JOBS, ESCROWS):
        step = next_step(job, found, auto_release=auto_release)
        phase = found and found.phase
        ended = job.ending is not None or job.gone
        if step is Step.SETTLE:
            assert ended or found.status.intent or phase in (Phase.DECIDED, Phase.VERIFYING), "nothing is sent before"
        if step is Step.FUND and not ended:
            assert job.finalizer, "nothing is locked for a Job that may vanish"
        if step is Step.FUND:
            assert found.escrow_id is None, "no second escrow is created"
        if step is Step.BIND:
            assert found.escrow_id is not None
        if step in (Step.FORGET, Step.OPEN_ACCOUNT):
            assert found is None, "an account that there is is neither forgotten nor opened again"
        if phase is Phase.PENDING:
            assert step in (Step.HOLD, Step.FUND, Step.BIND), "nothing is released that is not locked yet"
        if phase is Phase.FUNDED and job.waits_for_us and not ended and not found.status.intent:
            assert step is Step.RESUME, "a Job whose money is locked does not wait for ever"
        if step is Step.RESUME:
            assert phase is Phase.FUNDED, "no Job runs before its money is locked"
        if phase in (Phase.SETTLED, Phase.NEEDS_REVIEW):
            assert step is Step.CLOSE, "a closed account is never acted on again"
