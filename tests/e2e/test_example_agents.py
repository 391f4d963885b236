"""The seven agents in `examples/agents` in real pods: each finds what its file asks for, and its Job completes.

The node is given what the files want of one (labels, a GPU, a runtime class, a priority); only images and commands are
ours.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import codecs
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, ServiceAccount
from lightkube.resources.node_v1 import RuntimeClass
from lightkube.resources.scheduling_v1 import PriorityClass
from lightkube.types import PatchType

from components.manifests import stack
from components.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"
KINDS = {"Namespace", "Secret", "ServiceAccount", "Role", "RoleBinding", "Job", "CronJob"}

WORK = """
import json, os, pathlib, sys
def kind(path):
    found = [line.split() for line in open("/proc/mounts") if line.split()[1] == path]
    return found[-1][2] if found else None
def may_write(path):
    try:
        pathlib.Path(path, "written").write_text("x")
        return True
    except OSError:
        return False
home = os.environ.get("HOME", "/")
print(json.dumps({
    "arguments": sys.argv[1:], "directory": os.getcwd(), "home": may_write(home), "shm": kind("/dev/shm"),
    "keys": {name: os.environ[name] for name in ("MODEL_KEY", "SEARCH_KEY", "BROWSER") if name in os.environ},
    "index": os.environ.get("JOB_COMPLETION_INDEX"), "data": may_write("/data"), "workspace": may_write("/workspace"),
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "cloned": os.path.exists("/workspace/app/cloned"), "payer": [name for name in os.environ if name == "PF_API_KEY"],
}))
"""
BESIDE = {
    "clone": "import pathlib; at = pathlib.Path('/workspace/app'); at.mkdir(); (at / 'cloned').touch()",
    "database": "import os, signal as s; assert os.environ['NODE']; s.signal(15, lambda *_: os._exit(0)); s.pause()",
}
"""What stands in for the other containers' programs."""

FOUND = {
    "browser": {
        "directory": "/home/agent",
        "home": True,
        "shm": "tmpfs",
        "keys": {"MODEL_KEY": "m", "SEARCH_KEY": "s", "BROWSER": "b"},
    },
    "reporter": {"token": True},
    "shards": {},
    "nightly": {},
    "repository": {"cloned": True},
    "trainer": {"arguments": ["--epochs", "3"], "shm": "tmpfs", "data": False},
    "queue": {},
}
"""What each agent sees beside `COMMON`, by its name."""
COMMON = {"workspace": True, "payer": []}


def _agents(image: str) -> list[dict[str, Any]]:
    """The files as they stand, but for what this node cannot pull."""
    agents = []
    for path in sorted(EXAMPLES.glob("*.yaml")):
        agent = yaml.safe_load(path.read_text())
        agent |= {"image": image, "command": ["python", "-c", WORK], "payee": "p"}
        pod = agent.get("podTemplate", {}).get("spec", {})
        for container in pod.get("initContainers", ()):
            container |= {"image": image, "command": ["python", "-c", BESIDE[container["name"]]]}
        for container in pod.get("containers", ()):
            container.pop("imagePullPolicy", None)
        agents.append(agent)
    return agents


@pytest.fixture
def wanted_node(own_node, namespace):
    """The node with what the examples select, ask for and refer to."""
    client = namespace.client
    (found,) = client.list(Node)
    name = found.metadata.name
    client.patch(Node, name, {"metadata": {"labels": {"pool": "gpu", "arch": "arm64"}}}, patch_type=PatchType.MERGE)
    status = {"status": {"capacity": {"nvidia.com/gpu": "1"}}}
    client.patch(Node.Status, name, status, patch_type=PatchType.MERGE)
    whole = [
        RuntimeClass.from_dict({"metadata": {"name": "nvidia"}, "handler": "runc"}),
        PriorityClass.from_dict({"metadata": {"name": "batch-low"}, "value": 1}),
    ]
    for one in whole:
        client.create(one)
    for one in (
        Secret.from_dict({"metadata": {"name": "model"}, "stringData": {"key": "m"}}),
        Secret.from_dict({"metadata": {"name": "search"}, "stringData": {"SEARCH_KEY": "s"}}),
        ConfigMap.from_dict({"metadata": {"name": "browser"}, "data": {"BROWSER": "b"}}),
        ServiceAccount.from_dict({"metadata": {"name": "reporter"}}),
        PersistentVolumeClaim.from_dict(
            {
                "metadata": {"name": "tickets"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        ),
    ):
        client.create(one)
    yield
    for one in whole:
        client.delete(type(one), one.metadata.name)
    client.patch(Node, name, {"metadata": {"labels": {"pool": None, "arch": None}}}, patch_type=PatchType.MERGE)


def test_the_example_agents_run_as_their_files_say(wanted_node, namespace, node_image):
    settings = Settings.parse(
        {
            **{part: {"enabled": False} for part in ("worker", "mcp", "operator", "payroll", "hpa", "admission")},
            "namespace": namespace.name,
            "images": {"runtime": node_image},
            "sandbox": {"enabled": True},
            "faucet": {"claimOnStartup": False},
            "credentials": {"existingSecret": "", "agentWallet": "agent-examples"},
            "job": {"stableName": True},
            "agents": _agents(node_image),
        }
    )
    client = namespace.client
    for manifest in stack.objects(settings, "pf_test_key"):
        if manifest["kind"] in KINDS:
            client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)
    (schedule,) = client.list(CronJob)
    template = schedule.spec.jobTemplate.to_dict()
    client.create(Job.from_dict({**template, "metadata": {**template["metadata"], "name": schedule.metadata.name}}))
    assert {job.metadata.name for job in client.list(Job)} >= set(FOUND)
    for name, expected in FOUND.items():
        client.wait(Job, name, for_conditions=["Complete"], raise_for_conditions=["Failed"])
        pods = list(client.list(Pod, labels={"batch.kubernetes.io/job-name": name}))
        reports = [json.loads("".join(client.log(pod.metadata.name, container="agent"))) for pod in pods]
        for report in reports:
            assert {**report, **COMMON, **expected} == report, name
        if name == "shards":
            assert sorted(int(report["index"]) for report in reports) == list(range(10))
