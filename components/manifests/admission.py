"""Who may refer to the credentials Secret: a Role does not stop a `secretKeyRef`, since the kubelet resolves it.

Matches pods, whoever makes them, so a Job's or a CronJob's pods as well. It does not stop someone who may create pods
from naming an allowed ServiceAccount: the namespace stays the boundary of trust.
"""

import json

from components.manifests import credentials, naming
from components.manifests.naming import Manifest, cluster_name, metadata
from components.settings import Settings

_API = "admissionregistration.k8s.io/v1"


def allowed_accounts(settings: Settings) -> list[str]:
    """ServiceAccounts whose pods may refer to the Secret."""
    own = {
        naming.AGENT_ACCOUNT: True,
        naming.OPERATOR_ACCOUNT: settings.operator.enabled,
        naming.PAYROLL_ACCOUNT: settings.pays_workers,
        naming.METRICS_ACCOUNT: settings.scales_workers,
        naming.SANDBOX_ACCOUNT: settings.sandbox.enabled,
    }
    return [*(name for name, used in own.items() if used), *settings.admission.allowed_service_accounts]


def policy(settings: Settings) -> Manifest:
    """The ValidatingAdmissionPolicy."""
    name = json.dumps(credentials.secret_name(settings))
    accounts = json.dumps(allowed_accounts(settings))
    lists = ("containers", "initContainers", "ephemeralContainers")
    by_env = [
        f"object.spec.?{each}.orValue([]).exists(c,"
        f" c.?env.orValue([]).exists(e, e.?valueFrom.?secretKeyRef.?name.orValue('') == {name})"
        f" || c.?envFrom.orValue([]).exists(e, e.?secretRef.?name.orValue('') == {name}))"
        for each in lists
    ]
    by_volume = (
        "object.spec.?volumes.orValue([]).exists(v,"
        f" v.?secret.?secretName.orValue('') == {name}"
        f" || v.?csi.?nodePublishSecretRef.?name.orValue('') == {name}"
        f" || v.?projected.?sources.orValue([]).exists(s, s.?secret.?name.orValue('') == {name}))"
    )
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata(settings, cluster_name(settings, naming.CREDENTIALS_POLICY), namespace=None),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                # A pod's references never change once it is made, but for its debugging containers. Other updates must
                # pass: pods from before the policy have labels and finalizers that controllers take off.
                "resourceRules": [_on("CREATE", "pods"), _on("UPDATE", "pods/ephemeralcontainers")]
            },
            "variables": [
                {"name": "byEnvironment", "expression": " || ".join(by_env)},
                {"name": "byVolume", "expression": by_volume},
            ],
            "validations": [
                {
                    "expression": "!(variables.byEnvironment || variables.byVolume)"
                    f" || object.spec.?serviceAccountName.orValue('default') in {accounts}",
                    "message": f"only pods of {', '.join(allowed_accounts(settings))} may use the Secret"
                    f" {credentials.secret_name(settings)}; add yours to purpleflea.admission.allowedServiceAccounts",
                    "reason": "Forbidden",
                }
            ],
        },
    }


def _on(operation: str, resource: str) -> Manifest:
    return {"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": [resource]}


def binding(settings: Settings) -> Manifest:
    """Puts the policy in force in the stack's namespace."""
    name = cluster_name(settings, naming.CREDENTIALS_POLICY)
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata(settings, name, namespace=None),
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}
            },
        },
    }
