"""The fault matrix: whatever breaks, whenever, one payment a Job, and ledger and Escrows agree to the micro-USDC.

Every row of the matrix in `docs/operator.md` is a test here.
"""

import json

import pytest
from lightkube.types import PatchType

from runtime.contract import Env
from tests.e2e.books import Books
from tests.runtime.operator.proof import agree, numbered
from tests.runtime.operator.step_proxy import Counter, Step, When
from tests.runtime.operator.world import (
    DEADLINE_SECONDS,
    PAYEE,
    Escrow,
    OperatorProcess,
    World,
    eventually,
)
from tests.toolchain import faults
from tests.toolchain.clock import Clock
from tests.toolchain.tools import Missing

# --- the payment service is slow, broken or lies


@pytest.mark.slow
@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_a_storm_of_payment_faults_pays_each_job_once_or_asks_a_person(world):
    kinds = ("delay", "reset", "half", "status", "content_type", "html", "duplicate", "empty")
    for seed, kind in enumerate(kinds):
        for moment in ("before", "after"):
            extra = {"seconds": 0.2} if kind == "delay" else {}
            world.sandbox.fault("*", kind, moment=moment, probability=0.04, seed=seed, **extra)
    world.sandbox.fault("release", "status", moment="between", nth=3)
    names = [f"storm-{n:02d}" for n in range(24)]
    ids = []
    for n in range(24):
        world.sandbox.issue_key(f"worker-{n}")
    world.sandbox_pause(lambda: ids.extend(world.fund("0.50", f"worker-{n}", f"storm-token-{n}") for n in range(24)))
    world.operator()
    for name, escrow_id in zip(names, ids, strict=True):
        world.job(name, escrow_id)
    for name in names:
        world.finish(name)
    for name in names:
        world.await_phase(name, "Settled", "NeedsReview", seconds=120)
    agree(world)


# --- the API server is away, forgets, or lets somebody else write first


def test_a_watch_that_is_cut_or_expired_misses_nothing(world):
    with numbered(world, Counter()) as (changes, api):
        world.operator(**changes, **{Env.RESYNC_SECONDS: "600"})
        first, second = world.fund(token="by-hand-cut1"), world.fund(payee=PAYEE, token="by-hand-cut2")
        world.job("one", first)
        world.await_phase("one", "Funded")
        api.expire_watches = 2
        assert api.cut_watches() >= 1
        world.job("two", second)
        world.finish("two")
        world.finish("one")
        world.await_phase("two", "Settled")
        world.await_phase("one", "Settled")
    assert set(world.payments().values()) == {"released"}


def test_every_write_that_meets_somebody_elses_write_is_made_good(world):
    """Each patch of an object finds it changed once; nothing is lost and nothing is sent twice."""
    seen: set[tuple[str, str]] = set()

    def interfere(step: Step, when: When) -> bool:
        fresh = when is When.BEFORE and step.method == "PATCH" and (step.path, str(len(seen))) not in seen
        if fresh and "/escrows/" in step.path and len(seen) < 6:
            seen.add((step.path, str(len(seen))))
            name = step.path.split("/escrows/")[1].split("/")[0]
            touch = {"metadata": {"annotations": {"touched": str(len(seen))}}}
            world.client.patch(Escrow, name, touch, patch_type=PatchType.MERGE)
        return False

    with numbered(world, Counter(interfere)) as (changes, _):
        world.operator(**changes)
        world.sandbox.issue_key("worker-c")
        world.job("contended", request=json.dumps({"payee": "worker-c", "amountUsdc": "0.50"}), suspend=True)
        world.await_resumed("contended")
        world.finish("contended")
        world.await_phase("contended", "Settled", seconds=2 * DEADLINE_SECONDS)
    assert len(seen) == 6
    assert agree(world) == {"contended": "Settled"}


@pytest.mark.slow
def test_a_restarted_api_server_changes_nothing(spare_control_plane, sandbox):
    """In a control plane of its own, because a restart would disturb every other test."""
    with World.alone(spare_control_plane, sandbox) as world:
        world.operator()
        ids = [world.fund(token=f"by-hand-{n}") for n in range(4)]
        for n, escrow_id in enumerate(ids):
            world.job(f"job-{n}", escrow_id)
        for n in range(4):
            world.await_phase(f"job-{n}", "Funded")
            world.pod_of(f"job-{n}")
        faults.restart(spare_control_plane, "kube-apiserver")
        world.client = spare_control_plane.client(world.namespace)  # the old one's kept connections are dead
        for n in range(4):
            world.finish(f"job-{n}")
        for n in range(4):
            world.await_phase(f"job-{n}", "Settled", seconds=90)
        assert set(world.payments().values()) == {"released"}


# --- several operators


def test_two_active_operators_pay_each_job_once(world):
    world.operator()
    world.operator()
    names = [f"twice-{n:02d}" for n in range(12)]
    for n, name in enumerate(names):
        world.sandbox.issue_key(f"worker-{n}")
        world.job(name, request=json.dumps({"payee": f"worker-{n}", "amountUsdc": "0.50"}), suspend=True)
    for name in names:
        world.await_resumed(name)
        world.finish(name)
    for name in names:
        world.await_phase(name, "Settled", seconds=90)
    agree(world)
    assert len(world.payments()) == len(names)


@pytest.mark.slow
def test_a_leader_that_dies_in_the_middle_of_a_payment_is_followed(world):
    election = {Env.LEADER_ELECTION: "true"}
    first = world.operator(**election, **{Env.POD_NAME: "first"})
    eventually(lambda: _leads(first), "the first leads")
    second = world.operator(**election, **{Env.POD_NAME: "second"})
    world.sandbox.fault("release", "delay", moment="after", nth=1, seconds=3)
    escrow_id = world.fund()
    world.job("inherited", escrow_id)
    world.finish("inherited")
    world.await_phase("inherited", "Verifying")
    eventually(lambda: world.payments()[escrow_id] == "released", "the money has moved")
    first.kill()
    assert world.await_phase("inherited", "Settled", seconds=60)["status"]["outcome"] == "Paid"
    assert _leads(second)
    assert world.payments() == {escrow_id: "released"}


def _leads(operator: OperatorProcess) -> bool:
    return 'leader_election_master_status{name="pf-escrow-operator"} 1.0' in operator.metrics()


def test_a_graceful_stop_finishes_what_it_began(world):
    operator = world.operator()
    world.sandbox.fault("release", "delay", moment="after", nth=1, seconds=1)
    escrow_id = world.fund()
    world.job("last", escrow_id)
    world.finish("last")
    world.await_phase("last", "Verifying")
    assert operator.stop(25) == 0
    assert world.escrow("last")["status"]["phase"] == "Settled"
    assert world.payments() == {escrow_id: "released"}


@pytest.mark.trial("the operator's clock a day ahead, an hour behind")
@pytest.mark.parametrize("hours", [24, -1])
def test_a_clock_that_is_wrong_changes_nothing(world, tmp_path, hours, seen):
    try:
        clock = Clock(tmp_path)
    except Missing as missing:
        pytest.skip(f"[controlplane] {missing}")
    with clock.shifted(hours * 3600):
        operator = world.operator(**clock.environment)
        assert clock.lives_in(operator.log())
        world.sandbox.issue_key("worker-t")
        world.job("elsewhen", request=json.dumps({"payee": "worker-t", "amountUsdc": "0.50"}), suspend=True)
        world.await_resumed("elsewhen")
        world.finish("elsewhen")
        world.await_phase("elsewhen", "Settled")
    assert agree(world) == {"elsewhen": "Settled"}
    seen("clock", f"{hours:+} hours")
    seen.books(Books.of(world.sandbox.statement(), {"worker-t": "0.50"}))
