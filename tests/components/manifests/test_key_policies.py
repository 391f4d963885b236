"""The payer's key against a tenant: three admission policies, asked of a real API server.

The tenant may make and change pods, Jobs, Deployments, ConfigMaps and Secrets in the stack's namespace, exec into its
pods and take tokens, as the usual `edit` role has it, and may not read the payer's Secret.
"""

import copy
import json
import secrets
from dataclasses import dataclass

import lightkube
import pytest
from lightkube import ApiError, KubeConfig, codecs
from lightkube.config.client_adapter import Client as HttpClient
from lightkube.config.client_adapter import ConnectionParams
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod, Secret, ServiceAccount, ServiceAccountToken
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding
from lightkube.types import PatchType

from components.manifests import (
    account_policy,
    admission,
    credentials_policy,
    key_holders,
    naming,
    session_policy,
    stack,
)
from components.settings import Settings
from tests.components.references import pod_specs
from tests.toolchain import waiting

# ruff: noqa: E501 - a table is read by its rows
SECRET = "purpleflea-creds"
RULES, STATEMENT = naming.MCP_RULES, naming.STATEMENT
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
GUARDS = (credentials_policy, account_policy, session_policy)
STACK = {
    "credentials": {"agentWallet": "payer"},
    "agents": [{"name": "one", "command": ["work"]}, {"name": "own", "credential": "own"}],
}
USUAL = [
    {"apiGroups": [""], "resources": ["pods", "configmaps", "secrets"], "verbs": ["create", "update", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["deletecollection"]},
    {"apiGroups": [""], "resources": ["pods/exec", "pods/attach", "pods/portforward"], "verbs": ["create", "get"]},
    {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": ["*"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]},
]  # fmt: skip
MAY_USE = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["pf-agent-sa"], "verbs": ["use"]}


@dataclass(frozen=True)
class Guarded:
    """A namespace with a stack's policies in force, and its people."""

    name: str
    settings: Settings
    admin: lightkube.Client
    tenant: lightkube.Client
    trusted: lightkube.Client
    """A tenant with the right to use the agents' account."""
    tenants_kubeconfig: str


@pytest.fixture(scope="module")
def guarded(control_plane):
    name = f"test-{secrets.token_hex(4)}"
    admin = control_plane.client(name)
    admin.create(Namespace(metadata=ObjectMeta(name=name, labels=RESTRICTED)))
    settings = Settings.parse({**STACK, "namespace": name})
    accounts = ["tenant", "trusted", *credentials_policy.allowed_accounts(settings)]
    for account in accounts:
        admin.create(ServiceAccount(metadata=ObjectMeta(name=account)))
    for account, rules in (("tenant", USUAL), ("trusted", [*USUAL, MAY_USE])):
        metadata = ObjectMeta(name=account)
        admin.create(Role.from_dict({"metadata": {"name": account}, "rules": rules}))
        subject = {"kind": "ServiceAccount", "name": account, "namespace": name}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
        admin.create(RoleBinding.from_dict({"metadata": metadata.to_dict(), "roleRef": role, "subjects": [subject]}))
    own_pod(admin, "veteran", {"env": [KEY]}, account="default")
    policies = [guard.policy(settings) for guard in GUARDS]
    made = [*policies, *(admission.binding(settings, policy) for policy in policies)]
    for each in made:
        admin.apply(codecs.from_dict(each), field_manager="tests", force=True)
    kubeconfigs = {account: control_plane.kubeconfig_for(account, name) for account in ("tenant", "trusted")}
    tenant, trusted = (
        lightkube.Client(config=KubeConfig.from_file(kubeconfigs[account]), namespace=name, trust_env=False)
        for account in ("tenant", "trusted")
    )
    world = Guarded(name, settings, admin, tenant, trusted, str(kubeconfigs["tenant"]))
    waiting.until("the policies act", lambda: _all_act(world))
    yield world
    for each in reversed(made):
        admin.delete(type(codecs.from_dict(each)), each["metadata"]["name"])
    admin.delete(Namespace, name)


KEY = {"name": "K", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "api-key"}}}


def _all_act(world: Guarded) -> bool:
    spec = plain_spec({"env": [KEY]})
    return bool(
        refusal(lambda: make(world.admin, spec))
        and refusal(lambda: make(world.tenant, plain_spec(account="pf-agent-sa")))
        and "may exec" in connect(world, "exec", container="operator")
    )


def plain_spec(container=None, account="default", **more) -> dict:
    """A restricted pod with one container of the tenant's."""
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    main = {"name": "main", "image": "team/agent:1", "securityContext": context, **(container or {})}
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"serviceAccountName": account, "securityContext": security, "containers": [main], **more}


def own_pod(client, name, container=None, **more) -> None:
    client.create(Pod.from_dict({"metadata": {"name": name}, "spec": plain_spec(container, **more)}))


def make(client, spec) -> None:
    client.create(Pod.from_dict({"metadata": {"generateName": "pod-"}, "spec": spec}), dry_run=True)


def refusal(act) -> str:
    """The words of a policy of ours; empty if the API server does it."""
    try:
        act()
    except ApiError as error:
        if error.status.code != 403 or "purpleflea.com" not in str(error):
            raise
        return str(error)
    return ""


def rendered(settings: Settings) -> dict[str, dict]:
    """Object → pod spec of everything that a stack runs."""
    objects = stack.objects(settings)
    return {o["metadata"]["name"]: spec for o in objects for _, spec in pod_specs(o)}


def agents_pod(settings: Settings) -> dict:
    """The pod of the agent that holds no key."""
    [name] = [name for name in rendered(settings) if name.startswith("one-")]
    return copy.deepcopy(rendered(settings)[name])


EVERYTHING = {
    "defaults": STACK,
    "a sandbox": {**STACK, "sandbox": {"enabled": True}},
    "the payer's key to an agent": {"agents": [{"name": "a", "credential": "payer"}], "worker": {"credential": "payer"}},
    "cert-manager": {"hpa": {"metricsServer": {"tls": "certManager"}}},
    "an agent's own id": {"agents": [{"name": "a", "agentId": "research-1"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", EVERYTHING)
def test_what_a_stack_runs_passes_its_own_policies(guarded, name):
    """Settings differ from those of the policy in force, so its own expressions are asked first."""
    settings = Settings.parse({**EVERYTHING[name], "namespace": guarded.name})
    judged = 0
    if name == "defaults":
        for what, spec in rendered(settings).items():
            assert refusal(lambda spec=spec: make(guarded.admin, spec)) == "", what
            judged += 1
    else:
        judged = _judged_by_its_own(guarded, settings)
    assert judged > 1


def _judged_by_its_own(guarded, settings) -> int:
    """Under a policy of its own, in place of the one in force, in a namespace of its own."""
    place = f"test-{secrets.token_hex(4)}"
    settings = settings.model_copy(update={"namespace": place})
    guarded.admin.create(Namespace(metadata=ObjectMeta(name=place, labels=RESTRICTED)))
    policies = [credentials_policy.policy(settings), account_policy.policy(settings)]
    made = [part for policy in policies for part in (policy, admission.binding(settings, policy))]
    for account in credentials_policy.allowed_accounts(settings):
        guarded.admin.create(ServiceAccount(metadata=ObjectMeta(name=account, namespace=place)), namespace=place)
    for each in made:
        guarded.admin.apply(codecs.from_dict(each), field_manager="tests", force=True)

    def asked(spec, labels=None) -> str:
        metadata = {"generateName": "pod-", "namespace": place, "labels": labels or {}}
        pod = Pod.from_dict({"metadata": metadata, "spec": spec})
        return refusal(lambda: guarded.admin.create(pod, namespace=place, dry_run=True))

    try:
        waiting.until("the policy acts", lambda: asked(plain_spec({"env": [KEY]}, account="pf-agent-sa")))
        stranger = {"app.kubernetes.io/part-of": "purpleflea", "app.kubernetes.io/component": "sandbox"}
        waiting.until("so does the other", lambda: asked(plain_spec(), stranger))
        pods = [(o["metadata"]["name"], *pod) for o in stack.objects(settings) for pod in pod_specs(o)]
        assert {name: words for name, labels, spec in pods if (words := asked(spec, labels))} == {}
        return len(pods)
    finally:
        for each in reversed(made):
            guarded.admin.delete(type(codecs.from_dict(each)), each["metadata"]["name"])
        guarded.admin.delete(Namespace, place)


def claim(spec):
    return next(c for c in spec["initContainers"] if c["name"] == "faucet-claim")


def sidecar(spec):
    return next(c for c in spec["initContainers"] if c["name"] == "pf-mcp-proxy")


def variable(container, name, value):
    container["env"] = [e for e in container["env"] if e["name"] != name] + [{"name": name, "value": value}]


WAYS_TO_THE_KEY = {
    "the agent's variable": lambda s: s["containers"][0]["env"].append(KEY),
    "all of the Secret": lambda s: s["containers"][0].update(envFrom=[{"secretRef": {"name": SECRET}}]),
    "the sidecar's volume": lambda s: s["containers"][0]["volumeMounts"].append({"name": "credentials", "mountPath": "/k"}),
    "a projected volume": lambda s: (
        s["volumes"].append({"name": "v", "projected": {"sources": [{"secret": {"name": SECRET}}]}}),
        s["containers"][0]["volumeMounts"].append({"name": "v", "mountPath": "/k"}),
    ),
    "a key that is not known": lambda s: s["containers"][0]["env"].append(
        {"name": "K", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "other"}}}
    ),
    "another image": lambda s: claim(s).update(image="evil:1"),
    "another name": lambda s: claim(s).update(name="faucet-claim-2"),
    "another command": lambda s: claim(s).update(command=["sh", "-c", "env"]),
    "no command": lambda s: claim(s).pop("command"),
    "arguments": lambda s: claim(s).update(args=["--help"]),
    "another folder": lambda s: claim(s).update(workingDir="/workspace"),
    "a hook": lambda s: sidecar(s).update(lifecycle={"postStart": {"exec": {"command": ["env"]}}}),
    "a probe by a command": lambda s: sidecar(s).update(livenessProbe={"exec": {"command": ["env"]}}),
    "a terminal": lambda s: claim(s).update(stdin=True, tty=True),
    "another address": lambda s: variable(claim(s), "PF_FAUCET_URL", "https://evil.example"),
    "a proxy": lambda s: variable(claim(s), "HTTPS_PROXY", "http://evil.example"),
    "other modules": lambda s: variable(sidecar(s), "PYTHONPATH", "/workspace"),
    "the key as the id": lambda s: variable(claim(s), "AGENT_ID", "$(PF_API_KEY)"),
    "the key as a folder": lambda s: claim(s).update(
        volumeMounts=[{"name": "agent-workspace", "mountPath": "/workspace", "subPathExpr": "$(PF_API_KEY)"}]
    ),
    "a mount over the program": lambda s: claim(s)["volumeMounts"].append({"name": "tmp", "mountPath": "/app"}),
    "shared processes": lambda s: s.update(shareProcessNamespace=True),
}  # fmt: skip


def test_no_container_but_the_stacks_own_gets_the_key(guarded):
    """Asked by somebody who may use the account, and by the administrator, who may slip."""
    made = agents_pod(guarded.settings)
    assert refusal(lambda: make(guarded.trusted, made)) == ""
    for way, change in WAYS_TO_THE_KEY.items():
        spec = copy.deepcopy(made)
        change(spec)
        for who in (guarded.trusted, guarded.admin):
            assert SECRET in refusal(lambda spec=spec, who=who: make(who, spec)), way


def test_other_accounts_may_not_refer_to_the_secret_at_all(guarded):
    public = {"name": "ID", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "agent-wallet"}}}
    for spec in (
        plain_spec({"env": [public]}),
        plain_spec(volumes=[{"name": "v", "secret": {"secretName": SECRET}}]),
        plain_spec(volumes=[{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": SECRET}}}]),
        plain_spec(volumes=[{"name": "v", "projected": {"sources": [{"secret": {"name": SECRET}}]}}]),
    ):
        assert "may use the Secret" in refusal(lambda spec=spec: make(guarded.tenant, spec))
    assert refusal(lambda: make(guarded.trusted, plain_spec({"env": [public]}, account="pf-agent-sa"))) == ""
    assert refusal(lambda: make(guarded.tenant, plain_spec())) == ""
    other = plain_spec(volumes=[{"name": "v", "secret": {"secretName": "another"}}])
    assert refusal(lambda: make(guarded.tenant, other)) == ""


def test_the_image_of_a_running_pod_cannot_be_exchanged(guarded):
    spec = agents_pod(guarded.settings)
    guarded.trusted.create(Pod.from_dict({"metadata": {"name": "victim"}, "spec": spec}))

    def exchange(client, part, name):
        change = {"spec": {part: [{"name": name, "image": "evil:1"}]}}
        client.patch(Pod, "victim", change, patch_type=PatchType.STRATEGIC, dry_run=True)

    for who in (guarded.trusted, guarded.admin):
        assert "stack's own containers" in refusal(lambda who=who: exchange(who, "initContainers", "faucet-claim"))
        assert "stack's own containers" in refusal(lambda who=who: exchange(who, "initContainers", "pf-mcp-proxy"))
    assert refusal(lambda: exchange(guarded.trusted, "containers", "agent")) == ""
    labels = {"metadata": {"labels": {"seen": "yes"}}}
    guarded.tenant.patch(Pod, "victim", labels, patch_type=PatchType.MERGE)


def test_a_pod_from_before_the_policies_can_still_be_let_go(guarded):
    """The Job controller takes its finalizer off by an update; refusing that would hold the Job for ever."""
    labels = {"metadata": {"labels": {"seen": "yes"}}}
    guarded.admin.patch(Pod, "veteran", labels, patch_type=PatchType.MERGE)


def test_a_debugging_container_is_no_way_in(guarded):
    spec = agents_pod(guarded.settings)
    guarded.trusted.create(Pod.from_dict({"metadata": {"name": "debugged"}, "spec": spec}))
    own_pod(guarded.tenant, "mine")
    spy = {"name": "spy", "image": "team/tools:1", "securityContext": plain_spec()["containers"][0]["securityContext"]}

    def debug(client, pod, **more):
        change = {"spec": {"ephemeralContainers": [{**spy, **more}]}}
        client.patch(Pod.Ephemeralcontainers, pod, change, patch_type=PatchType.STRATEGIC, dry_run=True)

    for more in (
        {},
        {"targetContainerName": "pf-mcp-proxy"},
        {"volumeMounts": [{"name": "credentials", "mountPath": "/k"}]},
    ):
        assert "debugging container" in refusal(lambda more=more: debug(guarded.trusted, "debugged", **more))
        assert refusal(lambda more=more: debug(guarded.admin, "debugged", **more)) == ""
    assert "debugging container" in refusal(
        lambda: debug(guarded.tenant, "mine", envFrom=[{"secretRef": {"name": SECRET}}])
    )
    assert refusal(lambda: debug(guarded.tenant, "mine")) == ""


def test_naming_an_account_of_the_stack_needs_a_right(guarded):
    """Every kind that makes pods, and a pod itself; `serviceAccount` is the old name of the same field."""
    for account in ("pf-agent-sa", "pf-operator-sa"):
        for kind, body in workloads(account).items():
            assert "right to use" in refusal(lambda body=body: guarded.tenant.create(body, dry_run=True)), kind
            assert refusal(lambda body=body: guarded.admin.create(body, dry_run=True)) == "", kind
    for kind, body in workloads("pf-agent-sa").items():
        assert refusal(lambda body=body: guarded.trusted.create(body, dry_run=True)) == "", kind
    for kind, body in workloads("pf-operator-sa").items():
        assert "right to use" in refusal(lambda body=body: guarded.trusted.create(body, dry_run=True)), kind
    old_name = {**plain_spec(), "serviceAccount": "pf-operator-sa"}
    del old_name["serviceAccountName"]
    assert "right to use" in refusal(lambda: make(guarded.tenant, old_name))
    for kind, body in workloads("default").items():
        assert refusal(lambda body=body: guarded.tenant.create(body, dry_run=True)) == "", kind


def workloads(account) -> dict:
    job = {"template": {"spec": {**plain_spec(account=account), "restartPolicy": "Never"}}}
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": plain_spec(account=account)}
    made = {
        Pod: plain_spec(account=account),
        Job: job,
        CronJob: {"schedule": "@daily", "jobTemplate": {"spec": job}},
        Deployment: {"selector": {"matchLabels": labels}, "template": template},
    }
    return {kind.__name__: kind.from_dict({"metadata": {"name": "x"}, "spec": spec}) for kind, spec in made.items()}


def test_a_deployment_of_the_stack_can_be_scaled_and_not_be_filled_with_something_else(guarded):
    body = workloads("pf-operator-sa")["Deployment"]
    body.metadata.name = "operator"
    guarded.admin.create(body)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil:1"}]}}}}

    def patch(change):
        guarded.tenant.patch(Deployment, "operator", change, patch_type=PatchType.STRATEGIC, dry_run=True)

    assert "right to use" in refusal(lambda: patch(image))
    assert refusal(lambda: patch({"spec": {"replicas": 0}})) == ""


def test_what_the_sidecar_may_spend_is_no_tenants_to_say(guarded):
    """Its rules stand in a ConfigMap, which a tenant may otherwise write."""
    rules = {
        name: ConfigMap.from_dict({"metadata": {"name": name}, "data": {"a": "b"}})
        for name in (RULES, STATEMENT, "mine")
    }
    for name in (RULES, STATEMENT):
        assert "may change them" in refusal(lambda name=name: guarded.tenant.create(rules[name], dry_run=True))
    guarded.admin.create(rules[RULES])
    guarded.tenant.create(rules["mine"])
    change = {"data": {"a": "c"}}
    for who, name in ((guarded.tenant, "mine"), (guarded.trusted, RULES)):
        assert refusal(lambda who=who, name=name: who.patch(ConfigMap, name, change, patch_type=PatchType.MERGE)) == ""
    patched = refusal(lambda: guarded.tenant.patch(ConfigMap, RULES, change, patch_type=PatchType.MERGE))
    assert "may change them" in patched
    assert "may change them" in refusal(lambda: guarded.tenant.delete(ConfigMap, RULES))
    assert refusal(lambda: guarded.tenant.delete(ConfigMap, "mine")) == ""
    many = refusal(lambda: guarded.tenant.deletecollection(ConfigMap))
    assert "may change them" in many, "its request names no object, so each one's name has to count"
    assert guarded.admin.get(ConfigMap, RULES)


def test_the_controllers_go_on_making_pods(guarded):
    """The Job controller has no right of ours; without it no agent would ever run."""
    body = workloads("pf-agent-sa")["Job"]
    body.metadata.name = "runs"
    guarded.trusted.create(body)
    waiting.until(
        "the Job has its pod", lambda: [*guarded.admin.list(Pod, labels={"batch.kubernetes.io/job-name": "runs"})]
    )


def test_nobody_elses_pod_bears_the_labels_of_the_stacks_own(guarded):
    """A Service picks pods by labels: traffic for the sandbox would go to whoever calls a pod so."""

    def labelled(component, account="default"):
        labels = {"app.kubernetes.io/component": component, "app.kubernetes.io/part-of": "purpleflea"}
        return Pod.from_dict({"metadata": {"name": "x", "labels": labels}, "spec": plain_spec(account=account)})

    for component in ("sandbox", "metrics-server", "operator", "payroll", "worker", "agent"):
        body = labelled(component)
        assert "may bear both" in refusal(lambda body=body: guarded.tenant.create(body, dry_run=True)), component
    assert refusal(lambda: guarded.trusted.create(labelled("agent", "pf-agent-sa"), dry_run=True)) == ""
    assert "may bear both" in refusal(lambda: guarded.trusted.create(labelled("sandbox", "pf-agent-sa"), dry_run=True))
    own_pod(guarded.tenant, "relabelled")

    def relabel(**labels):
        change = {"metadata": {"labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()}}}
        guarded.tenant.patch(Pod, "relabelled", change, patch_type=PatchType.MERGE)

    assert "may bear both" in refusal(lambda: relabel(component="sandbox", **{"part-of": "purpleflea"}))
    relabel(component="sandbox")
    assert "may bear both" in refusal(lambda: relabel(**{"part-of": "purpleflea"}))


def test_tokens_of_the_accounts_need_the_right_too(guarded):
    def token(client, account):
        request = ServiceAccountToken(metadata=ObjectMeta(), spec=TokenRequestSpec(audiences=[]))
        client.create(request, account)

    def old_token(client, account):
        annotations = {"kubernetes.io/service-account.name": account}
        body = {"metadata": {"name": f"token-{account}", "annotations": annotations}}
        client.create(Secret.from_dict({**body, "type": "kubernetes.io/service-account-token"}), dry_run=True)

    for ask in (token, old_token):
        assert "right to use" in refusal(lambda ask=ask: ask(guarded.tenant, "pf-operator-sa"))
        assert refusal(lambda ask=ask: ask(guarded.trusted, "pf-agent-sa")) == ""
        assert refusal(lambda ask=ask: ask(guarded.tenant, "tenant")) == ""
        assert refusal(lambda ask=ask: ask(guarded.admin, "pf-operator-sa")) == ""
    plain = Secret.from_dict({"metadata": {"name": "plain"}, "stringData": {"a": "b"}})
    assert refusal(lambda: guarded.tenant.create(plain, dry_run=True)) == ""


def connect(guarded, verb, kubeconfig="", **query) -> str:
    """What the API server says to whoever opens a session; the pod has no node, so a session never comes about."""
    config = KubeConfig.from_file(kubeconfig or guarded.tenants_kubeconfig).get()
    http = HttpClient(config, ConnectionParams())
    answer = http.post(f"/api/v1/namespaces/{guarded.name}/pods/veteran/{verb}", params={"command": "env", **query})
    assert answer.status_code >= 400, answer.text
    return json.loads(answer.text)["message"]


def test_no_session_in_a_container_with_the_key(guarded, control_plane):
    held = key_holders.names(guarded.settings)
    assert {"operator", "pf-mcp-proxy", "payroll"} <= {*held}
    for verb in ("exec", "attach"):
        for container in ("", *held):
            assert "may exec into them" in connect(guarded, verb, container=container), container
        assert "purpleflea" not in connect(guarded, verb, container="main")
        allowed = connect(guarded, verb, kubeconfig=str(control_plane.kubeconfig), container="operator")
        assert "purpleflea" not in allowed
    assert "may forward ports" in connect(guarded, "portforward")


def test_the_key_wants_the_restricted_level(guarded):
    """Also where somebody else makes the namespace: a privileged pod reads every other pod's memory."""
    spec = agents_pod(guarded.settings)

    def level(value):
        labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": value}}}
        guarded.admin.patch(Namespace, guarded.name, labels, patch_type=PatchType.MERGE)

    level("baseline")
    try:
        waiting.until(
            "the policy sees the label",
            lambda: "does not enforce the restricted" in refusal(lambda: make(guarded.admin, spec)),
        )
        assert refusal(lambda: make(guarded.tenant, plain_spec())) == ""
    finally:
        level("restricted")
        waiting.until("the label is back", lambda: not refusal(lambda: make(guarded.admin, spec)))
