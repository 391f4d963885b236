"""What is known of Kubernetes' own kinds: their groups, which of them stand outside namespaces, their schemas."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

VERSION: Final = "1.37"
"""Of the schemas: the newest version that a stack must suit."""
_DOTLESS_GROUPS = ("", "apps", "autoscaling", "batch", "policy")
_DOTTED_GROUPS = (
    *("admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates"),
    *("coordination", "discovery", "events", "networking", "node", "rbac.authorization", "resource", "scheduling"),
    *("flowcontrol.apiserver", "internal.apiserver", "storage", "storagemigration"),
)
GROUPS: Final = frozenset((*_DOTLESS_GROUPS, *(f"{group}.k8s.io" for group in _DOTTED_GROUPS)))
"""API groups that Kubernetes serves itself; every other one is somebody's custom resources."""
CLUSTER_KINDS: Final = frozenset(
    (
        *("APIService", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding", "ClusterTrustBundle"),
        *("CSIDriver", "CSINode", "CustomResourceDefinition", "DeviceClass", "DeviceTaintRule", "FlowSchema"),
        *("IngressClass", "IPAddress", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
        *("MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass"),
        *(
            "PriorityLevelConfiguration",
            "ResourcePoolStatusRequest",
            "ResourceSlice",
            "RuntimeClass",
            "ServiceCIDR",
            "StorageClass",
        ),
        *("StorageVersion", "StorageVersionMigration", "ValidatingAdmissionPolicy", "VolumeAttachment"),
        *("ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttributesClass"),
    )
)
"""Of those groups: the kinds whose objects stand outside namespaces."""
_RIGHTS = "rbac.authorization.k8s.io"
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?v[a-z0-9]{1,61}")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def group(api_version: str) -> str:
    """`apps/v1` → `apps`, `v1` → the empty one."""
    return api_version.rpartition("/")[0]


def identity_complaint(manifest: dict[str, Any]) -> str | None:
    """What is wrong with the four texts that make an object the one it is; None where nothing is."""
    api_version, kind, metadata = (manifest.get(key) for key in ("apiVersion", "kind", "metadata"))
    if not (isinstance(api_version, str) and _API_VERSION.fullmatch(api_version)):
        return f"apiVersion: {_shown(api_version)} is none; write e.g. 'v1' or 'apps/v1'"
    if not (isinstance(kind, str) and _KIND.fullmatch(kind)):
        return f"kind: {_shown(kind)} is none; write e.g. 'ConfigMap'"
    if kind.endswith("List") and "items" in manifest:
        return "a list of objects: write each as a document of its own, between lines of ---"
    if not isinstance(metadata, dict):
        return "metadata: a mapping with the object's name is needed"
    return _name_complaint(metadata, group(api_version)) or _namespace_complaint(metadata)


def _name_complaint(metadata: dict[str, Any], its_group: str) -> str | None:
    name = metadata.get("name")
    if "generateName" in metadata:
        return "metadata.generateName: an object is applied again and again, so it needs a name of its own"
    if not isinstance(name, str) or not name:
        return "metadata.name: is required, as text"
    if its_group == _RIGHTS:
        wrong = name in (".", "..") or "/" in name or "%" in name
    else:
        wrong = len(name) > 253 or not _SUBDOMAIN.fullmatch(name)
    rule = "'/' and '%' are not allowed" if its_group == _RIGHTS else "at most 253 of a-z, 0-9, '-' and '.'"
    return f"metadata.name: {_shown(name)}: {rule}" if wrong else None


def _namespace_complaint(metadata: dict[str, Any]) -> str | None:
    namespace = metadata.get("namespace", "")
    if namespace == "" or (isinstance(namespace, str) and _LABEL.fullmatch(namespace)):
        return None
    return f"metadata.namespace: {_shown(namespace)}: at most 63 of a-z, 0-9 and '-'"


def schema_complaint(manifest: dict[str, Any]) -> str | None:
    """The object's first violation of Kubernetes' strict schema; None if it has none, or is not a built-in kind."""
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    if group(api_version) not in GROUPS:
        return None
    import kubernetes_validate  # takes 0.2 s, and few stacks need it

    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return f"Kubernetes {VERSION} has no {kind} in {api_version}"
    except kubernetes_validate.ValidationError as error:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path)
        return f"{place.lstrip('.') or 'the object'}: {_shown(error.message, 300)}"
    return None


def definitions() -> dict[str, Any]:
    """Kubernetes' strict JSON Schema of every type, by names such as `io.k8s.api.core.v1.PodSpec`."""
    folder = f"kubernetes_validate/kubernetes-json-schema/v{VERSION}.0-local-strict"
    file = distribution("kubernetes-validate").locate_file(f"{folder}/_definitions.json")
    return json.loads(Path(str(file)).read_text(encoding="utf-8"))["$defs"]


def _shown(value: Any, most: int = 60) -> str:
    text = value if isinstance(value, str) and most > 60 else repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
