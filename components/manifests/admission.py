"""How an admission policy of a stack is written; what each says stands in a module of its own.

Values are written into the expressions: a policy's ConfigMap parameters can freeze at old values.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.manifests.naming import Manifest, cluster_name, metadata
from components.settings import Settings

API = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a request must satisfy, and what the API server says where it does not."""

    unless: str
    """CEL."""
    message: str

    def rule(self) -> Manifest:
        """The entry of `validations`."""
        return {"expression": self.unless, "message": self.message, "reason": "Forbidden"}


def policy(
    settings: Settings,
    name: str,
    matches: Iterable[Manifest],
    variables: Mapping[str, str],
    refusals: Iterable[Refusal],
) -> Manifest:
    """A ValidatingAdmissionPolicy.

    `matches` are resource rules; `variables` are CEL by name, and each may use those before it.
    """
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata(settings, cluster_name(settings, name), namespace=None),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [*matches]},
            "variables": [{"name": key, "expression": text} for key, text in variables.items()],
            "validations": [refusal.rule() for refusal in refusals],
        },
    }


def binding(settings: Settings, of: Manifest, namespaces: Manifest | None = None) -> Manifest:
    """Puts a policy in force in the namespaces of a selector; without one in the stack's."""
    own = {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}
    name = of["metadata"]["name"]
    return {
        "apiVersion": API,
        "kind": f"{of['kind']}Binding",
        "metadata": metadata(settings, name, namespace=None),
        "spec": {
            "policyName": name,
            **({"validationActions": ["Deny"]} if of["kind"] == "ValidatingAdmissionPolicy" else {}),
            "matchResources": {"namespaceSelector": namespaces or own},
        },
    }


def on(operations: str, *resources: str, group: str = "") -> Manifest:
    """A resource rule: operations with commas between them, and plural resources with their subresources."""
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": operations.split(","),
        "resources": [*resources],
    }


def cel(value: Any) -> str:
    """A text, or a list of texts, as CEL has it."""
    return json.dumps(value)


def may(verb: str, resource: str, name: str) -> str:
    """CEL: whether whoever asks has this right to an object, whose name is CEL too, in the namespace of the request."""
    return (
        f"authorizer.group('').resource('{resource}').namespace(request.namespace).name({name})"
        f".check('{verb}').allowed()"
    )
