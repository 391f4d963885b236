"""Funded escrows are held against the payment service beside everything else: on a real API server."""

import pytest
from lightkube.types import PatchType

from runtime.contract import Env
from runtime.kubernetes.new_escrow import escrow_name, new_escrow
from runtime.payments import escrow_token
from tests.runtime.operator.world import Escrow, eventually

LISTS_ONLY = pytest.mark.parametrize("world", ["kubernetes"], indirect=True)


def _metric(operator, name: str) -> float:
    """A metric's value; 0 while it is not there."""
    lines = (line.rpartition(" ") for line in operator.metrics().splitlines())
    return next((float(value) for found, _, value in lines if found == name), 0.0)


def _compared(operator) -> float:
    return _metric(operator, "escrow_last_comparison_timestamp_seconds")


def _funded(world, *names: str) -> dict[str, str]:
    """Funded Escrows of running Jobs, as an earlier operator left them; escrow ids by Job."""
    ids = {name: world.fund(token=f"by-hand-{name}") for name in names}
    for name, escrow_id in ids.items():
        _bound(world, name, escrow_id)
    return ids


def _bound(world, name: str, escrow_id: str) -> str:
    """A Job whose Escrow is Funded by that escrow, which nobody has seen; its UID."""
    uid = world.job(name, escrow_id).metadata.uid
    known = {"token": escrow_token(uid), "escrow_id": escrow_id, "payee": None, "amount": None}
    world.client.create(Escrow(new_escrow(world.namespace, name, uid, dialect=world.dialect, **known)))
    funded = {"status": {"phase": "Funded"}}
    world.client.patch(Escrow.Status, escrow_name(uid), funded, patch_type=PatchType.MERGE)
    return uid


def test_ready_settling_and_listing_again_while_a_slow_service_is_compared_with(world):
    ids = _funded(world, "steady", "done")
    slow = world.sandbox.fault("read", "delay", seconds=600, times=1)
    operator = world.operator()
    eventually(lambda: _injected(world, slow) == 1, "a comparison hangs at the service")
    assert operator.probe("/readyz") == 200
    world.finish("done")
    world.await_phase("done", "Settled")
    first = _metric(operator, "escrow_last_list_timestamp_seconds")
    eventually(lambda: _metric(operator, "escrow_last_list_timestamp_seconds") > first, "another list")
    assert _compared(operator) == 0.0, "no round is complete yet"
    assert operator.stop() == 0, "a graceful stop does not wait for it"
    assert world.payments() == {ids["done"]: "released", ids["steady"]: "funded"}


def _injected(world, fault: dict) -> int:
    return next(rule["injected"] for rule in world.sandbox.faults()["rules"] if rule["operation"] == fault["operation"])


@LISTS_ONLY
def test_what_another_closed_is_recorded_where_escrows_can_only_be_listed(world):
    ids = _funded(world, "paid-by-hand", "argued", "steady")
    world.sandbox.escrows.release(ids["paid-by-hand"], "payer-agent")
    world.sandbox.escrows.dispute(ids["argued"], "payer-agent", "no longer wanted")
    operator = world.operator()
    status = world.await_phase("paid-by-hand", "Settled")["status"]
    assert (status["outcome"], status["drift"]) == ("Paid", True)
    status = world.await_phase("argued", "Settled")["status"]
    assert (status["outcome"], status["drift"]) == ("Disputed", True)
    eventually(lambda: _compared(operator), "the round is complete")
    assert world.escrow("steady")["status"]["phase"] == "Funded"
    world.await_event("argued", "EscrowDrift")


def test_one_that_cannot_be_compared_does_not_stop_those_behind_it(world):
    escrow_id = world.fund()
    behind = _bound(world, "released-by-hand", escrow_id)
    for number in range(50):  # escrows are compared in the order of the Jobs' UIDs, which are random
        if _bound(world, f"unknown-{number}", f"esc_nowhere_{number}") < behind:
            break
    world.operator()
    world.sandbox.escrows.release(escrow_id, "payer-agent")
    status = world.await_phase("released-by-hand", "Settled")["status"]
    assert (status["outcome"], status["drift"]) == ("Paid", True)
    (operator,) = world.operators

    def said() -> int:
        return operator.log().count("cannot be compared with the service")

    eventually(lambda: said() == number + 1, "each was compared once")
    before = _compared(operator)
    eventually(lambda: _compared(operator) > before, "another round")
    assert said() == number + 1, "said once for each"


def test_a_service_that_limits_the_rate_is_left_alone(world):
    _funded(world, "one", "two", "three")
    limit = world.sandbox.fault("read", "status", status=429, headers={"Retry-After": "3000"})
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    eventually(lambda: _metric(operator, 'escrow_comparisons_total{seen="silent"}') == 1, "it was refused")
    for _ in range(2):
        first = _metric(operator, "escrow_last_list_timestamp_seconds")
        eventually(lambda first=first: _metric(operator, "escrow_last_list_timestamp_seconds") > first, "another list")
    assert _injected(world, limit) == 1
    assert operator.stop() == 0


def test_a_replica_that_does_not_lead_asks_nothing(world):
    _funded(world, "shared")
    leader = world.operator(**{Env.LEADER_ELECTION: "true", Env.POD_NAME: "leader"})
    eventually(lambda: _metric(leader, 'leader_election_master_status{name="pf-escrow-operator"}') == 1, "it leads")
    waiting = world.operator(**{Env.LEADER_ELECTION: "true", Env.POD_NAME: "waiting"})
    first = _metric(waiting, "escrow_last_list_timestamp_seconds")
    eventually(lambda: _metric(waiting, "escrow_last_list_timestamp_seconds") > first, "another list")
    eventually(lambda: _compared(leader), "the leader compares")
    assert _compared(waiting) == 0.0
    assert leader.stop() == 0
    eventually(lambda: _compared(waiting), "the next leader goes on")


@LISTS_ONLY
def test_one_list_a_round_is_enough(world):
    _funded(world, "steady")
    asked = world.sandbox.fault("list", "delay", seconds=0)
    operator = world.operator(**{Env.RESYNC_SECONDS: "600"})
    eventually(lambda: _compared(operator), "a round is complete")
    assert _injected(world, asked) == 2, "one for the round; another at the start, for the time"


@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_an_open_escrow_without_an_account_is_told_of(world):
    """Somebody with the payer's key locked money beside the operator."""
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    escrow_id = world.fund("0.75", token="by-somebody-else")
    accounted = world.fund(token="by-hand-accounted")
    world.job("works", accounted)
    world.await_phase("works", "Funded")
    [words] = world.await_event("pf-escrow-operator", "EscrowUnaccounted")
    assert f"1 open escrows of this key have no open account in the watched namespaces: {escrow_id} (0.75 USDC" in words
    sample = f'{{dialect="{world.dialect}"}}'
    eventually(lambda: _metric(operator, f"escrow_unaccounted{sample}") == 1.0, "it is counted")
    assert _metric(operator, f"escrow_unaccounted_usdc{sample}") == 0.75
    world.sandbox.resolve(escrow_id, "refund")
    eventually(lambda: _metric(operator, f"escrow_unaccounted{sample}") == 0.0, "until it is closed")
