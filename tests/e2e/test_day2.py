"""Day 2: what breaks, is exchanged or goes back in time while money is under way. Each Job is paid once.

On a node of their own and one stack, whose ledger lies on a small disk of this machine. A wrong clock is tried in
`tests/runtime/operator/test_faults.py`, since pods have the node's clock.
"""

import json
import os
import subprocess
import threading
import time

import pytest

from components.stack_values import ROOT
from components.synth.revision import unpack
from runtime.sandbox.testing import running_sandbox
from tests.e2e.kubectl import Kubectl
from tests.e2e.trial import Trial, apply, await_gate, gate, objects, previous_revision, stack_settings
from tests.runtime.operator.world import PAYER
from tests.toolchain import faults, images, waiting
from tests.toolchain.faulty_link import FaultyLink
from tests.toolchain.fixtures import require

pytestmark = [pytest.mark.xdist_group("day2"), pytest.mark.opt_in]
NAMESPACE = "agent-jobs"
OUTAGE_SECONDS = float(os.environ.get("E2E_OUTAGE_SECONDS", "60"))
"""How long the API server is away; ten minutes are E2E_OUTAGE_SECONDS=600."""


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A file system of 16 MB."""
    folder = tmp_path_factory.mktemp("ledger")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=False).returncode:
        pytest.skip("[node] mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def payments(spare_node, small_disk):
    """The payment service and the URL at which pods reach it."""
    with running_sandbox(small_disk / "ledger.db") as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with FaultyLink("127.0.0.1", port, listen_host=spare_node.host_address) as link:
            sandbox.deposit(PAYER, "100.00")
            yield sandbox, link.url()


@pytest.fixture(scope="module")
def kubectl(spare_node, tmp_path_factory) -> Kubectl:
    return Kubectl(require("node", "kubectl"), spare_node.kubeconfig, NAMESPACE, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def key(payments) -> str:
    return payments[0].issue_key(PAYER)


@pytest.fixture(scope="module")
def deployed(spare_node, kubectl, payments, key, runtime_image):
    """The present version's stack; what applies it again."""
    images.bring(spare_node, runtime_image)
    present = objects(stack_settings(NAMESPACE, runtime_image.reference, payments[1]), key)
    apply(kubectl, present)
    await_gate(kubectl)
    return lambda: apply(kubectl, present)


@pytest.fixture
def trial(request, spare_node, kubectl, payments, deployed):
    """Money under way, on an operator that serves; `finish` is for the test to call."""
    name = request.node.name.removeprefix("test_").split("_")[1]
    with gate(spare_node.host_address) as opened:
        built = Trial(name, spare_node, kubectl, payments[0], opened)
        built.await_operator()
        yield built


def finish(trial, seen):
    """In the end all of it is settled, each Job was paid once, and the report has the books."""
    trial.gate.open()
    trial.await_settled()
    books = trial.books()
    seen.books(books)
    assert (books.payments, books.lost.micro, books.paid_twice) == (len(trial.jobs), 0, 0)


def restarts(trial) -> str:
    """How often the kubelet has started the operator again."""
    [pod] = trial.kubectl.get("pods", "--selector", "app.kubernetes.io/component=operator")
    return f"{pod['status']['containerStatuses'][0]['restartCount']} restarts of the operator"


@pytest.mark.trial("upgrade from the previous version under load, and roll-back")
def test_an_upgrade_and_the_way_back_pay_each_job_once(trial, deployed, payments, key, runtime_image, tmp_path, seen):
    revision = previous_revision()
    if not revision:
        pytest.skip("[e2e] git has no earlier version here; a clone with history has, or name one with E2E_PREVIOUS")
    unpack(revision, ROOT, tmp_path)
    before = images.runtime_image(tmp_path)
    images.bring(trial.cluster, before)
    assert before.reference != runtime_image.reference
    old = objects(stack_settings(NAMESPACE, before.reference, payments[1]), key, tmp_path)
    payments[0].fault("release", "delay", moment="after", seconds=1)
    back = lambda: apply(trial.kubectl, old)  # noqa: E731
    for change in (back, deployed, back):
        trial.gate.shut()
        trial.await_running(trial.begin(2))
        trial.begin(2)  # these may lock their money before, while and after the operator is exchanged
        change()
        trial.gate.open()
        trial.begin(1)
        trial.await_operator()
    payments[0].clear_faults()
    finish(trial, seen)
    deployed()
    seen("versions", f"{revision[:12]} → this one → {revision[:12]}, with {len(trial.jobs)} Jobs on their way")


@pytest.mark.trial("the payer's key rotated, the old one refused at once")
def test_a_rotation_of_the_key(trial, payments, key, seen):
    sandbox, _ = payments
    trial.await_running(trial.begin(2))
    renewed = sandbox.issue_key(PAYER)
    patch = json.dumps({"stringData": {"api-key": renewed}})
    trial.kubectl("patch", "secret", "purpleflea-creds", "--type=merge", "--patch", patch)
    sandbox.revoke_key(key)
    trial.gate.open()
    trial.begin(2)
    finish(trial, seen)
    seen("operator", f"{restarts(trial)}; the kubelet brought the new key")


@pytest.mark.trial("the node restarted: every process on it ends")
def test_a_node_restart(trial, seen):
    trial.await_running(trial.begin(3))
    ended = faults.restart_node(trial.cluster)
    trial.begin(1)
    finish(trial, seen)
    seen("ended", f"{ended} processes of pods, and all components of the cluster")


@pytest.mark.trial("the API server away while Jobs end")
def test_an_outage_of_the_api_server(trial, seen):
    running = trial.begin(3)
    trial.await_running(running)
    with faults.killed(trial.cluster, "kube-apiserver"):
        trial.gate.open()
        threading.Event().wait(OUTAGE_SECONDS)  # its length is what is tried
    back = time.monotonic()
    trial.begin(1)
    finish(trial, seen)
    seen("away", f"{OUTAGE_SECONDS:.0f} s, in which {len(running)} Jobs ended")
    seen("settled", f"{time.monotonic() - back:.0f} s after the API server was back, with {restarts(trial)}")


@pytest.mark.trial("a full disk under the payment service")
def test_a_full_disk(trial, payments, small_disk, seen):
    sandbox, _ = payments
    trial.await_running(trial.begin(2))
    before = len(sandbox.received)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as taken:
        try:
            while True:
                taken.write(b"x" * 4096)
        except OSError as error:
            seen("disk", error.strerror)
    trial.begin(2)
    trial.gate.open()

    def refused() -> list:
        return [call for call in sandbox.received[before:] if not call.carried_out]

    waiting.until("the service could not write what it was asked for", lambda: len(refused()) > 2, 120, trial.state)
    seen("refused meanwhile", f"{len(refused())} requests that move money")
    filler.unlink()
    finish(trial, seen)


@pytest.mark.trial("etcd restored from a snapshot older than the last payments")
def test_a_restored_snapshot_of_etcd(trial, seen):
    old = trial.begin(2)
    trial.await_running(old)
    with faults.etcd_snapshot(trial.cluster) as snapshot:
        [forgotten] = trial.begin(1)
        trial.await_running([forgotten])
        trial.gate.open()
        trial.await_settled()
        snapshot.restore()
    assert trial.phases()[forgotten] == "none"
    trial.create(forgotten)  # as whatever keeps the manifests does
    finish(trial, seen)
    for name, outcome in trial.outcomes().items():
        seen(f"{name}, {'not in the snapshot' if name == forgotten else 'paid after the snapshot'}", outcome)
