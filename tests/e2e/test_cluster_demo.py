"""`make cluster-demo` as somebody runs it who has no cluster yet."""

import os
import subprocess
import sys

from tests.toolchain.cluster import REPOSITORY


def test_a_job_is_funded_run_and_paid_and_all_of_it_goes_again(own_node, runtime_image, tmp_path):
    environment = {**os.environ, "TMPDIR": f"{tmp_path}"}  # it does not meet a cluster that you have running
    command = [sys.executable, "-m", "tests.e2e.cluster_demo"]
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in run.stderr.splitlines() if not line.startswith("toolchain: waiting")]  # for other runs
    assert (run.returncode, said) == (0, []), run.stdout + run.stderr
    said = run.stdout
    followed = [
        "deployment pf-escrow-operator: 1 of 1 ready",
        ": complete",
        "Settled, 0.10 USDC locked",
    ]  # in any order
    told = ["the job gate acts", *followed, "$ kubectl -n agent-jobs get escrows", "escrowctl explain", "they balance"]
    told += ["port-forward service/pf-sandbox", "nothing of the stack is left", "the cluster is ended"]
    places = {words: said.find(words) for words in told}
    assert [words for words, place in places.items() if place < 0] == [], said
    in_order = [place for words, place in places.items() if words not in followed]
    assert in_order == sorted(in_order), said
    assert list(tmp_path.iterdir()) == [], "nothing is left"
