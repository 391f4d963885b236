"""Who may run something as one of the stack's ServiceAccounts: a right to them is needed, the verb `use`.

Without this policy, whoever may create a Job may name any account of the namespace. Asked is whoever makes the Job, the
Deployment or the pod; the controllers that make the rest of it are believed, since what they work from was asked about.
"""

from components.manifests import admission, naming
from components.manifests.admission import Refusal, cel, may, on
from components.manifests.credentials_policy import allowed_accounts
from components.manifests.naming import Manifest
from components.settings import Settings

_TEMPLATES = "dyn(object).spec.?jobTemplate.?spec.?template.?spec.or(dyn(object).spec.?template.?spec)"


def policy(settings: Settings) -> Manifest:
    """The ValidatingAdmissionPolicy."""
    accounts = cel(allowed_accounts(settings))
    old = _TEMPLATES.replace("object", "oldObject")
    needed = "ask for the right: kubectl create role ROLE --verb=use --resource=serviceaccounts --resource-name=NAME"
    return admission.policy(
        settings,
        naming.ACCOUNT_POLICY,
        [
            on("CREATE", "pods", "serviceaccounts/token"),
            on("CREATE,UPDATE", "replicationcontrollers", "secrets"),
            on("CREATE,UPDATE", "jobs", "cronjobs", group="batch"),
            on("CREATE,UPDATE", "deployments", "replicasets", "statefulsets", "daemonsets", group="apps"),
        ],
        {
            "kind": "request.resource.resource + '/' + request.?subResource.orValue('')",
            # By the kubelet's own rules: it takes tokens for the pods of its node only.
            "trusted": "request.userInfo.?groups.orValue([]).exists(g,"
            " g in ['system:serviceaccounts:kube-system', 'system:nodes'])"
            " || request.userInfo.username == 'system:kube-controller-manager'",
            "changed": f"request.operation == 'CREATE' || {_TEMPLATES} != {old}",
            "account": "variables.kind == 'serviceaccounts/token' ? request.name"
            " : variables.kind == 'secrets/' ? (dyn(object).?type.orValue('') == 'kubernetes.io/service-account-token'"
            " ? dyn(object).metadata.?annotations[?'kubernetes.io/service-account.name'].orValue('') : '')"
            " : variables.kind == 'pods/' ? dyn(object).spec.?serviceAccountName.orValue('default')"
            f" : variables.changed ? {_TEMPLATES}.?serviceAccountName.orValue('default') : ''",
        },
        [
            Refusal(
                f"variables.trusted || !(variables.account in {accounts})"
                f" || {may('use', 'serviceaccounts', 'variables.account')}",
                f"whoever runs something as one of {', '.join(allowed_accounts(settings))}, or takes a token of it,"
                f" needs the right to use that ServiceAccount; {needed}",
            )
        ],
    )
