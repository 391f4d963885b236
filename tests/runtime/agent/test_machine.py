"""A Machine with several server processes, with a full disk, and one whose agent changes its language."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from runtime.agent.database import RESERVE_BYTES
from tests.conformance.model import WAITS
from tests.conformance.world import REGION
from tests.runtime.agent.conftest import PYTHON, ROOT, Warm
from tests.toolchain.clock import Clock
from tests.toolchain.tools import Missing


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def worker(world):
    """The one that has an inference under way."""
    with closing(sqlite3.connect(world.folder / "ledger.db")) as ledger:
        [[slot]] = ledger.execute("SELECT slot FROM escrows WHERE state = 'locked'")
    commands = {child: Path(f"/proc/{child}/cmdline").read_text().split("\0") for child in children(world.process.pid)}
    [found] = [child for child, command in commands.items() if f"--slot={slot}" in command]
    return found


def insist(world, key):
    """Ask until it is answered: told to wait, a caller asks again."""

    def asked():
        answer = world.infer("same", key)
        if answer.status_code == 200:
            return answer.json()
        assert answer.json()["error"] in ("in_progress", "busy")
        return None

    return world.until(asked, f"{key} is answered")


def test_several_workers_share_the_ledger_and_a_killed_ones_work_is_finished_by_the_next(start, tmp_path):
    world = start(WEB_CONCURRENCY="2", PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"))
    with ThreadPoolExecutor(4) as callers:
        done = list(callers.map(lambda n: insist(world, f"key-{n % 4}"), range(12)))
    # A repeated request may find the first one's result before its release is on record.
    assert {answer["status"] for answer in done} <= {"released", "settling"}
    assert world.settled() == {"released": 4}
    page = httpx.get(f"http://127.0.0.1:{world.metrics_port}/metrics", trust_env=False).text
    answered = re.findall(r'pf_agent_requests_total\{outcome="(?:released|settling)"\} (\S+)', page)
    assert sum(map(float, answered)) == 12, "both workers' counts, added up"
    assert f'pf_agent_escrows{{region="{REGION}",state="released"}} 4.0' in page
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(world.infer, WAITS)
        world.working()
        os.kill(worker(world), signal.SIGKILL)
        assert isinstance(waiting.exception(), httpx.TransportError)
    assert world.http.get("/health").status_code == 200, "the other serves"
    world.until(lambda: world.states() == {"released": 4, "cancelled": 1}, "what was begun is finished")
    assert world.stop() == 0
    world.balanced()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of eight megabytes."""
    folder = tmp_path / "machine-1"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path):
    with path.open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(b"x" * 4096)
            except OSError:
                return


@pytest.mark.parametrize("language", ["python", "go"])
def test_a_full_disk_refuses_new_work_and_loses_nothing(request, start, small_disk, language):
    command = {"command": request.getfixturevalue("go")} if language == "go" else {}
    world = start(**command)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(world.infer, WAITS)
        world.working()
        fill(small_disk / "filler")
        for _ in range(40):  # until the room that SQLite had left is used up
            refused = world.infer("x" * 100)
            if refused.status_code == 503:
                break
        assert refused.json()["error"] == "ledger_full"
        assert not (small_disk / "ledger.reserve").exists()
        assert world.http.get("/ready").status_code == 503
        creates = world.acts()["create"]
        world.model.go_on.set()
        assert waiting.result().json()["status"] == "released"
    assert world.infer().status_code == 503
    assert world.acts()["create"] == creates
    (small_disk / "filler").unlink()
    assert world.infer().json()["status"] == "released"
    assert (small_disk / "ledger.reserve").stat().st_size == RESERVE_BYTES
    assert {*world.settled()} == {"released"}
    world.balanced()


def test_a_ledger_goes_on_in_the_other_language(start, go):
    """Killed while it works in one, returned and replayed by the other: the ledger is the same."""
    world = start(command=go)
    assert world.infer("once", "key").json()["status"] == "released"
    for command in (PYTHON, go):
        with ThreadPoolExecutor(1) as callers:
            waiting = callers.submit(world.infer, WAITS)
            world.working()
            world.kill()
            assert isinstance(waiting.exception(), httpx.TransportError)
        world.command = command
        world.start()
        again = world.infer("once", "key")
        assert (again.status_code, again.json().get("replayed")) == (200, True), again.text
    assert world.settled() == {"released": 1, "cancelled": 2}
    world.balanced()


def killed_while_it_releases(world):
    before = world.acts()["release"]
    world.sandbox.fault("release", "delay", moment="after", seconds=1, times=1)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(world.infer)
        world.until(lambda: world.acts()["release"] > before, "the release has arrived")
        world.kill()
        assert isinstance(waiting.exception(), httpx.TransportError)


def test_a_release_noted_by_a_clock_that_was_ahead_is_not_waited_for(start, go):
    world = start(command=go)
    killed_while_it_releases(world)
    with closing(sqlite3.connect(world.folder / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE escrows SET answered_ms = answered_ms + 86400000 WHERE state = 'settling'")
    world.start()
    assert world.settled() == {"review": 1}
    world.balanced()


@pytest.mark.parametrize("days", [-2, 2])
def test_a_wrong_clock_neither_sends_again_nor_waits_for_its_day(start, tmp_path, days):
    """In Python: it is wrong while an inference is sold and while another's release is noted, and then set right."""
    try:
        clock = Clock(tmp_path)
    except Missing:
        pytest.skip("[faketime] the Debian package libfaketime cannot be had: see make toolchain")
    with clock.shifted(days * 86_400):
        world = start(**clock.environment)
        assert clock.lives_in(world.log())
        assert world.infer().json()["status"] == "released"
        assert world.http.get("/ready").status_code == 200
        killed_while_it_releases(world)
    world.start()
    assert world.settled() == {"released": 1, "review": 1}
    assert world.acts() == {"create": 2, "release": 2}
    world.balanced()


def test_what_the_agent_in_go_cannot_do_ends_it_at_once(sandbox, tmp_path, go):
    wrong = {"PF_API_DIALECT": "server", "PF_TASK_CALLABLE": "a:b", "PF_BACKUP_URL": "s3://bucket/ledgers"}
    with closing(Warm(go, sandbox, tmp_path)) as world:
        told = world.refused(*({name: value} for name, value in wrong.items()))
    for name, line in zip(wrong, told, strict=True):
        assert name in line
        assert "the Python agent" in line


def test_the_demo_bills_each_inference_once(go):
    command = [sys.executable, "-m", "runtime.agent.demo", "--also", *go]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert ran.stdout.count("  released  ") == 6
    assert "the books balance" in ran.stdout
