"""The kustomizations of a stack: what runs, what it stands on, and by what kubectl tells what is no longer needed.

`kubectl` knows no order between the objects of one kustomization, and a Job is held until the operator has settled it.
So what the operator needs to do so has a kustomization of its own, the foundation: first to come, last to go.
"""

from collections.abc import Mapping

from components.manifests.naming import Manifest
from components.manifests.yaml_text import yaml_text

FILE = "kustomization.yaml"
FOUNDATION = "foundation"
"""Folder of what stands before any pod starts and until the last one has ended."""
RUNNING = "kubernetes"
"""Folder of what runs, and of what only serves what runs."""
_FOUNDATION_KINDS = (
    *("Namespace", "CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "AdmissionCheck"),
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


RIGHTS = "rights"
"""Folder of the kustomization by which `kubectl apply --prune` finds what a part left in the foundation."""
ADMINISTRATOR = "administrator"
"""Folder of what the stack needs and leaves to somebody with rights to the whole cluster."""
KEPT_KINDS = ("Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim", "Secret")
"""Never pruned: with them go accounts, ledgers and keys."""


def folder(manifest: Manifest, namespace: str) -> str:
    """Where the file of an object stands, in a stack of this namespace.

    An apply set of kubectl takes objects of one namespace, so what stands in another one is no part of what is pruned
    with every apply.
    """
    return FOUNDATION if _elsewhere(manifest, namespace) or manifest["kind"] in _FOUNDATION_KINDS else RUNNING


def kustomizations(objects: Mapping[str, Manifest], namespace: str) -> dict[str, Manifest]:
    """Path → kustomization, from the path and content of each object's file."""
    found = {
        f"{FOUNDATION}/{FILE}": _kustomization(objects, FOUNDATION, _FOUNDATION_KINDS),
        FILE: _kustomization(objects, RUNNING, _RUNNING_KINDS),
        f"{RIGHTS}/{FILE}": _rights(objects, namespace),
    }
    if any(path.startswith(f"{ADMINISTRATOR}/") for path in objects):
        found[f"{ADMINISTRATOR}/{FILE}"] = _kustomization(objects, ADMINISTRATOR, _FOUNDATION_KINDS)
    return found


def kept(objects: Mapping[str, Manifest], namespace: str) -> list[Manifest]:
    """Objects of the foundation that `--prune` must never delete."""
    found = [manifest for path, manifest in objects.items() if path.startswith(f"{FOUNDATION}/")]
    return [one for one in found if one["kind"] in KEPT_KINDS or _elsewhere(one, namespace)]


def _elsewhere(manifest: Manifest, namespace: str) -> bool:
    return manifest["metadata"].get("namespace", namespace) != namespace


def _kustomization(objects: Mapping[str, Manifest], within: str, first: tuple[str, ...]) -> Manifest:
    """A folder's objects, the kinds in `first` before the others."""
    rank = {kind: rank for rank, kind in enumerate(first)}
    here = [(rank.get(one["kind"], len(rank)), path) for path, one in objects.items() if path.startswith(f"{within}/")]
    # kustomize reads nothing outside its own folder: all but what runs stands in its kustomization's.
    inside = "" if within == RUNNING else f"{within}/"
    return _document([path.removeprefix(inside) for _, path in sorted(here)])


def _rights(objects: Mapping[str, Manifest], namespace: str) -> Manifest:
    """The foundation without what is kept: an object that is no longer in it and was, is deleted by `--prune`."""
    gone = {"$patch": "delete", "apiVersion": "any/v1", "kind": "Any", "metadata": {"name": "any"}}
    others = sorted({one["metadata"]["namespace"] for one in kept(objects, namespace) if _elsewhere(one, namespace)})
    targets = [{"kind": "|".join(KEPT_KINDS)}, *({"namespace": other} for other in others)]
    patches = [{"target": target, "patch": yaml_text(gone)} for target in targets]
    return {**_document([f"../{FOUNDATION}"]), "patches": patches}


def _document(resources: list[str]) -> Manifest:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "sortOptions": {"order": "fifo"},
        "resources": resources,
    }
