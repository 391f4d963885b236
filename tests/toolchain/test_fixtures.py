"""What the fixtures do where a level cannot be had, and with a cluster of somebody else."""

import os
import subprocess
import sys

import pytest

from tests.toolchain import control_plane
from tests.toolchain.cluster import REPOSITORY

ENGINE_TESTS = ("tests/toolchain/test_control_plane.py", "tests/toolchain/test_node.py")


def run_tests(*arguments, **environment):
    """A run of its own; its exit status and what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KUBEB"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(
        command, cwd=REPOSITORY, env=inherited | environment, capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout + run.stderr


def test_machine_with_only_python_passes_and_lists_what_it_skips(tmp_path):
    status, printed = run_tests("-n", "1", *ENGINE_TESTS, XDG_CACHE_HOME=f"{tmp_path}", PATH=f"{tmp_path}")
    assert status == 0, printed
    assert "not tested here" in printed
    assert "[controlplane] etcd: no Debian package is known for it; no wheel is known for it; no Go on the" in printed
    assert "skips 3: tests/toolchain/test_control_plane.py::test_" in printed
    assert "[node] " in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="[node] taking rights away needs root; run it as root")
def test_without_the_rights_a_node_is_refused_with_the_remedy():
    demand = "from tests.toolchain import node; node.demand()"
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", sys.executable, "-c", demand]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    wanted = (
        "Missing: a node needs root, with the rights to namespaces and networks; run it as root, or set E2E_KUBECONFIG"
    )
    assert wanted in run.stderr


def test_each_test_carries_the_marker_of_its_level():
    status, printed = run_tests("--collect-only", "-m", "controlplane and not node", *ENGINE_TESTS)
    assert status == 0, printed
    assert "3/8 tests collected (5 deselected)" in printed


def test_cluster_of_somebody_else_is_used_as_it_is(own_node):
    theirs = {"E2E_KUBECONFIG": f"{own_node.kubeconfig}", "E2E_HOST_ADDRESS": own_node.host_address}
    status, printed = run_tests(ENGINE_TESTS[1], "-k", "volume or host_address or settings", **theirs)
    assert status == 0, printed
    assert "2 passed, 1 skipped" in printed
    assert "[node] only for a cluster of our own; unset E2E_KUBECONFIG" in printed


def test_too_little_memory_is_refused():
    with pytest.raises(control_plane.Missing, match=r"takes about 1000000000 MB of memory and \d+ MB are free"):
        control_plane.demand_memory(10**9)
