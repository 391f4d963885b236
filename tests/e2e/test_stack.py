"""A whole stack in real pods, from the project's own image: a Job asks for money, gets it, works, and is paid for."""

import json
from decimal import Decimal
from http import HTTPStatus

import pytest
from lightkube import ApiError, codecs
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import (
    LocalVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import PersistentVolume, Pod

from components.manifests import naming, stack
from components.settings import Settings
from runtime.contract import ESCROW_GROUP, ESCROW_KIND, ESCROW_PLURAL, ESCROW_VERSION
from tests.toolchain import waiting
from tests.toolchain.node_files import NODE_NAME

Escrow = create_namespaced_resource(ESCROW_GROUP, ESCROW_VERSION, ESCROW_KIND, ESCROW_PLURAL)
WORK = "import json, os; print(json.load(open(os.environ['WORKSPACE'] + '/faucet-result.json'))['outcome'])"
CLUSTER_WIDE_LATER = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy")


@pytest.fixture
def ledger_volume(own_node, namespace):
    """A volume of the node's disk for the sandbox's ledger; its class is the namespace's name."""
    place = own_node.directory / "volumes" / namespace.name
    place.mkdir(parents=True)
    here = NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=[NODE_NAME])
    spec = PersistentVolumeSpec(
        accessModes=["ReadWriteOnce"],
        capacity={"storage": "1Gi"},
        local=LocalVolumeSource(path=f"{place}"),
        nodeAffinity=VolumeNodeAffinity(
            required=NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchExpressions=[here])])
        ),
        storageClassName=namespace.name,
    )
    namespace.client.create(PersistentVolume(metadata=ObjectMeta(name=namespace.name), spec=spec))
    yield namespace.name
    namespace.client.delete(PersistentVolume, namespace.name)


@pytest.fixture
def applied(namespace, node_image, ledger_volume):
    """The stack's objects by kind and name, applied; a Job left over is let go of."""
    off = {name: {"enabled": False} for name in ("worker", "mcp", "payroll", "hpa")}
    settings = Settings.parse(
        {
            **off,
            "namespace": namespace.name,
            "images": {"runtime": node_image},
            "sandbox": {"enabled": True, "storageClass": ledger_volume},
            "credentials": {"existingSecret": ""},
            "funding": {"mode": "request"},
            "job": {"activeDeadlineSeconds": 120},
            "agents": [{"name": "pf-agent-job", "payee": "worker-agent-007", "command": ["python", "-c", WORK]}],
        }
    )
    manifests = stack.objects(settings, "sandbox-key-of-this-test")
    for manifest in manifests:
        namespace.client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)
    yield manifests
    for job in namespace.client.list(Job):
        if job.metadata.finalizers:
            namespace.client.patch(Job, job.metadata.name, {"metadata": {"finalizers": None}})
    for kind in CLUSTER_WIDE_LATER:
        for manifest in manifests:
            if manifest["kind"] == kind:
                namespace.client.delete(type(codecs.from_dict(manifest)), manifest["metadata"]["name"])


def escrows(client) -> list:
    try:
        return list(client.list(Escrow))
    except ApiError as error:
        if error.status.code != HTTPStatus.TOO_MANY_REQUESTS:  # the server still prepares the new kind
            raise
        return []


def state(client) -> str:
    """What a person would look at when it does not go on."""
    lines = []
    for pod in client.list(Pod):
        lines.append(f"{pod.metadata.name}: {json.dumps(pod.status.to_dict().get('containerStatuses'))}")
        lines += [f"  {line.strip()}" for line in client.log(pod.metadata.name, tail_lines=15)]
    return "\n".join([*lines, *(str(escrow.get("status")) for escrow in escrows(client))])


def test_a_job_asks_for_money_works_and_is_paid_for(namespace, applied):
    client = namespace.client

    def settled():
        return [one for one in escrows(client) if one.get("status", {}).get("phase") == "Settled"]

    waiting.until("the Job is paid for", settled, seconds=120, state=lambda: state(client))
    [escrow] = settled()
    assert escrow["status"]["outcome"] == "Paid"
    assert escrow["spec"]["payee"] == "worker-agent-007"
    assert Decimal(escrow["status"]["lockedUsdc"]) == Decimal("0.10")
    [job] = client.list(Job)
    waiting.until("the Job is let go of", lambda: not client.get(Job, job.metadata.name).metadata.finalizers)
    for name in (naming.SANDBOX, naming.OPERATOR):
        status = client.get(Deployment, name).status
        assert (status.readyReplicas, status.unavailableReplicas) == (1, None), name
    for pod in client.list(Pod):
        assert all(one.restartCount == 0 for one in pod.status.containerStatuses), pod.metadata.name
