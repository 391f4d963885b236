"""The stack's namespace under the `restricted` Pod Security level."""

from components.manifests import operator
from components.manifests.naming import Manifest, metadata
from components.settings import Settings


def namespace(settings: Settings) -> Manifest:
    """The namespace; a pod that is not `restricted` is refused there, whoever makes it."""
    found = metadata(settings, settings.namespace, namespace=None)
    found["labels"] |= {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    key, _, value = operator.namespace_selector(settings).partition("=")
    if key:  # the operator picks namespaces by this label, and the stack's own Jobs are to be paid
        found["labels"][key] = value
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": found}
