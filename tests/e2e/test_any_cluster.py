"""The operator of a stack in a namespace of its own on any cluster, yours too: one Job paid, one disputed.

`test_dev_stack.py` shows more of it, and takes the whole stack away; that is for a node that nobody else uses.
"""

import time

import pytest

from components.manifests import naming
from components.settings import Settings
from components.settings.budget import exposure
from runtime.contract import ESCROW_ID_ANNOTATION
from runtime.money import Usdc
from tests.e2e.kubectl import Kubectl
from tests.e2e.stack import PATIENCE, Stack
from tests.e2e.trial import apply, await_gate, objects, stack_settings
from tests.runtime.operator.world import PAYER, install_definition
from tests.toolchain import pods, waiting
from tests.toolchain.fixtures import require

pytestmark = pytest.mark.opt_in
SCRIPTS = {"works": "exit 0", "fails": "echo bad luck; exit 7"}


@pytest.fixture
def kubectl(node, namespace, tmp_path) -> Kubectl:
    return Kubectl(require("node", "kubectl"), node.kubeconfig, namespace.name, tmp_path)


@pytest.fixture
def settings(namespace, node_image, sandbox):
    """Two agents, each with the default budget."""
    agents = [
        {"name": name, "payee": f"payee-{name}", "image": pods.IMAGE, "command": ["/bin/busybox", "sh", "-c", script]}
        for name, script in SCRIPTS.items()
    ]
    given = stack_settings(namespace.name, node_image, sandbox[1].url())
    return given | {"createCrd": False, "agents": agents, "job": {"backoffLimit": 0}}


@pytest.fixture
def deployed(node, kubectl, settings, sandbox):
    """Without its Jobs; these come back, to be applied."""
    running, _ = sandbox
    key = running.issue_key(PAYER)
    running.deposit(PAYER, "5.00")
    install_definition(node)
    manifests = objects(settings, key)
    jobs = [one for one in manifests if one["kind"] == "Job"]
    try:
        apply(kubectl, [one for one in manifests if one["kind"] != "Job"])
        await_gate(kubectl)
        kubectl("rollout", "status", f"deployment/{naming.OPERATOR}", PATIENCE)
        yield jobs
    finally:
        kubectl("delete", "jobs", "--all", PATIENCE)
        for one in manifests:
            if "namespace" not in one["metadata"] and one["kind"] != "Namespace":
                kubectl("delete", one["kind"], one["metadata"]["name"], "--ignore-not-found")


@pytest.mark.checklist("K2", "K6", "K7", "K14")
def test_one_job_is_paid_and_one_disputed_within_the_exposure_known_before(deployed, kubectl, settings, sandbox, seen):
    most = exposure(Settings.parse(settings))
    seen("exposure, known before", most, "K14")
    stack, begun = Stack(kubectl, kubectl.home), time.monotonic()
    apply(kubectl, deployed)
    paid, failed = stack.await_escrow("works", "Settled"), stack.await_escrow("fails", "Settled")
    seen.figure("operator there: a Job's creation to its payment", f"{time.monotonic() - begun:.1f} s")
    assert (paid["outcome"], paid["lockedUsdc"], paid["paidUsdc"]) == ("Paid", "0.10", "0.099")
    assert failed["outcome"] == "Disputed"
    assert "container agent exited with 7" in failed["reason"]
    seen(
        "released", f"escrow {paid['escrowId']}: {paid['lockedUsdc']} USDC locked, {paid['paidUsdc']} paid", "K6", "K7"
    )
    seen("disputed", f"escrow {failed['escrowId']}: {failed['reason']}", "K6")

    statement = sandbox[0].statement()
    assert statement["balanced"]
    locked = [Usdc.parse(one["locked_usdc"]).micro for one in statement["escrows"]]
    assert sum(locked) == int(most.amount * 1_000_000)
    seen("locked", f"{len(locked)} escrows, {most.amount} USDC, {most.total} with the fees", "K14")

    [job] = [one for one in kubectl.get("jobs") if one["metadata"]["name"].startswith("works")]
    assert job["metadata"]["annotations"][ESCROW_ID_ANNOTATION] == paid["escrowId"]
    name = job["metadata"]["name"]

    def reasons() -> list[str]:
        events = [one for one in kubectl.get("events") if one["involvedObject"]["name"] == name]
        known = {one["reason"]: one["metadata"]["creationTimestamp"] for one in events}
        return [reason for reason in ("Suspended", "EscrowFunded", "Resumed") if reason in known]

    waiting.until("its events tell that it waited for its money", lambda: len(reasons()) == 3)
    seen("before it ran", ", ".join(reasons()), "K7")

    account = f"system:serviceaccount:{kubectl.namespace}:{naming.OPERATOR_ACCOUNT}"
    rights = kubectl("auth", "can-i", "--list", "--no-headers", f"--as={account}")
    assert "escrows.purpleflea.com" in rights
    assert not [line for line in rights.splitlines() if line.startswith(("secrets ", "*.*"))]
    seen("the operator's rights", f"{len(rights.splitlines())} lines of `kubectl auth can-i --list`, no secrets", "K2")
