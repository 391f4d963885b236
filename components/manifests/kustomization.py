"""The two kustomizations of a stack.

`kubectl` knows no order between the objects of one kustomization, and a Job is held until the operator has settled it.
So what the operator needs to do so has a kustomization of its own, the foundation: first to come, last to go.
"""

from collections.abc import Iterable

from components.manifests.naming import Manifest

FILE = "kustomization.yaml"
FOUNDATION = "foundation"
"""Folder of what stands before any pod starts and until the last one has ended."""
RUNNING = "kubernetes"
"""Folder of what runs, and of what only serves what runs."""
_FOUNDATION_KINDS = (
    *("Namespace", "CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
    *("StorageClass", "PriorityClass", "RuntimeClass", "ResourceQuota", "LimitRange"),
    *("NetworkPolicy", "ServiceAccount", "ConfigMap", "Secret", "ClusterRole", "ClusterRoleBinding", "Role"),
    *("RoleBinding", "PersistentVolume", "PersistentVolumeClaim", "Service"),
)
"""In the order in which they are applied. A pod that starts without its rights or its Secret ends or waits, and one
that starts before the policies is not held to them. An operator that is told to stop settles the Jobs that are deleted
with it, for which it still needs its rights, its way through the network, and the sandbox's address and ledger."""
_RUNNING_KINDS = ("CronJob", "Job")
"""Before every other kind that runs: `kubectl delete` takes the same order, and what is deleted when the operator is
told to stop it settles."""


def folder(kind: str) -> str:
    """Where the file of an object stands."""
    return FOUNDATION if kind in _FOUNDATION_KINDS else RUNNING


def kustomizations(objects: Iterable[tuple[str, str]]) -> dict[str, Manifest]:
    """Path → kustomization, from the path and kind of each object's file."""
    listed = [*objects]
    return {
        f"{FOUNDATION}/{FILE}": _kustomization(listed, FOUNDATION, _FOUNDATION_KINDS),
        FILE: _kustomization(listed, RUNNING, _RUNNING_KINDS),
    }


def _kustomization(objects: list[tuple[str, str]], within: str, first: tuple[str, ...]) -> Manifest:
    """A folder's objects, the kinds in `first` before the others."""
    rank = {kind: rank for rank, kind in enumerate(first)}
    here = [(rank.get(kind, len(rank)), path) for path, kind in objects if path.startswith(f"{within}/")]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "sortOptions": {"order": "fifo"},
        # kustomize reads nothing outside its own folder: the foundation stands in its kustomization's.
        "resources": [path.removeprefix(f"{FOUNDATION}/") for _, path in sorted(here)],
    }
