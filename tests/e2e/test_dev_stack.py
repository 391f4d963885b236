"""The dev stack's whole way, as its README says: rendered, applied, paid, disputed, taken away. Real pods throughout.

Pods that the stack leaves out because their programs are yet to come are named in Pulumi.dev.yaml, with the reason.
"""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from components.manifests.credentials import SANDBOX_API_KEY as API_KEY
from components.settings import Settings
from components.synth import __main__ as synth
from runtime.contract import ESCROW_REQUEST_ANNOTATION, WORK_ID_ANNOTATION
from runtime.sandbox.testing import running_sandbox
from tests.e2e.kubectl import Kubectl
from tests.e2e.stack import OPERATOR, PATIENCE, Stack
from tests.toolchain import images, waiting
from tests.toolchain.fixtures import require
from tests.toolchain.node_files import NODE_NAME, STORAGE_CLASS

pytestmark = pytest.mark.xdist_group("dev-stack")
PROJECT = Path(__file__).parents[2]
NAMESPACE = Settings().namespace
FAIL = "import sys; print('bad luck'); sys.exit(7)"
RUN_ON = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)); signal.pause()"


@pytest.fixture(scope="module")
def dist(runtime_image, tmp_path_factory) -> Path:
    """What `make render` writes of the dev stack, with the image just built, and with two more Jobs in the stack."""
    folder = tmp_path_factory.mktemp("dist")
    assert synth.main(["--stack", "dev", "--out", f"{folder}"]) == 0
    for file in (folder / "dev").rglob("*.yaml"):
        file.write_text(file.read_text().replace(Settings().images.runtime, runtime_image.reference))
    kustomization = folder / "dev" / "kustomization.yaml"
    listed = yaml.safe_load(kustomization.read_text())
    for name, amount in (("runs-on", "0.10"), ("waits", "5000.00")):
        path = f"kubernetes/job-{name}.yaml"
        (folder / "dev" / path).write_text(yaml.safe_dump(another_job(folder / "dev", name, RUN_ON, amount)))
        listed["resources"].insert(0, path)
    kustomization.write_text(yaml.safe_dump(listed))
    return folder / "dev"


@pytest.fixture(scope="module")
def kubectl(spare_node, runtime_image, tmp_path_factory) -> Kubectl:
    """A node of its own, since a stack's removal takes the definition away."""
    program = require("node", "kubectl")
    images.bring(spare_node, runtime_image)
    return Kubectl(program, spare_node.kubeconfig, NAMESPACE, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def stack(kubectl, dist) -> Stack:
    return Stack(kubectl, dist)


@pytest.fixture
def ledger(spare_node, kubectl, request):
    """The folder on this machine in which the sandbox of the next stack keeps its ledger."""
    place = spare_node.directory / "ledgers" / request.node.name
    place.mkdir(parents=True)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "local": {"path": f"{place}"},
        "storageClassName": STORAGE_CLASS,  # the claim of that class takes what is there before anything is made for it
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
    }
    name = request.node.name.replace("_", "-")
    kubectl.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    yield place / "ledger.db"
    kubectl("delete", "persistentvolume", name, "--wait=false")


def another_job(dist, name, code, amount="0.10") -> dict:
    """A Job beside the stack's, which asks for money likewise."""
    job = yaml.safe_load((dist / "kubernetes" / "job-pf-agent-job.yaml").read_text())
    request = json.loads(job["metadata"]["annotations"][ESCROW_REQUEST_ANNOTATION])
    job["metadata"]["name"] = name
    job["metadata"]["annotations"] |= {
        ESCROW_REQUEST_ANNOTATION: json.dumps({**request, "amountUsdc": amount}),
        WORK_ID_ANNOTATION: name,
    }
    job["spec"]["backoffLimit"] = 0
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", code]
    return job


def escrowctl(kubectl, *words) -> str:
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": f"{kubectl.kubeconfig}"}
    command = [sys.executable, "-m", "runtime.escrowctl", *words, "--namespace", NAMESPACE]
    return subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True).stdout


def working_set(kubectl, pod) -> int:
    """Bytes that count against the memory limit of a pod's only container; 0 before the kubelet has looked."""
    summary = json.loads(kubectl.raw(f"/api/v1/nodes/{NODE_NAME}/proxy/stats/summary"))
    found = [one for one in summary["pods"] if one["podRef"]["name"] == pod]
    return sum(c.get("memory", {}).get("workingSetBytes", 0) for one in found for c in one.get("containers", []))


@pytest.mark.checklist("K5", "K6", "K7")
def test_one_payment_out_of_the_box_and_the_documented_way_back(stack, ledger, spare_node, runtime_image, seen):
    kubectl, begun = stack.kubectl, time.monotonic()
    stack.apply_foundation()
    stack.apply()
    kubectl("wait", "deployments", "--all", "--for=condition=Available", PATIENCE)
    kubectl.create(another_job(stack.folder, "fails", FAIL))
    paid = stack.await_escrow("pf-agent-job", "Settled")
    seen.figure("dev stack: `kubectl apply` to its first payment", f"{time.monotonic() - begun:.1f} s")
    failed = stack.await_escrow("fails", "Settled")
    running = stack.await_escrow("runs-on", "Funded")
    waiting_for_funds = stack.await_escrow("waits", "Pending")
    assert waiting_for_funds["conditions"][0]["reason"] == "InsufficientBalance"
    assert (paid["outcome"], paid["lockedUsdc"], paid["paidUsdc"]) == ("Paid", "0.10", "0.099")
    assert failed["outcome"] == "Disputed"
    assert "container agent exited with 7" in failed["reason"]
    assert "bad luck" in failed["reason"], "its last words, by terminationMessagePolicy"
    name = paid["job"]["name"]
    kubectl("wait", "job/runs-on", "--for=jsonpath={.status.ready}=1", PATIENCE)
    pods = "app.kubernetes.io/component in (agent, worker)"
    claims = kubectl("logs", "--selector", pods, "--container", "faucet-claim")
    assert claims.count("granted for agent-sandbox-001: 1.00") == 1, "one agent, one dollar, however many pods"
    assert '"message": "done: ' in kubectl("logs", f"job/{name}")
    reasons = {event["reason"] for event in kubectl.get("events") if event["involvedObject"]["name"] == name}
    assert {"Suspended", "EscrowFunded", "Resumed", "Completed", "EscrowPaid"} <= reasons
    statement = stack.statement()
    assert statement["balanced"]
    assert {e["escrow_id"]: e["status"] for e in statement["escrows"]} == {
        paid["escrowId"]: "released",
        failed["escrowId"]: "disputed",
        running["escrowId"]: "funded",
    }
    seen(
        "released", f"escrow {paid['escrowId']}: {paid['lockedUsdc']} USDC locked, {paid['paidUsdc']} paid", "K6", "K7"
    )
    seen("disputed", f"escrow {failed['escrowId']}: {failed['reason']}", "K6")
    seen("claimed", "1.00 USDC once, by every pod of the agent together", "K5")
    check_operator(kubectl, seen)
    seen.figure("node: nothing to DNS ready", f"{max(spare_node.seconds.values())} s")
    seen.figure("image, uncompressed archive", f"{runtime_image.archive.stat().st_size / 1e6:.0f} MB")
    header, *rows = kubectl("get", "escrows").splitlines()
    assert header.split() == ["NAME", "WORK", "PHASE", "LOCKED", "PAYEE", "PAID", "OUTCOME", "AGE"]
    assert sum("worker-agent-007" in row for row in rows) == 3
    assert "runs-on" in escrowctl(kubectl, "list")
    assert "container agent exited with 7" in escrowctl(kubectl, "explain", "fails")

    # Taken away in one go, the stack's Jobs are settled by an operator that is told to stop with them.
    kubectl("delete", "--kustomize", f"{stack.folder}", PATIENCE)
    assert {job["metadata"]["name"] for job in kubectl.get("jobs")} == {"fails"}, "the stack's are gone"
    stack.await_escrow("runs-on", "Settled")  # the operator has its last seconds for that
    assert {name.split("-")[0]: e["outcome"] for name, e in stack.escrows().items()} == {
        "pf": "Paid",
        "fails": "Disputed",
        "runs": "Disputed",
        "waits": "Cancelled",
    }
    # The way back as the README beside the files has it: it finds less than it looks for, and ends without an error.
    stack.remove_jobs()
    stack.remove_foundation()
    with running_sandbox(ledger) as books:
        assert sorted(e["status"] for e in books.statement()["escrows"]) == ["disputed", "disputed", "released"]


def check_operator(kubectl, seen):
    """It stays within the guide's limits under the restricted level, answers its probes and keeps the key to itself."""
    [namespace] = kubectl.get("namespaces", "--selector", "app.kubernetes.io/part-of=purpleflea")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    [pod] = kubectl.get("pods", "--selector", OPERATOR)
    [container], [status] = pod["spec"]["containers"], pod["status"]["containerStatuses"]
    name = pod["metadata"]["name"]
    assert container["resources"]["limits"] == {"cpu": "200m", "memory": "128Mi"}
    assert status["restartCount"] == 0
    waiting.until("the kubelet has looked at the memory", lambda: working_set(kubectl, name))
    assert working_set(kubectl, name) < 96 << 20
    seen.figure("operator: memory", f"{working_set(kubectl, name) >> 20} MiB of 128")
    [ready] = [one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    started = status["state"]["running"]["startedAt"]
    seconds = (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()
    seen.figure("image: container started to operator ready (to the second)", f"{seconds:.0f} s")
    for probe in ("livez", "readyz"):
        kubectl.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8081/proxy/{probe}")
    log = kubectl("logs", name)
    assert all(json.loads(line)["level"] in {"INFO", "WARNING"} for line in log.splitlines())
    assert API_KEY not in log


@pytest.mark.checklist("K6")
def test_a_namespace_that_is_deleted_with_work_in_it_ends_and_the_money_is_disputed(stack, ledger, seen):
    kubectl = stack.kubectl
    stack.apply_foundation()
    stack.apply()
    stack.await_escrow("pf-agent-job", "Settled")
    running = stack.await_escrow("runs-on", "Funded")
    kubectl("wait", "job/runs-on", "--for=jsonpath={.status.ready}=1", PATIENCE)
    kubectl("delete", "namespace", NAMESPACE, PATIENCE)
    with running_sandbox(ledger) as books:
        statement = books.statement()
    assert statement["balanced"]
    assert {e["escrow_id"]: e["status"] for e in statement["escrows"]}[running["escrowId"]] == "disputed"
    seen("the work under way", f"escrow {running['escrowId']} disputed, none released")
    stack.remove_foundation()
