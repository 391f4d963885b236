"""What a person does with the ledger, while the agent runs: beside a real one."""

import json
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import httpx
import pytest

from runtime.sandbox.testing import running_sandbox
from tests.conformance.checks import Since
from tests.conformance.model import WAITS
from tests.conformance.world import REGION
from tests.runtime.agent.conftest import PYTHON, ROOT, Warm, books_in_process


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An agent that serves; each test leaves it serving."""
    with running_sandbox() as sandbox, closing(Warm(PYTHON, sandbox, tmp_path_factory.mktemp("agent"))) as built:
        built.start()
        yield built


@pytest.fixture
def books(world):
    """The command on its volume."""
    return partial(books_in_process, world.folder)


def statement(*copies):
    """What a statement by region makes of copies."""
    ledgers = [word for copy in copies for word in ("--ledger", str(copy))]
    command = [sys.executable, "-m", "runtime.statement", *ledgers, "--by", "region", "-o", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(ran.stdout)["groups"]


# First: the ledger has these five alone.
def test_a_copy_is_whole_while_the_agent_writes(world, books, tmp_path):
    for _ in range(5):
        world.infer()
    copy = tmp_path / "copy.db"
    assert books("backup", str(copy)).returncode == 0
    with sqlite3.connect(copy) as db:
        assert db.execute("SELECT count(*) FROM escrows WHERE state = 'released'").fetchone()[0] == 5
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()
    assert [*tmp_path.glob("copy.db*")] == [copy]
    told = statement(copy)[REGION]
    assert (told["paid_usdc"], told["fee_usdc"]) == ("0.004950", "0.000050")
    again = books("backup", str(copy))
    assert (again.returncode, "there already" in again.stderr) == (2, True)


def test_a_review_is_listed_and_resolved_by_a_person(world, books):
    since = Since(world)
    assert world.infer().status_code == 200
    environment = {"DATA_DIR": str(world.folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "runtime.agent.books"]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{REGION}     released" in listed.stdout
    for operation in ("create", "release"):
        world.sandbox.fault(operation, "reset", moment="after", times=1)
        world.infer(operation, key=operation)
        world.sandbox.clear_faults()
    assert since.states == {"released": 1, "review": 2}
    listed = books("list")
    assert listed.returncode == 1
    unknown, unanswered = re.findall(r"^(pf-\w+) ", listed.stdout, re.M)
    decided = ("--by", "me", "--why", "I looked")
    assert "--escrow-id" in books("resolve", unknown, "--as", "released", *decided).stderr
    assert books("resolve", unknown, "--as", "cancelled", "--escrow-id", "esc_1", *decided).returncode == 0
    assert books("resolve", unanswered, "--as", "released", *decided).returncode == 0
    again = books("resolve", unanswered, "--as", "released", *decided)
    assert (again.returncode, "only a review" in again.stderr) == (2, True)
    assert since.states == {"released": 2, "cancelled": 1}
    assert world.infer("release", key="release").json()["status"] == "released"  # replayed
    assert world.infer("create", key="create").json()["status"] == "released"  # anew: it was returned
    assert books().returncode == 0


def test_what_a_machine_left_that_is_gone_is_handed_over_by_a_person(world, books):
    since = Since(world)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(world.infer, WAITS)
        world.working()
        world.kill()
        assert isinstance(waiting.exception(), httpx.TransportError)
    assert books("list").returncode == 0, "its own Machine finishes it at its next start"
    listed = books("list", machine="successor")
    assert (listed.returncode, "books adopt machine-1" in listed.stdout) == (1, True)
    decided = ("--by", "me", "--why", "the Machine was destroyed")
    assert books("adopt", "machine-1", *decided, machine="successor").returncode == 0
    again = books("adopt", "machine-1", *decided, machine="successor")
    assert (again.returncode, "nothing unfinished" in again.stderr) == (2, True)
    world.model.go_on.set()
    world.start(FLY_MACHINE_ID="successor")
    assert since.states == {"cancelled": 1}
    world.balanced()


def test_revenue_by_region_is_that_of_the_machines_there_whatever_they_are_written_in(start, go, sandbox, tmp_path):
    copies = []
    for region, command, inferences in ((REGION, PYTHON, 2), ("nrt", go, 1)):
        world = start(region, command=command, FLY_REGION=region)
        assert {world.infer().status_code for _ in range(inferences)} == {200}
        copies.append(tmp_path / f"{region}.db")
        assert books_in_process(world.folder, "backup", str(copies[-1])).returncode == 0
    told = statement(*copies)
    assert {region: group["paid_usdc"] for region, group in told.items()} == {REGION: "0.001980", "nrt": "0.000990"}
    assert sandbox.statement()["totals"]["paid"] == "0.00297"


def test_what_is_no_ledger_is_said_so(tmp_path):
    command = [sys.executable, "-m", "runtime.agent.books"]
    environment = {"DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, "DATA_DIR" in ran.stderr) == (2, True)
    assert "Traceback" not in ran.stderr
