"""Pod Security, asked of a real API server, against our own evaluator."""

from lightkube import ApiError
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import PatchType

from components.manifests import pod
from components.manifests.restricted import violations
from components.settings import Settings

# ruff: noqa: E501 - a table is read by its rows


def _answer(namespace, spec) -> str:
    """Why the server would refuse the pod; empty: it would take it."""
    try:
        namespace.client.create(Pod.from_dict({"metadata": {"generateName": "pod-"}, "spec": spec}), dry_run=True)
    except ApiError as error:
        return str(error)
    return ""


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
