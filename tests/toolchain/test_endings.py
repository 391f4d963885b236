"""Whichever way a run ends, nothing of its cluster is left: the machine is compared before and after."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.toolchain import cluster, machine
from tests.toolchain.cluster import REPOSITORY

SECONDS = 120


@pytest.fixture
def run(tmp_path, own_node):
    """Start a pytest run with a node and a pod of its own; returns its process and what it reported."""
    processes = []

    def start(ending):
        report = tmp_path / "report.json"
        environment = {**os.environ, "ENDING": ending, "ENDING_REPORT": f"{report}"}
        environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/toolchain/ending_run.py"]
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
        processes.append(process)
        until(report.exists, lambda: f"the run ended early with {process.poll()}")
        return process, json.loads(report.read_text())

    yield start
    for process in processes:
        process.kill()
        process.wait()


def until(condition, explanation):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, explanation()
        time.sleep(0.05)


def assert_nothing_left(report):
    until(lambda: not machine.left_of(**report), lambda: f"left behind: {machine.left_of(**report)}")


@pytest.fixture
def unchanged_machine():
    before = machine.settings(), machine.strays()
    yield
    assert (machine.settings(), machine.strays()) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "with_signal", "status"),
    [
        ("success", None, 0),
        ("failure", None, 1),
        ("wait", signal.SIGINT, 2),
        ("wait", signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["success", "failure", "ctrl-c", "killed"],
)
def test_run_leaves_nothing(run, unchanged_machine, ending, with_signal, status):
    process, report = run(ending)
    if with_signal:
        assert {"processes", "cgroups", "directory", "addresses", "routes"} <= machine.left_of(**report).keys()
        process.send_signal(with_signal)
    assert process.wait(SECONDS) == status
    assert_nothing_left(report)


@pytest.mark.slow
def test_killed_supervisor_takes_its_processes_along_and_the_next_start_sweeps(run, unchanged_machine):
    _, report = run("wait")
    psutil.Process(int((cluster.root() / report["name"] / "lock").read_text())).kill()
    swept = {"directory", "cgroups"}  # or less of them: any start on this machine sweeps, another test's too
    until(lambda: machine.left_of(**report).keys() <= swept, lambda: f"still there: {machine.left_of(**report)}")
    cluster.sweep()
    assert machine.left_of(**report) == {}


def test_run_killed_while_its_cluster_starts_leaves_nothing(control_plane):
    start = """if True:
        import os
        from tests.toolchain import cluster
        cluster.start("controlplane", f"run-{os.getpid()}-early", os.getpid())
    """
    process = subprocess.Popen([sys.executable, "-c", start], cwd=REPOSITORY)
    name = f"run-{process.pid}-early"
    until((cluster.root() / name / "etcd:0").exists, lambda: "etcd did not start")
    assert "processes" in machine.left_of(name)
    process.kill()
    process.wait()
    until(lambda: not machine.left_of(name), lambda: f"left behind: {machine.left_of(name)}")
