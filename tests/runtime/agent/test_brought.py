"""The `server` dialect: the caller brings an escrow. Two Machines are two processes, each with a ledger of its own."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from runtime.sandbox.testing import running_sandbox
from tests.conformance.checks import Since
from tests.conformance.model import FAILS, WAITS
from tests.conformance.world import WALLET
from tests.runtime.agent.conftest import PYTHON, ROOT, Warm
from tests.toolchain.clock import Clock
from tests.toolchain.tools import Missing


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """What time it is for machine-2; None where it cannot be had."""
    try:
        return Clock(tmp_path_factory.mktemp("clock"))
    except Missing:
        return None


@pytest.fixture(scope="module")
def machines(sandbox, clock, tmp_path_factory):
    """Two of them; their wallet is an agent of the payment service."""
    with ExitStack() as worlds:
        started = []
        for name in ("machine-1", "machine-2"):
            world = Warm(PYTHON, sandbox, tmp_path_factory.mktemp(name), "server")
            worlds.callback(world.close)
            world.environment |= {"PYTHONPATH": str(ROOT), "FLY_MACHINE_ID": name, "PF_QUEUE_LENGTH": "9"}
            if clock and name == "machine-2":  # a deceived program is slower
                world.environment |= clock.environment
            world.start()
            started.append(world)
        yield started


@pytest.fixture(scope="module")
def caller(sandbox):
    """Creates escrows with the caller's own key, by an agent's quote."""
    sandbox.deposit("caller", "50.00")
    headers = {"authorization": f"Bearer {sandbox.issue_key('caller')}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, verify=sandbox.tls, trust_env=False) as http:

        def brings(world, prompt, **changed):
            quote = world.http.post("/quote", json={"prompt": prompt}).json()
            created = http.post("/escrow/create", json={**quote, "amount_usd": 0.1, **changed})
            assert created.status_code == 201, created.text
            return created.json()["escrow_id"]

        brings.http = http
        yield brings


def infer(world, prompt, escrow_id, key=None):
    return world.infer(prompt, key, escrow_id=escrow_id, payer_wallet=None)


def replayed(machines, answer, prompt, escrow_id):
    """What Fly's proxy does with `fly-replay`."""
    instance = re.fullmatch(r"instance=(.+)", answer.headers["fly-replay"])[1]
    [owner] = [world for world in machines if world.environment["FLY_MACHINE_ID"] == instance]
    return infer(owner, prompt, escrow_id)


def test_an_escrow_is_worked_for_once_across_machines(machines, caller):
    first, second = machines
    since = Since(first), Since(second)
    escrow_id = caller(first, "hello")
    elsewhere = infer(second, "hello", escrow_id)
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (409, "other_machine")
    answer = replayed(machines, elsewhere, "hello", escrow_id)
    assert (answer.status_code, answer.json()["status"], answer.json()["paid_by"]) == (200, "completed", "caller")
    assert answer.json()["cost_usdc"] == 0.1
    for world in machines:  # again, at both
        again = infer(world, "hello", escrow_id)
        again = replayed(machines, again, "hello", escrow_id) if "fly-replay" in again.headers else again
        assert again.json() == answer.json() | {"replayed": True}
    other = infer(first, "another prompt", escrow_id)
    assert (other.status_code, other.json()["error"]) in ((402, "escrow_refused"), (409, "conflict"))
    assert (first.model.asked, second.model.asked) == (["hello"], [])
    assert first.escrows()[escrow_id] == "completed"
    released = caller.http.post(f"/escrow/release/{escrow_id}").json()
    assert (released["status"], released["counterparty_id"]) == ("released", WALLET)
    assert (since[0].states, since[1].states) == ({"completed": 1}, {})


def test_an_escrow_that_both_machines_get_at_the_same_time_is_worked_for_once(machines, caller):
    escrow_id = caller(machines[0], "at once")

    def ask(number):
        answer = infer(machines[number % 2], "at once", escrow_id)
        return replayed(machines, answer, "at once", escrow_id) if "fly-replay" in answer.headers else answer

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(ask, range(8)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {answer.json().get("error") for answer in answers} <= {None, "in_progress"}
    assert [world.model.asked.count("at once") for world in machines] == [1, 0]


@pytest.mark.parametrize("days", [-2, 2])
def test_a_wrong_clock_neither_takes_what_ends_nor_refuses_what_lasts(machines, caller, clock, sandbox, days):
    """Time-outs are the payment service's, and so is the time by which they are judged."""
    if clock is None:
        pytest.skip("[faketime] the Debian package libfaketime cannot be had: see make toolchain")
    _, world = machines
    ends = caller(world, "it ends", timeout_hours=1)
    sandbox.advance(seconds=3550)
    lasts = caller(world, "it lasts")
    with clock.shifted(days * 86_400):
        refused = infer(world, "it ends", ends)
        assert (refused.status_code, "ends before" in refused.json()["message"]) == (402, True)
        assert infer(world, "it lasts", lasts).json()["status"] == "completed"
    assert world.escrows()[ends] == "funded"


def test_an_escrow_that_is_not_good_is_refused_and_nothing_is_worked(machines, caller, sandbox):
    world, _ = machines
    since, asked = Since(world), [*world.model.asked]
    sandbox.issue_key("somebody")
    wrong = {
        "no such": "esc_nothing",
        "no Machine": caller(world, "x", description="Inference"),
        "somebody else": caller(world, "x", counterparty_agent_id="somebody"),
        "holds 0.1": caller(world, "x" * 50_000),
        "ends before": caller(world, "x", timeout_hours=1),
    }
    sandbox.advance(seconds=3550)
    for why, escrow_id in wrong.items():
        prompt = "x" * 50_000 if why == "holds 0.1" else "x"
        answer = infer(world, prompt, escrow_id)
        assert (answer.status_code, answer.json()["error"]) == (402, "escrow_refused"), (why, answer.text)
    spent = caller(world, "x")
    caller.http.post(f"/escrow/release/{spent}")
    assert "released" in infer(world, "x", spent).json()["message"]
    assert infer(world, "x", None).json()["error"] == "escrow_required"
    sandbox.fault("read", "reset", times=8)
    assert infer(world, "x", caller(world, "x")).status_code == 503
    sandbox.clear_faults()
    assert (world.model.asked, since.states) == (asked, {})


def test_failed_work_gives_the_escrow_back_to_be_used_again(machines, caller):
    world, _ = machines
    since = Since(world)
    escrow_id = caller(world, FAILS)
    assert infer(world, FAILS, escrow_id).json()["error"] == "work_failed"
    assert world.escrows()[escrow_id] == "funded"
    assert infer(world, "hello", escrow_id).json()["status"] == "completed"
    assert since.states == {"declined": 1, "completed": 1}


def test_killed_while_it_works_or_completes_it_finishes_at_the_next_start(machines, caller, sandbox):
    world, _ = machines
    since = Since(world)
    working, completing = caller(world, WAITS), caller(world, "hello")
    with httpx.Client(base_url=world.http.base_url, trust_env=False) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/inference", json={"prompt": WAITS, "escrow_id": working}, timeout=1)
    world.model.arrived.acquire()
    sandbox.fault("complete", "delay", moment="after", seconds=2, times=1)
    with httpx.Client(base_url=world.http.base_url, trust_env=False) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/inference", json={"prompt": "hello", "escrow_id": completing}, timeout=1)
    world.until(lambda: world.escrows()[completing] == "completed", "it has arrived")
    world.kill()
    sandbox.clear_faults()
    world.start()
    assert since.states == {"declined": 1, "completed": 1}
    assert (world.escrows()[working], world.escrows()[completing]) == ("funded", "completed")
