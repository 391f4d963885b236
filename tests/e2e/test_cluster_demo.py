"""`make cluster-demo` as somebody runs it who has no cluster yet."""

import os
import subprocess
import sys

from tests.toolchain.cluster import REPOSITORY


def test_a_job_is_funded_run_and_paid_and_all_of_it_goes_again(own_node, runtime_image, tmp_path):
    environment = {**os.environ, "TMPDIR": f"{tmp_path}"}  # it does not meet a cluster that you have running
    command = [sys.executable, "-m", "tests.e2e.cluster_demo"]
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    said = run.stdout
    told = [
        "the job gate acts",
        "deployment pf-escrow-operator: 1 of 1 ready",
        ": complete",
        "Settled, 0.10 USDC locked",
    ]
    told += [
        "$ kubectl -n agent-jobs get escrows",
        "escrowctl explain",
        "they balance",
        "port-forward service/pf-sandbox",
    ]
    told += ["nothing of the stack is left", "the cluster is ended"]
    places = [said.find(words) for words in told]
    assert -1 not in places, f"{told[places.index(-1)]!r} is missing in:\n{said}"
    assert places == sorted(places), f"in this order:\n{said}"
    assert list(tmp_path.iterdir()) == [], "nothing is left"
