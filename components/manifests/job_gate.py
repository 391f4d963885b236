"""The gate before paid Jobs: the API server suspends a Job that asks for an escrow and gives it the finalizer.

No manifest carries either, so nothing that applies a manifest again (kubectl, server-side apply, Helm, Pulumi, Argo CD)
can put them back onto a Job that the operator has resumed, and the Jobs of a CronJob have both from their first moment.

A validating policy stands beside the mutating one. A binding acts up to a second late, and a mutating policy that did
not match at first is not asked again after a webhook's change: so a Job that asks and is not held is refused, and later
changes that would undo the gate are refused too. Values are written into the expressions: a policy's ConfigMap
parameters can freeze at old values.
"""

from components.manifests import naming, operator
from components.manifests.naming import Manifest, cluster_name, metadata
from components.settings import Settings
from runtime.contract import (
    ABANDONED_ANNOTATION,
    ESCROW_GROUP,
    ESCROW_ID_ANNOTATION,
    ESCROW_PLURAL,
    ESCROW_REQUEST_ANNOTATION,
    FUNDED_ANNOTATION,
    SETTLEMENT_FINALIZER,
    WORK_ID_ANNOTATION,
)

_API = "admissionregistration.k8s.io/v1"


def policy(settings: Settings) -> Manifest:
    """The MutatingAdmissionPolicy: a new Job that asks for an escrow starts suspended, with the finalizer."""
    finalizers = f"metadata: Object.metadata{{finalizers: ['{SETTLEMENT_FINALIZER}']}}"
    held = f"Object{{{finalizers}, spec: Object.spec{{suspend: true}}}}"
    return {
        "apiVersion": _API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata(settings, _name(settings), namespace=None),
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"resourceRules": [_jobs("CREATE")]},
            "variables": [_asks("object")],
            # The condition stands in the mutation: a policy whose matchConditions fail at first is never asked again.
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": f"variables.asks ? {held} : Object{{}}"},
                }
            ],
        },
    }


def guard(settings: Settings) -> Manifest:
    """The ValidatingAdmissionPolicy: nothing but the operator opens the gate."""
    operator_user = f"system:serviceaccount:{settings.namespace}:{naming.OPERATOR_ACCOUNT}"
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata(settings, _name(settings), namespace=None),
        "spec": {
            "failurePolicy": "Fail",
            # The API server takes annotations and finalizers from a write to the status, too.
            "matchConstraints": {"resourceRules": [_jobs("CREATE", "UPDATE"), _jobs("UPDATE", resource="jobs/status")]},
            "matchConditions": [
                {"name": "not-the-operator", "expression": f"request.userInfo.username != '{operator_user}'"}
            ],
            "variables": [
                _asks("object"),
                {"name": "created", "expression": "request.operation == 'CREATE'"},
                {"name": "held", "expression": _has_finalizer("object")},
                {"name": "waits", "expression": "oldObject.spec.?suspend.orValue(false)"},
                {
                    "name": "funded",
                    "expression": f"{_annotation('object', FUNDED_ANNOTATION)}.orValue('') == object.metadata.uid"
                    # As the version before wrote it on a Job that requested its escrow.
                    f" || ({_carries('object', ESCROW_REQUEST_ANNOTATION)}"
                    f" && {_carries('object', ESCROW_ID_ANNOTATION)})",
                },
                {"name": "abandoned", "expression": f"{_annotation('object', ABANDONED_ANNOTATION)}.orValue('') != ''"},
                {
                    "name": "mayAbandon",
                    "expression": f"authorizer.group('{ESCROW_GROUP}').resource('{ESCROW_PLURAL}')"
                    ".namespace(object.metadata.namespace).check('patch').allowed()",
                },
            ],
            "validations": _validations(),
        },
    }


def is_used(settings: Settings) -> bool:
    """Whether the API server holds the stack's Jobs back; without an operator nobody would let them run."""
    return settings.operator.enabled and settings.admission.job_gate == "policy"


def probe(settings: Settings) -> Manifest:
    """A Job to create with `--dry-run=server`: it comes back suspended once the gate acts, up to a second after its
    creation. It never exists."""
    container = {"name": "none", "image": "none"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "pf-gate-check",
            "namespace": settings.namespace,
            "annotations": {ESCROW_ID_ANNOTATION: "none"},
        },
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def _validations() -> list[Manifest]:
    request, escrow_id, work, funded = (
        *(ESCROW_REQUEST_ANNOTATION, ESCROW_ID_ANNOTATION),
        *(WORK_ID_ANNOTATION, FUNDED_ANNOTATION),
    )
    return [
        _refusal(
            "!variables.created || !variables.asks || (object.spec.?suspend.orValue(false) && variables.held)",
            "a Job that asks for an escrow is created suspended and held by a finalizer, and this one is not:"
            " the policy that does so is not in force (yet); try again in a second",
        ),
        _refusal(
            f"variables.created || {_annotation('object', request)} == {_annotation('oldObject', request)}",
            f"the annotation {request} is fixed when a Job is created; delete the Job and create it anew",
        ),
        _refusal(
            f"variables.created || {_annotation('object', escrow_id)} == {_annotation('oldObject', escrow_id)}",
            f"the annotation {escrow_id} is set when a Job is created, or by the operator;"
            " delete the Job and create it anew with the annotation in its manifest",
        ),
        _refusal(
            f"variables.created || {_annotation('object', funded)} == {_annotation('oldObject', funded)}",
            f"the annotation {funded} is the operator's: it says that the Job's money is locked",
        ),
        # Onto a Job that is past the gate it may still come, as in manifests of a later version: its account is open.
        _refusal(
            f"variables.created || {_annotation('object', work)} == {_annotation('oldObject', work)}"
            f" || (!({_carries('oldObject', work)}) && !(variables.asks && variables.waits))",
            f"the annotation {work} is fixed when a Job is created; delete the Job and create it anew",
        ),
        _refusal(
            f"variables.created || variables.held || !({_has_finalizer('oldObject')})"
            " || (variables.abandoned && variables.mayAbandon)",
            f"the finalizer {SETTLEMENT_FINALIZER} holds the Job until its payment is on record; keep it in"
            " metadata.finalizers. To give the settlement up: kubectl purpleflea let-go",
        ),
        _refusal(
            "variables.created || object.spec.?suspend.orValue(false) || !variables.waits || !variables.asks"
            " || variables.funded",
            "the Job's money is not locked yet; the operator resumes the Job once it is",
        ),
    ]


def policy_binding(settings: Settings) -> Manifest:
    """Puts the mutating policy in force where the operator watches."""
    return _binding(settings, "MutatingAdmissionPolicyBinding")


def guard_binding(settings: Settings) -> Manifest:
    """Puts the validating policy in force where the operator watches."""
    return _binding(settings, "ValidatingAdmissionPolicyBinding", validationActions=["Deny"])


def _binding(settings: Settings, kind: str, **more: list[str]) -> Manifest:
    return {
        "apiVersion": _API,
        "kind": kind,
        "metadata": metadata(settings, _name(settings), namespace=None),
        "spec": {
            "policyName": _name(settings),
            "matchResources": {"namespaceSelector": watched(settings)},
            **more,
        },
    }


def watched(settings: Settings) -> Manifest:
    """Selector of the namespaces whose Jobs the operator serves."""
    if label := operator.namespace_selector(settings):
        key, _, value = label.partition("=")
        return {"matchLabels": {key: value}}
    names = [*operator.watched_namespaces(settings)]
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}


def _name(settings: Settings) -> str:
    return cluster_name(settings, naming.JOB_GATE)


def _jobs(*operations: str, resource: str = "jobs") -> Manifest:
    return {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": [*operations], "resources": [resource]}


def _asks(job: str) -> Manifest:
    carried = [_carries(job, name) for name in (ESCROW_REQUEST_ANNOTATION, ESCROW_ID_ANNOTATION)]
    return {"name": "asks", "expression": " || ".join(carried)}


def _carries(job: str, annotation: str) -> str:
    return f"'{annotation}' in {job}.metadata.?annotations.orValue({{}})"


def _annotation(job: str, name: str) -> str:
    return f"{job}.metadata.?annotations[?'{name}']"


def _has_finalizer(job: str) -> str:
    return f"'{SETTLEMENT_FINALIZER}' in {job}.metadata.?finalizers.orValue([])"


def _refusal(expression: str, message: str) -> Manifest:
    return {"expression": expression, "message": message, "reason": "Forbidden"}
