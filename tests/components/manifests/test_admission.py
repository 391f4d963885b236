"""Two admissions, asked of a real API server: the credentials policy, and Pod Security against our own evaluator."""

import copy

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.admissionregistration_v1 import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from lightkube.resources.core_v1 import Namespace, Pod, ServiceAccount
from lightkube.types import PatchType

from components.manifests import admission, pod
from components.settings import Settings
from tests.components.restricted import violations

SECRET = "purpleflea-creds"
CONTAINER = {"name": "main", "image": "team/agent:1"}
# ruff: noqa: E501 - a table is read by its rows
REFERENCES = {
    "env": {"containers": [{**CONTAINER, "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "k"}}}]}]},
    "envFrom": {"containers": [{**CONTAINER, "envFrom": [{"secretRef": {"name": SECRET}}]}]},
    "init container": {"containers": [CONTAINER], "initContainers": [{**CONTAINER, "name": "init", "envFrom": [{"secretRef": {"name": SECRET}}]}]},
    "volume": {"containers": [CONTAINER], "volumes": [{"name": "v", "secret": {"secretName": SECRET}}]},
    "projected volume": {"containers": [CONTAINER], "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": SECRET}}]}}]},
    "CSI volume": {"containers": [CONTAINER], "volumes": [{"name": "v", "csi": {"driver": "d.example", "nodePublishSecretRef": {"name": SECRET}}}]},
}  # fmt: skip


@pytest.fixture
def guarded(namespace):
    """A namespace with the policy, and with a pod from before it."""
    settings = Settings(namespace=namespace.name)
    namespace.client.create(Pod.from_dict({"metadata": {"name": "veteran"}, "spec": REFERENCES["env"]}))
    for kind, made in (
        (ValidatingAdmissionPolicy, admission.policy(settings)),
        (ValidatingAdmissionPolicyBinding, admission.binding(settings)),
    ):
        namespace.client.apply(kind.from_dict(made), field_manager="tests", force=True)
    for name in ("pf-agent-sa", "someone-else"):
        namespace.client.create(ServiceAccount(metadata=ObjectMeta(name=name)))
    yield namespace
    namespace.client.delete(ValidatingAdmissionPolicyBinding, admission.binding(settings)["metadata"]["name"])
    namespace.client.delete(ValidatingAdmissionPolicy, admission.policy(settings)["metadata"]["name"])


def refused(namespace, account, spec) -> bool:
    """Whether the server refuses the pod, by the policy and by nothing else."""
    answer = _answer(namespace, {**spec, "serviceAccountName": account})
    assert answer == "" or f"may use the Secret {SECRET}" in answer
    return bool(answer)


def _answer(namespace, spec) -> str:
    """Why the server would refuse the pod; empty: it would take it."""
    try:
        namespace.client.create(Pod.from_dict({"metadata": {"generateName": "pod-"}, "spec": spec}), dry_run=True)
    except ApiError as error:
        return str(error)
    return ""


def in_force(namespace) -> None:
    """A policy takes a moment to reach the API server's own cache: ask until it refuses."""
    for _ in range(2000):
        if refused(namespace, "someone-else", REFERENCES["env"]):
            return
    pytest.fail("the policy never came into force")


def test_only_listed_accounts_refer_to_the_secret(guarded):
    in_force(guarded)
    for way, spec in REFERENCES.items():
        assert refused(guarded, "someone-else", spec), way
        assert refused(guarded, "default", spec), way
        assert not refused(guarded, "pf-agent-sa", spec), way
    other = copy.deepcopy(REFERENCES["volume"])
    other["volumes"][0]["secret"]["secretName"] = "another"
    assert not refused(guarded, "someone-else", other)
    assert not refused(guarded, "someone-else", {"containers": [CONTAINER]})


def test_a_debugging_container_is_no_way_in(guarded):
    in_force(guarded)
    body = {"metadata": {"name": "victim"}, "spec": {"containers": [CONTAINER], "serviceAccountName": "someone-else"}}
    guarded.client.create(Pod.from_dict(body))
    spy = {**CONTAINER, "name": "spy", "envFrom": [{"secretRef": {"name": SECRET}}]}
    with pytest.raises(ApiError, match="may use the Secret"):
        guarded.client.patch(
            Pod.Ephemeralcontainers, "victim", {"spec": {"ephemeralContainers": [spy]}}, patch_type=PatchType.STRATEGIC
        )


def test_a_pod_from_before_the_policy_can_still_be_let_go(guarded):
    """The Job controller takes its finalizer off by an update; refusing that would hold the Job for ever."""
    in_force(guarded)
    guarded.client.patch(Pod, "veteran", {"metadata": {"labels": {"seen": "yes"}}}, patch_type=PatchType.MERGE)


GOOD = pod.spec(Settings(), "default", [pod.container(Settings(), "main", ["run"], Settings().worker.resources)], api_access=False)  # fmt: skip
IN_POD = {"fsGroup": 1}
SPOILED = {
    "as it is": {},
    "host network": {"hostNetwork": True},
    "host PID": {"hostPID": True},
    "host path": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    "NFS": {"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]},
    "sysctl": {"securityContext": {**GOOD["securityContext"], "sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
    "no pod context": {"securityContext": IN_POD},
    "root": {"securityContext": {**GOOD["securityContext"], "runAsUser": 0}},
    "unconfined": {"securityContext": {**GOOD["securityContext"], "seccompProfile": {"type": "Unconfined"}}},
    "SELinux user": {"securityContext": {**GOOD["securityContext"], "seLinuxOptions": {"user": "u"}}},
}
SPOILED_CONTAINERS = {
    "no context": {"securityContext": {}},
    "privileged": {"securityContext": {"privileged": True}},
    "escalation": {"securityContext": {"capabilities": {"drop": ["ALL"]}}},
    "capability": {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}},
    "allowed capability": {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}},
    "host port": {"ports": [{"containerPort": 80, "hostPort": 80}]},
    "probe of another host": {"livenessProbe": {"httpGet": {"port": 80, "host": "10.0.0.1"}}},
}  # fmt: skip


def test_our_evaluator_says_what_the_real_admission_says(namespace):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace.client.patch(Namespace, namespace.name, {"metadata": {"labels": labels}}, patch_type=PatchType.MERGE)
    pods = {name: GOOD | change for name, change in SPOILED.items()}
    pods |= {
        name: GOOD | {"containers": [GOOD["containers"][0] | change]} for name, change in SPOILED_CONTAINERS.items()
    }
    for name, spec in pods.items():
        answer = _answer(namespace, spec)
        assert answer == "" or "violates PodSecurity" in answer, f"{name}: {answer}"
        assert (violations(spec) == []) is (answer == ""), f"{name}: {violations(spec)}"
