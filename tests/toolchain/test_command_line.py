"""`python -m tests.toolchain`, which is what the make targets run."""

import os
import socket
import subprocess
import sys

import pytest

from tests.toolchain import cluster
from tests.toolchain.cluster import REPOSITORY


@pytest.fixture
def toolchain(control_plane, tmp_path):
    """Runs a command with a temporary directory of its own: it does not meet a cluster that you have running."""

    def run(*arguments):
        environment = {**os.environ, "TMPDIR": f"{tmp_path}", "TEST_CLUSTER_LOGS": f"{tmp_path / 'logs'}"}
        command = [sys.executable, "-m", "tests.toolchain", *arguments]
        answer = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        return answer.returncode, answer.stdout, answer.stderr

    yield run
    run("down")


def test_up_is_idempotent_and_down_leaves_only_the_logs_asked_for(toolchain, tmp_path):
    first = toolchain("up", "--level", "controlplane")
    assert first[0] == 0, first
    kubeconfig = first[1].splitlines()[-1].removeprefix("export KUBECONFIG=")
    external = cluster.external(tmp_path / kubeconfig, "", tmp_path)
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", int(external.url.rpartition(":")[2])))
    assert toolchain("up", "--level", "controlplane") == first
    assert f"running clusters: {cluster.checkout_name('controlplane')}" in toolchain("status")[1]
    assert toolchain("down") == (0, "ended: controlplane\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert (tmp_path / "logs" / cluster.checkout_name("controlplane") / "kube-apiserver.log").exists()
    assert toolchain("down") == (0, "no cluster of this checkout runs\n", "")


def test_component_that_does_not_start_is_named_with_its_log(toolchain, tmp_path, monkeypatch):
    broken = tmp_path / "etcd"
    broken.write_text("#!/bin/sh\necho etcd v3.6.0\necho 'this etcd is broken' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TEST_ASSET_ETCD", f"{broken}")
    status, _, complaint = toolchain("up", "--level", "controlplane")
    assert status == 2
    assert (
        "the controlplane cluster did not start: etcd ended with status 3 before the API server is ready" in complaint
    )
    assert "etcd: this etcd is broken" in complaint
    assert "Traceback" not in complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etcd", "logs"]


def test_full_disk_is_refused_with_the_remedy(own_node, tmp_path):
    script = 'mount -t tmpfs -o size=1m tmpfs "$TMPDIR" && exec "$0" -m tests.toolchain up --level controlplane'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable]
    environment = {**os.environ, "TMPDIR": f"{tmp_path}"}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"and {tmp_path} has 1 MB left; free some space, or point TMPDIR at a larger disk" in run.stderr
