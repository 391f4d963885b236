"""The sidecar in a real pod, under its real limits: an agent without a key creates escrows, and its Job completes.

Beyond its budget a person is asked, who says yes with kubectl. Meanwhile the key is rotated and the sidecar restarted.

The sandbox runs on this machine, so that the test reads its ledger directly.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightkube import codecs
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod, Secret

from components.manifests import stack
from components.settings import Settings
from runtime.contract import MountPath, Route
from tests.toolchain import waiting
from tests.toolchain.fixtures import require

ROOT = Path(__file__).parents[2]
AGENT = "agent-mcp-001"
KINDS = {"Namespace", "Secret", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "Job"}
WORK = """
import json, os, time, urllib.request
away = 0
def ask(server, method, **params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    asked = urllib.request.Request(os.environ["MCP_PROXY_URL"] + server, body, headers)
    text = urllib.request.urlopen(asked, timeout=30).read().decode()
    return json.loads(text[text.index("{"):])
def create(amount, description):
    terms = {"amount_usd": amount, "counterparty_agent_id": "ag_payee", "description": description}
    return ask("/escrow", "tools/call", name="create_escrow", arguments=terms)
tools = ask("/escrow", "tools/list")["result"]["tools"]
for _ in range(50):
    ask("/escrow", "tools/call", name="escrow_stats", arguments={})
created = create(0.5, "work [one]")["result"]["content"][0]["text"]
refused = create(0.6, "work [two]")["error"]["data"]
again = None
while again is None or "error" in again:
    time.sleep(0.2)
    try:
        again = create(0.6, "work [two]")
        assert again.get("error", {}).get("data", refused)["approval"] == refused["approval"]
    except OSError:  # the sidecar is being restarted
        away += 1
print(json.dumps({
    "tools": [tool["name"] for tool in tools],
    "created": json.loads(created)["status"],
    "refused": refused["reason"],
    "approved": json.loads(again["result"]["content"][0]["text"])["status"],
    "was away": away > 0,
    "key": [name for name in os.environ if "KEY" in name],
}))
"""


@pytest.fixture
def job(node, namespace, node_image, sandbox):
    """The name of the applied Job, and the key that its agent does not have."""
    running, link = sandbox
    key = running.issue_key(AGENT)
    running.deposit(AGENT, "5.00")
    running.issue_key("ag_payee")
    off = {name: {"enabled": False} for name in ("worker", "operator", "payroll", "hpa", "admission")}
    endpoints = {
        "faucetEndpoint": link.url() + Route.SANDBOX_MCP_FAUCET,
        "escrowEndpoint": link.url() + Route.SANDBOX_MCP_ESCROW,
    }
    settings = Settings.parse(
        {
            **off,
            "namespace": namespace.name,
            "images": {"runtime": node_image},
            "sandbox": {"enabled": True},
            "services": {"faucetUrl": link.url(), "escrowUrl": link.url()},
            "mcp": {**endpoints, "podBudgetUsdc": "1.00", "onExceed": "requireApproval"},
            "faucet": {"claimOnStartup": False},
            "credentials": {"existingSecret": "", "agentWallet": AGENT},
            "job": {"activeDeadlineSeconds": 120, "stableName": True},
            "agents": [{"name": "pf-agent-job", "payee": "p", "command": ["python", "-c", WORK]}],
        }
    )
    for manifest in stack.objects(settings, key):
        if manifest["kind"] in KINDS:
            namespace.client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)
    return "pf-agent-job", key


@pytest.fixture
def run(node, namespace, tmp_path):
    """Runs a command against the cluster and returns what it prints."""
    path = f"{require('node', 'kubectl').parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "KUBECONFIG": f"{node.kubeconfig}", "HOME": f"{tmp_path}"}  # for kubectl's cache

    def run(*command: str) -> str:
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def rotate(namespace, running, run, pod, old_key) -> str:
    """Put a new key in the old one's place and restart only the sidecar; it has the new one when this returns."""
    key = running.issue_key(AGENT)
    running.revoke_key(old_key)
    (secret,) = [each for each in namespace.client.list(Secret) if "api-key" in (each.data or {})]
    namespace.client.patch(Secret, secret.metadata.name, {"stringData": {"api-key": key}})

    def in_sidecar(program: str) -> str:
        return run("kubectl", "exec", pod, "-n", namespace.name, "-c", "pf-mcp-proxy", "--", "python", "-c", program)

    def is_restarted() -> bool:
        sidecar = sidecar_of(namespace, pod)
        return sidecar.restartCount == 1 and bool(sidecar.started)

    in_sidecar("import os; os.kill(1, 15)")
    waiting.until("the sidecar is restarted", is_restarted)
    digest = hashlib.sha256(key.encode()).hexdigest()
    seen = f"import hashlib; print(hashlib.sha256(open('{MountPath.CREDENTIALS}/api-key', 'rb').read()).hexdigest())"
    waiting.until("the sidecar has the new key", lambda: digest in in_sidecar(seen))
    return key


def sidecar_of(namespace, pod):
    """The sidecar's state as the pod's status has it."""
    status = namespace.client.get(Pod, pod).status
    (sidecar,) = [each for each in status.initContainerStatuses if each.name == "pf-mcp-proxy"]
    return sidecar


@pytest.mark.checklist("K11")
def test_an_agent_without_a_key_pays_beyond_its_budget_on_a_persons_word(namespace, sandbox, job, run, seen):
    name, key = job
    pods = lambda: [*namespace.client.list(Pod, labels={"batch.kubernetes.io/job-name": name})]  # noqa: E731
    waiting.until("its pod is there", pods)
    pod = pods()[0].metadata.name
    namespace.client.wait(Pod, pod, for_conditions=["Ready"])

    def of_pod(act: str, *more: str) -> str:
        return run(sys.executable, "-m", "runtime.escrowctl", act, pod, *more, "-n", namespace.name)

    waiting.until("it asks a person", lambda: of_pod("approvals"))
    asked = of_pod("approvals").split()
    assert asked[1:5] == ["pending", "escrow/create_escrow", "0.60", "USDC"]
    new_key = rotate(namespace, sandbox[0], run, pod, key)
    assert "approved" in of_pod("approve", asked[0])  # what was asked before the restart
    namespace.client.wait(Job, name, for_conditions=["Complete"], raise_for_conditions=["Failed"])
    done = json.loads("".join(namespace.client.log(pod, container="agent")))
    assert (done["created"], done["refused"], done["key"]) == ("funded", "approval_required", [])
    assert (done["approved"], done["was away"]) == ("funded", True)
    assert "create_escrow" in done["tools"]
    said = "".join(namespace.client.log(pod, container="pf-mcp-proxy"))
    assert '"reason": "approval_required"' in said
    assert key not in said
    assert new_key not in said
    sidecar = sidecar_of(namespace, pod)
    assert (sidecar.restartCount, sidecar.state.terminated.exitCode) == (1, 0)
    assert [call.subject for call in sandbox[0].received if call.act == "create"] == ["one", "two"]
    seen("tools offered", len(done["tools"]))
    seen("paid through it", "0.50 USDC within the budget, 0.60 beyond it on a person's word; the agent holds no key")
    seen("restarts for a rotated key", "1, of the sidecar alone, while the agent worked")
