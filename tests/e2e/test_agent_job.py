"""The guide's agent Job in a real pod: its dollar claimed by the init container, its work done, its rights none.

The sandbox runs on this machine, so that the test reads its ledger directly.
"""

import json

import pytest
from lightkube import codecs
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from components.manifests import services, stack
from components.settings import Settings

AGENT = "agent-e2e-001"
KINDS = {"Namespace", "Secret", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "Job"}
"""What the Job needs of the stack; the sandbox of the stack's own stays away."""

WORK = """
import json, os, pathlib, sys
import runtime.contract, httpx, asyncio, urllib.request
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
try:
    pathlib.Path("/app/left-behind").touch()
except OSError as error:
    read_only = error.strerror
print(json.dumps({
    "ids": [os.getuid(), os.getgid()],
    "root": read_only,
    "capabilities": int(status["CapEff"], 16),
    "may_gain_rights": status["NoNewPrivs"].strip() != "1",
    "not_compiled": [m.__name__ for m in (runtime.contract, httpx, asyncio) if not os.path.exists(m.__cached__)],
    "faucet": json.loads(pathlib.Path(os.environ["WORKSPACE"], "faucet-result.json").read_text()),
    "task": [os.environ["TASK_DESCRIPTION"], os.environ["TASK_BUDGET_USDC"], os.environ["AGENT_ID"]],
    "services": {name: urllib.request.urlopen(url + "/health").status for name, url in json.loads(sys.argv[1]).items()},
}))
"""


@pytest.fixture
def job(node, namespace, node_image, sandbox):
    """The name of the applied Job."""
    running, link = sandbox
    key = running.issue_key(AGENT)
    off = {name: {"enabled": False} for name in ("worker", "mcp", "operator", "payroll", "hpa", "admission")}
    reached = json.dumps(dict.fromkeys(services.SERVICES, link.url()))
    settings = Settings.parse(
        {
            **off,
            "namespace": namespace.name,
            "images": {"runtime": node_image},
            "sandbox": {"enabled": True},
            "services": {f"{service}Url": link.url() for service in services.SERVICES},
            "credentials": {"existingSecret": "", "agentWallet": AGENT},
            "job": {"activeDeadlineSeconds": 120},  # a pod that cannot start fails the test, and soon
            "agents": [
                {"name": "pf-agent-job", "payee": "p", "task": "sum it up", "command": ["python", "-c", WORK, reached]}
            ],
        }
    )
    for manifest in stack.objects(settings, key):
        if manifest["kind"] in KINDS:
            namespace.client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)
            name = manifest["metadata"]["name"]
    return name, key


@pytest.mark.checklist("K1", "K4", "K5", "K15")
def test_the_agent_job_claims_its_dollar_works_and_completes(namespace, sandbox, job, seen):
    name, key = job
    namespace.client.wait(Job, name, for_conditions=["Complete"], raise_for_conditions=["Failed"])
    (pod,) = namespace.client.list(Pod, labels={"batch.kubernetes.io/job-name": name})
    claimed = "".join(namespace.client.log(pod.metadata.name, container="faucet-claim"))
    done = json.loads("".join(namespace.client.log(pod.metadata.name, container="agent")))
    faucet, reached = done.pop("faucet"), done.pop("services")
    assert (faucet["outcome"], faucet["agent_id"], faucet["amount_usdc"]) == ("granted", AGENT, "1.00")
    assert done == {
        "ids": [10001, 10001],
        "root": "Read-only file system",
        "capabilities": 0,
        "may_gain_rights": False,
        "not_compiled": [],
        "task": ["sum it up", "0.10", AGENT],
    }
    statement = sandbox[0].statement()
    assert statement["balanced"]
    assert key not in claimed
    assert reached == dict.fromkeys(services.SERVICES, 200)
    seen("faucet claimed", f"{faucet['amount_usdc']} USDC for {faucet['agent_id']}", "K5")
    seen("Secret", "read by the init container alone: the agent's own has no key, and no log has it", "K1")
    seen("Job", f"{name}: complete, no capability, a read-only root, user 10001", "K4")
    seen("reached from the pod", ", ".join(sorted(reached)), "K15")
