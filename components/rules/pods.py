"""What pods may do: break the `restricted` level, hold a token of the API server, read a Secret, run an image."""

from collections.abc import Iterable, Iterator, Mapping

from components.manifests import restricted
from components.manifests.naming import Manifest
from components.settings.image_reference import ImageReference

Accounts = Mapping[tuple[str, str], bool]
"""Namespace and name of a ServiceAccount → whether its token is mounted where a pod does not say."""


def accounts(objects: Iterable[Manifest]) -> Accounts:
    """What the ServiceAccounts among the objects say of their tokens."""
    found = [one for one in objects if one["kind"] == "ServiceAccount"]
    return {
        (one["metadata"].get("namespace", ""), one["metadata"]["name"]): one.get("automountServiceAccountToken", True)
        for one in found
    }


def spec_of(manifest: Manifest) -> Manifest | None:
    """The spec of the pods that an object is or makes; None where it makes none."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "Pod":
        return spec
    if isinstance(spec, dict) and isinstance(spec.get("jobTemplate"), dict):
        spec = spec["jobTemplate"].get("spec") or {}
    template = spec.get("template") if isinstance(spec, dict) else None
    found = template.get("spec") if isinstance(template, dict) else None
    return found if isinstance(found, dict) and isinstance(found.get("containers"), list) else None


def images(manifest: Manifest) -> dict[str, str]:
    """Container → image; both kinds of containers, and images that are mounted as volumes."""
    pod = spec_of(manifest) or {}
    found = {one["name"]: one["image"] for one in _containers(pod) if one.get("image")}
    volumes = [one for one in pod.get("volumes") or () if (one.get("image") or {}).get("reference")]
    return found | {f"volume {one['name']}": one["image"]["reference"] for one in volumes}


def is_mutable(image: str) -> bool:
    """Whether the registry may answer with something else tomorrow: a name without a digest, or no name at all."""
    try:
        return not ImageReference.parse(image).digest
    except ValueError:
        return True


def unrestricted(manifest: Manifest) -> list[str]:
    """What the `restricted` level has against the pods of an object."""
    pod = spec_of(manifest)
    return [] if pod is None else restricted.violations(pod)


def powers(manifest: Manifest, known: Accounts) -> set[str]:
    """What the pods of an object have beyond running: a phrase for each, the same as long as nothing widens."""
    pod = spec_of(manifest)
    return set() if pod is None else {*_powers(pod, manifest["metadata"].get("namespace", ""), known)}


def _powers(pod: Manifest, namespace: str, known: Accounts) -> Iterator[str]:
    account = pod.get("serviceAccountName") or "default"
    yield f"runs as ServiceAccount {account}"
    mounted = pod.get("automountServiceAccountToken")
    if known.get((namespace, account), True) if mounted is None else mounted:
        yield f"mounts an API token of ServiceAccount {account}"
    yield from (f"breaks the restricted level: {problem}" for problem in restricted.violations(pod))
    for volume in pod.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            yield from _of_volume(volume["name"], source, account)
    for container in _containers(pod):
        yield from (f"container {container['name']} reads {secret}" for secret in _secrets(container))


def _of_volume(volume: str, source: Manifest, account: str) -> Iterator[str]:
    if token := source.get("serviceAccountToken"):
        audience = token.get("audience") or "the API server"
        yield f"volume {volume} holds a token of ServiceAccount {account} for {audience}"
    if secret := source.get("secret"):
        name = secret.get("secretName") or secret.get("name")
        for item in secret.get("items") or ({"key": "every key"},):
            yield f"volume {volume} holds Secret {name}: {item['key']}"


def _secrets(container: Manifest) -> Iterator[str]:
    for variable in container.get("env") or ():
        if reference := (variable.get("valueFrom") or {}).get("secretKeyRef"):
            yield f"Secret {reference.get('name')}: {reference['key']}"
    for source in container.get("envFrom") or ():
        if reference := source.get("secretRef"):
            yield f"Secret {reference.get('name')}: every key"


def _containers(pod: Manifest) -> Iterator[Manifest]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(kind) or ()
