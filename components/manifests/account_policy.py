"""Who may run something as one of the stack's ServiceAccounts: a right to them is needed, the verb `use`.

And who may bear the labels by which Services and NetworkPolicies pick the stack's pods: pods of these accounts alone.
Labels are free otherwise, and a pod with the sandbox's would get its Service's traffic. Nor does anybody else change
what the stack's programs go by: the ConfigMaps with their rules, the Leases with their claims. A Role cannot name these
Leases, so the programs that may write all of the namespace's are held to their own here.

Without this policy, whoever may create a Job may name any account of the namespace. Asked is whoever makes the Job, the
Deployment or the pod; the controllers that make the rest of it are believed, since what they work from was asked about.
"""

from typing import Final

from components.manifests import admission, agent_workers, ledger_policy, naming
from components.manifests.admission import Refusal, cel, may, on
from components.manifests.credentials_policy import allowed_accounts
from components.manifests.naming import Manifest, selector
from components.settings import Settings
from runtime.contract import CLAIM_PREFIX, ESCROW_PLURAL, OPERATOR_LEASE, TASK_PREFIX, ProgramName

_LEASES: Final = Refusal(
    "variables.kind != 'leases/' || variables.lease in variables.mayWrite",
    f"the Leases {CLAIM_PREFIX}..., {TASK_PREFIX}... and {OPERATOR_LEASE} say which work an escrow pays for, who does a"
    " task and which operator leads: they are written by the stack's own programs, which write no others",
)

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
            on("CREATE", "serviceaccounts/token"),
            on("CREATE,UPDATE", "pods", "replicationcontrollers", "secrets"),
            on("CREATE,UPDATE,DELETE", "configmaps"),
            on("CREATE,UPDATE,DELETE", "leases", group="coordination.k8s.io"),
            on("CREATE,UPDATE", "jobs", "cronjobs", group="batch"),
            on("CREATE,UPDATE", "deployments", "replicasets", "statefulsets", "daemonsets", group="apps"),
        ],
        {
            "kind": "request.resource.resource + '/' + request.?subResource.orValue('')",
            # By the kubelet's own rules: it takes tokens for the pods of its node only.
            "trusted": "request.userInfo.?groups.orValue([]).exists(g,"
            " g in ['system:serviceaccounts:kube-system', 'system:nodes'])"
            " || request.userInfo.username == 'system:kube-controller-manager'",
            "podAccount": "variables.kind == 'pods/' ? dyn(object).spec.?serviceAccountName.orValue('default') : ''",
            "changed": f"request.operation == 'CREATE' || {_TEMPLATES} != {old}",
            # Not the request's: a deletion of many names none.
            "name": "request.operation == 'DELETE' ? oldObject.metadata.name : object.metadata.?name.orValue('')",
            "lease": f"variables.name.startsWith('{CLAIM_PREFIX}') ? 'claim'"
            f" : variables.name.startsWith('{TASK_PREFIX}') ? 'task'"
            f" : variables.name == '{OPERATOR_LEASE}' ? 'leader' : ''",
            "mayWrite": _leases_of(settings),
            "account": "variables.kind in ['configmaps/', 'leases/'] ? ''"
            " : variables.kind == 'serviceaccounts/token' ? request.name"
            " : variables.kind == 'secrets/' ? (dyn(object).?type.orValue('') == 'kubernetes.io/service-account-token'"
            " ? dyn(object).metadata.?annotations[?'kubernetes.io/service-account.name'].orValue('') : '')"
            " : variables.kind == 'pods/' ? (request.operation == 'CREATE' ? variables.podAccount : '')"
            f" : variables.changed ? {_TEMPLATES}.?serviceAccountName.orValue('default') : ''",
        },
        [
            Refusal(
                f"variables.trusted || !(variables.account in {accounts})"
                f" || {may('use', 'serviceaccounts', 'variables.account')}",
                f"whoever runs something as one of {', '.join(allowed_accounts(settings))}, or takes a token of it,"
                f" needs the right to use that ServiceAccount; {needed}",
            ),
            _labels(settings),
            _rules(settings),
            _LEASES,
        ],
    )


def _rules(settings: Settings) -> Refusal:
    """What the programs with the key go by is no tenant's: what the sidecar may spend, what a statement
    believes, and whom all of them trust."""
    names = [naming.MCP_RULES, naming.STATEMENT, *filter(None, [settings.network.ca_bundle.config_map])]
    account = cel(naming.AGENT_ACCOUNT)
    return Refusal(
        f"variables.kind != 'configmaps/' || !(variables.name in {cel(names)}) || variables.trusted"
        f" || {may('use', 'serviceaccounts', account)}",
        f"the ConfigMaps {', '.join(names)} say what the programs with the API key may do and whom they trust: whoever"
        f" may use the ServiceAccount {naming.AGENT_ACCOUNT} may change them",
    )


def _leases_of(settings: Settings) -> str:
    """CEL: which kinds of Leases whoever asks may write."""
    ours = {
        naming.OPERATOR_ACCOUNT: ["claim", "leader"],
        naming.PAYROLL_ACCOUNT: ["claim", "task"],
        naming.WORKER_ACCOUNT: ["task"],
    }
    # Workers may run under these.
    theirs = ours | {a: ["task", ""] for a in settings.admission.allowed_service_accounts if a not in ours}
    prefix = f"system:serviceaccount:{settings.namespace}:"
    users = " : ".join(f"request.userInfo.username == {cel(prefix + a)} ? {cel(kinds)}" for a, kinds in theirs.items())
    platform = f"variables.trusted || {ledger_policy.everywhere(ESCROW_PLURAL)}"
    return f"{users} : {platform} ? {cel(['claim', 'task', 'leader', ''])} : ['']"


def accounts_by_component(settings: Settings) -> dict[str, list[str]]:
    """Whose pods bear the label of each component."""
    theirs = settings.admission.allowed_service_accounts
    return {
        ProgramName.AGENT.value: [naming.AGENT_ACCOUNT, *theirs],
        ProgramName.WORKER.value: [agent_workers.account(settings), *theirs],
        ProgramName.OPERATOR.value: [naming.OPERATOR_ACCOUNT],
        ProgramName.PAYROLL.value: [naming.PAYROLL_ACCOUNT],
        ProgramName.METRICS.value: [naming.METRICS_ACCOUNT],
        ProgramName.SANDBOX.value: [naming.SANDBOX_ACCOUNT],
    }


def _labels(settings: Settings) -> Refusal:
    """By component, whose pods bear the stack's labels; a pod's labels can be changed at any time."""
    accounts = accounts_by_component(settings)
    of, part = [*selector(ProgramName.AGENT)]
    labels = "dyn(object).metadata.?labels"
    same = " && ".join(f"{labels}[?'{key}'] == dyn(oldObject).metadata.?labels[?'{key}']" for key in (of, part))
    right = " || ".join(
        f"({labels}[?'{of}'].orValue('') == '{component}' && variables.podAccount in {cel(names)})"
        for component, names in accounts.items()
    )
    return Refusal(
        f"variables.kind != 'pods/' || {labels}[?'{part}'].orValue('') != 'purpleflea'"
        f" || !({labels}[?'{of}'].orValue('') in {cel([*accounts])})"
        f" || (request.operation == 'UPDATE' && {same}) || {right}",
        f"Services and NetworkPolicies pick the stack's pods by the labels {part}: purpleflea and {of}; only pods of"
        " its own ServiceAccounts may bear both",
    )
