"""Who writes the accounts and the budgets: the operator and payroll, and people only as they decide reviews.

The definitions hold what never changes, whoever writes. This policy says who: with rights to everything in a namespace
a tenant could otherwise write into an account that money is locked for it, raise its own limit, or have an account
forgotten so that its work is paid again. The platform is whoever may update these objects in every namespace; what
controllers of Kubernetes do, such as ending a namespace, goes on.
"""

from collections.abc import Iterable

from components.manifests import admission, job_gate, naming
from components.manifests.admission import Refusal, cel
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import BUDGET_LABEL, BUDGET_PLURAL, ESCROW_GROUP, ESCROW_PLURAL, ESCROW_VERSION, Phase

_KEPT = (
    *("claim", "creation", "reservation", "payee", "jobEnding", "lockedAt", "autoReleaseAt"),
    *("lockedUsdc", "paidUsdc", "feeUsdc", "referralUsdc"),
)
"""What no person writes into an account, whatever they decide about it."""


def policy(settings: Settings) -> Manifest:
    """The ValidatingAdmissionPolicy."""
    account = f"system:serviceaccount:{settings.namespace}:"
    operator, payroll, retention = (
        cel(account + name) for name in (naming.OPERATOR_ACCOUNT, naming.PAYROLL_ACCOUNT, naming.RETENTION_ACCOUNT)
    )
    kind = "(request.operation == 'DELETE' ? dyn(oldObject) : dyn(object)).?spec.?work.?kind.orValue('')"
    acts = "(has({0}.acts) ? size({0}.acts) : 0) + (has({0}.earlierActs) ? {0}.earlierActs.count : 0)"
    return admission.policy(
        settings,
        naming.LEDGER_POLICY,
        [
            _on("CREATE,UPDATE,DELETE", ESCROW_PLURAL, BUDGET_PLURAL),
            _on("UPDATE", f"{ESCROW_PLURAL}/status", f"{BUDGET_PLURAL}/status"),
        ],
        {
            "kind": "request.resource.resource + '/' + request.?subResource.orValue('')",
            "operator": f"request.userInfo.username == {operator}",
            # Payroll's accounts are those of Tasks; a Job's are none of its business.
            "ours": f"variables.operator || (request.userInfo.username == {payroll} && {kind} == 'Task')",
            "archived": f"request.operation == 'DELETE' && request.userInfo.username == {retention}"
            f" && oldObject.?status.?phase.orValue('') == {cel(Phase.SETTLED)}",
            "controller": "'system:serviceaccounts:kube-system' in request.userInfo.?groups.orValue([])",
            "platform": f"variables.controller || {everywhere(ESCROW_PLURAL)}",
            "limits": f"variables.controller || {everywhere(BUDGET_PLURAL)}",
            "now": "request.operation == 'DELETE' ? dyn({}) : dyn(object)",
            "before": "request.operation == 'CREATE' ? dyn({}) : dyn(oldObject)",
            "status": "variables.now.?status.orValue(dyn({}))",
            "was": "variables.before.?status.orValue(dyn({}))",
            "news": "variables.status.?acts.orValue([]).filter(a, !(a in variables.was.?acts.orValue([])))",
            "decided": f"({acts.format('variables.status')}) > ({acts.format('variables.was')})",
        },
        [*_escrows(), *_budgets()],
    )


def binding(settings: Settings) -> Manifest:
    """Puts it in force where the operator watches."""
    return admission.binding(settings, policy(settings), job_gate.watched(settings))


def is_used(settings: Settings) -> bool:
    """Whether a stack has it: there are accounts where there is an operator."""
    return settings.admission.enabled and settings.operator.enabled


def _escrows() -> Iterable[Refusal]:
    label = f"metadata.?labels[?'{BUDGET_LABEL}']"
    yield Refusal(
        f"variables.kind != '{ESCROW_PLURAL}/' || request.operation == 'UPDATE' || variables.ours"
        " || variables.platform || variables.archived",
        "accounts are opened by the operator and by payroll, and removed by retention once they are archived, or by"
        " whoever may update escrows in all namespaces: a work whose account is gone would be paid again",
    )
    work = "dyn(object).spec.?work"
    yield Refusal(
        f"variables.kind != '{ESCROW_PLURAL}/' || request.operation != 'CREATE' || {work}.?kind.orValue('') != 'Job'"
        f" || object.metadata.?name.orValue('') == 'job-' + {work}.?uid.orValue('')"
        f" || ({work}.?id.hasValue() && !{work}.?run.hasValue()"
        " && object.metadata.?name.orValue('').startsWith('work-'))",
        "an account of a Job is named after its UID, or after its work",
    )
    yield Refusal(
        f"variables.kind != '{ESCROW_PLURAL}/' || request.operation != 'UPDATE' || variables.ours || variables.platform"
        f" || (object.spec == oldObject.spec && dyn(object).{label} == dyn(oldObject).{label})",
        f"what was agreed, and the label {BUDGET_LABEL}, are written by the operator and by payroll",
    )
    kept = " && ".join(f"variables.status.?{name} == variables.was.?{name}" for name in _KEPT)
    yield Refusal(
        f"variables.kind != '{ESCROW_PLURAL}/status' || variables.ours || variables.platform"
        f" || (variables.decided && {kept})",
        "an account's status is written by the operator and by payroll; a person decides a review with"
        " `kubectl purpleflea resolve`, which adds to status.acts and changes no amount and no claim",
    )
    yield Refusal(
        f"variables.kind != '{ESCROW_PLURAL}/status' || variables.news.all(a, a.who == request.userInfo.username)",
        "status.acts[].who is the user that the API server knows whoever decides by",
    )


def _budgets() -> Iterable[Refusal]:
    yield Refusal(
        f"variables.kind != '{BUDGET_PLURAL}/' || variables.limits"
        " || (request.operation == 'CREATE' && variables.operator && size(variables.now.?spec.orValue(dyn({}))) == 0)"
        " || (request.operation == 'UPDATE' && variables.now.?spec == variables.before.?spec)",
        "what a namespace may ask for is said by whoever may update budgets in all namespaces",
    )
    yield Refusal(
        f"variables.kind != '{BUDGET_PLURAL}/status' || variables.operator || variables.limits",
        "what is reserved is written by the operator",
    )


def everywhere(resource: str) -> str:
    """CEL: whether whoever asks may update these objects in every namespace."""
    return f"authorizer.group('{ESCROW_GROUP}').resource('{resource}').check('update').allowed()"


def _on(operations: str, *resources: str) -> Manifest:
    return admission.on(operations, *resources, group=ESCROW_GROUP) | {"apiVersions": [ESCROW_VERSION]}
