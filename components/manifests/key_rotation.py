"""A key that somebody has put into the Secret of a sandbox stack stays, whatever applies the manifest again.

The manifest carries the sandbox's play key, and every `kubectl apply`, `helm upgrade`, rollback and sync of a GitOps
tool writes it. None of them can create an object and leave it alone from then on: a hook of Helm's is made anew by the
next installation and by each sync of Argo CD, which renders without a look at the cluster. So the API server keeps the
key: the play key never takes the place of another one.
"""

from base64 import b64encode

from components.manifests import admission, naming
from components.manifests.admission import cel
from components.manifests.credentials import SANDBOX_API_KEY
from components.manifests.naming import Manifest, cluster_name, metadata
from components.settings import Settings


def is_used(settings: Settings) -> bool:
    """Whether the stack makes the Secret of a sandbox, on a cluster that knows such policies."""
    has_policies = settings.admission.job_gate == "policy"
    return settings.sandbox.enabled and has_policies and not settings.credentials.existing_secret


def policy(settings: Settings) -> Manifest:
    """The MutatingAdmissionPolicy. It reads nothing but the key, and changes it to what it was."""
    key = settings.credentials.api_key_key
    play = b64encode(SANDBOX_API_KEY.encode()).decode()
    secrets = {**admission.on("UPDATE", "secrets"), "resourceNames": [settings.payer_secret]}
    patch = f'JSONPatch{{op: "replace", path: "/data/" + jsonpatch.escapeKey({cel(key)}), value: variables.before}}'
    return {
        "apiVersion": admission.API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata(settings, cluster_name(settings, naming.KEY_ROTATION), namespace=None),
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"resourceRules": [secrets]},
            "variables": [
                {"name": "before", "expression": f"string(oldObject.?data[?{cel(key)}].orValue(''))"},
                {"name": "after", "expression": f"string(object.?data[?{cel(key)}].orValue(''))"},
            ],
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {
                        "expression": f"variables.after == {cel(play)} && !(variables.before in ['', {cel(play)}])"
                        f" ? [{patch}] : []"
                    },
                }
            ],
        },
    }
