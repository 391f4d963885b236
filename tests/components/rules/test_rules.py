"""The rules on what a stack's objects permit: what widens is told, and nothing else is."""

import json
from copy import deepcopy
from decimal import Decimal

import pytest

from components.manifests.stack import objects
from components.rules import guards, money, network, pods, rights
from components.rules.money import Exposure
from tests.components.variants import VARIANTS, stack


def meta(name, namespace="jobs", **more):
    return {"name": name, "namespace": namespace, **more}


def role(*rules, kind="Role", name="operator", namespace="jobs"):
    keys = ("apiGroups", "resources", "verbs", "resourceNames")
    metadata = meta(name, namespace) if kind == "Role" else {"name": name}
    return {
        "kind": kind,
        "metadata": metadata,
        "rules": [dict(zip(keys, map(list, rule), strict=False)) for rule in rules],
    }


def binding(kind="RoleBinding", role="Role", name="operator", subjects=("operator",)):
    accounts = [{"kind": "ServiceAccount", "name": subject, "namespace": "jobs"} for subject in subjects]
    metadata = meta(name) if kind == "RoleBinding" else {"name": name}
    return {"kind": kind, "metadata": metadata, "roleRef": {"kind": role, "name": name}, "subjects": accounts}


READS = ([""], ["secrets"], ["get", "list"])
WHO = "ServiceAccount jobs/operator"
RIGHTS = {
    "nothing changes": ([role(READS), binding()], [role(READS), binding()], []),
    "a verb": (
        [role(READS), binding()],
        [role(READS, ([""], ["secrets"], ["delete"])), binding()],
        [f"{WHO} gains verb delete on secrets, in namespace jobs"],
    ),
    "fewer verbs": ([role(READS), binding()], [role(([""], ["secrets"], ["get"])), binding()], []),
    "split into two rules": (
        [role(READS), binding()],
        [role(([""], ["secrets"], ["get"]), ([""], ["secrets"], ["list"])), binding()],
        [],
    ),
    "one name becomes all": (
        [role(([""], ["secrets"], ["get"], ["one"])), binding()],
        [role(([""], ["secrets"], ["get"])), binding()],
        [f"{WHO} gains verb get on secrets, in namespace jobs"],
    ),
    "all names become one": (
        [role(([""], ["secrets"], ["get"])), binding()],
        [role(([""], ["secrets"], ["get"], ["one"])), binding()],
        [],
    ),
    "a star covers": (
        [role((["*"], ["*"], ["*"])), binding()],
        [role(READS, (["apps"], ["deployments/scale"], ["patch"])), binding()],
        [],
    ),
    "a star is gained": (
        [role(READS), binding()],
        [role(([""], ["*"], ["*"])), binding()],
        [f"{WHO} gains every verb on every resource of the core group, in namespace jobs"],
    ),
    "a star of subresources": (
        [role(([""], ["*/status"], ["patch"])), binding()],
        [role(([""], ["pods/status"], ["patch"])), binding()],
        [],
    ),
    "another group": (
        [role(READS), binding()],
        [role((["x.example"], ["secrets"], ["get"])), binding()],
        [f"{WHO} gains verb get on secrets.x.example, in namespace jobs"],
    ),
    "somebody else is bound": (
        [role(READS), binding()],
        [role(READS), binding(subjects=("operator", "other"))],
        ["ServiceAccount jobs/other gains verbs get, list on secrets, in namespace jobs"],
    ),
    "the whole cluster": (
        [role(READS, kind="ClusterRole"), binding(role="ClusterRole")],
        [role(READS, kind="ClusterRole"), binding("ClusterRoleBinding", "ClusterRole")],
        [f"{WHO} gains verbs get, list on secrets, in the whole cluster"],
    ),
    "one namespace of the whole cluster": (
        [role(READS, kind="ClusterRole"), binding("ClusterRoleBinding", "ClusterRole")],
        [role(READS), binding()],
        [],
    ),
    "a role of somebody else's": (
        [],
        [binding("ClusterRoleBinding", "ClusterRole", name="cluster-admin")],
        [f"{WHO} gains what ClusterRole cluster-admin permits, which is declared elsewhere, in the whole cluster"],
    ),
    "a role that nobody here is bound to": (
        [],
        [role(([""], ["pods"], ["get"], ["p"]))],
        ["whoever is bound to Role operator gains verb get on pods p, in namespace jobs"],
    ),
    "a role renamed with its binding": (
        [role(READS, name="a"), binding(name="a")],
        [role(READS, name="b"), binding(name="b")],
        [],
    ),
}


@pytest.mark.parametrize("name", RIGHTS)
def test_rights_that_somebody_gains(name):
    before, after, told = RIGHTS[name]
    assert rights.widened(before, after) == told


def test_urls_and_aggregated_roles():
    url = {
        "kind": "ClusterRole",
        "metadata": {"name": "r"},
        "rules": [{"nonResourceURLs": ["/metrics/*"], "verbs": ["get"]}],
    }
    narrow = deepcopy(url)
    narrow["rules"][0]["nonResourceURLs"] = ["/metrics/a"]
    assert rights.widened([url], [narrow]) == []
    assert rights.widened([narrow], [url]) == [
        "whoever is bound to ClusterRole r gains verb get on /metrics/*, in the whole cluster"
    ]
    [told] = rights.widened([url], [{**url, "aggregationRule": {"clusterRoleSelectors": []}}])
    assert "what ClusterRole r aggregates" in told


@pytest.mark.parametrize("name", VARIANTS)
def test_a_stack_is_not_wider_than_itself_and_is_wider_than_nothing(name):
    found = objects(VARIANTS[name].settings())
    for rule in (rights.widened, guards.loosened, network.widened):
        assert rule(found, deepcopy(found)) == []
    grants = any(one["kind"].endswith("Binding") and "roleRef" in one for one in found)
    assert bool(rights.widened([], found)) is grants
    assert [one for one in found if pods.unrestricted(one)] == []


def test_more_than_one_replica_gives_the_operator_one_more_verb():
    one, two = (objects(stack(operator={"replicas": count}).settings()) for count in (1, 2))
    assert rights.widened(one, two) == [
        "ServiceAccount agent-jobs/pf-operator-sa gains verb patch on leases.coordination.k8s.io pf-escrow-operator, "
        "in namespace agent-jobs"
    ]
    assert rights.widened(two, one) == []


def policy(**spec):
    kind = spec.pop("kind", "ValidatingAdmissionPolicy")
    return {"kind": kind, "metadata": {"name": "p"}, "spec": {"validations": [{"expression": "a"}], **spec}}


def bound(*actions):
    spec = {"policyName": "p", "validationActions": [*actions]}
    return {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "p"}, "spec": spec}


GUARDS = {
    "gone": ([policy()], [], "is gone"),
    "its binding is gone": ([bound("Deny")], [], "is gone"),
    "passes on failure": ([policy(failurePolicy="Fail")], [policy(failurePolicy="Ignore")], "failurePolicy"),
    "warns only": ([bound("Deny", "Audit")], [bound("Warn", "Audit")], "acts no longer by Deny"),
    "one rule less": ([policy()], [policy(validations=[])], "1 of its validations gone or changed; whether the 0 new"),
    "other requests": ([policy(matchConstraints={})], [policy(matchConstraints={"a": 1})], "matchConstraints changed"),
    "a webhook": (
        [{"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"}, "webhooks": [{"name": "a"}]}],
        [{"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"}, "webhooks": []}],
        "webhooks changed",
    ),
    "a rule of a definition": (
        [
            {
                "kind": "CustomResourceDefinition",
                "metadata": {"name": "c"},
                "spec": {"a": [{"x-kubernetes-validations": [{"rule": "self > 0"}]}]},
            }
        ],
        [{"kind": "CustomResourceDefinition", "metadata": {"name": "c"}, "spec": {"a": []}}],
        "lacks the rule self > 0",
    ),
    "pod security": (
        [
            {
                "kind": "Namespace",
                "metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            }
        ],
        [{"kind": "Namespace", "metadata": {"name": "n"}}],
        "enforces privileged Pod Security, no longer restricted",
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_guards_that_stop_less(name):
    before, after, told = GUARDS[name]
    [sentence] = guards.loosened(before, after)
    assert told in sentence


def test_a_guard_that_stops_more_is_not_told_of():
    assert (
        guards.loosened(
            [policy(failurePolicy="Ignore")],
            [policy(validations=[{"expression": "a", "message": "m"}, {"expression": "b"}])],
        )
        == []
    )
    assert guards.loosened([], [policy(), bound("Deny")]) == []
    assert guards.loosened([bound("Warn")], [bound("Warn", "Deny")]) == []


def net(name="n", selector=None, types=("Egress",), **rules):
    spec = {"podSelector": selector or {}, "policyTypes": [*types], **rules}
    return {"kind": "NetworkPolicy", "metadata": meta(name), "spec": spec}


def egress(*peers, port=443, **more):
    return {"to": [*peers], "ports": [{"port": port, "protocol": "TCP", **more}]}


def block(cidr, *holes):
    return {"ipBlock": {"cidr": cidr, "except": [*holes]}}


PODS = {"matchLabels": {"a": "b"}}
NETWORK = {
    "all of the internet": (
        [net(egress=[egress(block("198.51.100.0/24"))])],
        [net(egress=[egress(block("0.0.0.0/0", "10.0.0.0/8"))])],
        "every pod may reach 0.0.0.0/0 but for 10.0.0.0/8, port 443/TCP",
    ),
    "a part of it": (
        [net(egress=[egress(block("0.0.0.0/0"))])],
        [net(egress=[egress(block("198.51.100.0/24"))])],
        None,
    ),
    "a hole is filled": (
        [net(egress=[egress(block("0.0.0.0/0", "10.0.0.0/8"))])],
        [net(egress=[egress(block("0.0.0.0/0"))])],
        "may reach 0.0.0.0/0, port",
    ),
    "a larger hole": (
        [net(egress=[egress(block("0.0.0.0/0", "10.1.0.0/16"))])],
        [net(egress=[egress(block("0.0.0.0/0", "10.0.0.0/8"))])],
        None,
    ),
    "inside of a hole": (
        [net(egress=[egress(block("0.0.0.0/0", "10.0.0.0/8"))])],
        [net(egress=[egress(block("10.1.0.0/16"))])],
        "may reach 10.1.0.0/16",
    ),
    "another family": (
        [net(egress=[egress(block("0.0.0.0/0"))])],
        [net(egress=[egress(block("::/0"))])],
        "may reach ::/0",
    ),
    "one port more": (
        [net(egress=[egress(PODS_PEER := {"podSelector": PODS})])],
        [net(egress=[egress(PODS_PEER, port=1, endPort=9)])],
        "port 1-9/TCP",
    ),
    "a port of a range": (
        [net(egress=[egress(PODS_PEER, port=1, endPort=9)])],
        [net(egress=[egress(PODS_PEER, port=5)])],
        None,
    ),
    "fewer labels pick more": (
        [net(egress=[egress(PODS_PEER)])],
        [net(egress=[egress({"podSelector": {}})])],
        "may reach every pod, port",
    ),
    "more labels pick fewer": ([net(egress=[egress({"podSelector": {}})])], [net(egress=[egress(PODS_PEER)])], None),
    "other namespaces": (
        [net(egress=[egress(PODS_PEER)])],
        [net(egress=[egress({**PODS_PEER, "namespaceSelector": {}})])],
        "may reach pods a=b of every namespace",
    ),
    "to anybody": ([net()], [net(egress=[{}])], "may reach anybody, any port"),
    "isolated no more": (
        [net(types=("Ingress",))],
        [],
        "may be reached from anybody: no policy isolates them any more",
    ),
    "isolated by another one": ([net(), net("m", PODS)], [net()], None),
    "nothing was isolated": ([], [net(egress=[{}])], None),
    "renamed": ([net("a", egress=[egress(PODS_PEER)])], [net("b", egress=[egress(PODS_PEER)])], None),
    "a new program gets its way": (
        [net()],
        [net(), net("m", PODS, egress=[egress(PODS_PEER)])],
        "pods a=b may reach pods a=b, port 443/TCP",
    ),
}


@pytest.mark.parametrize("name", NETWORK)
def test_ways_that_open(name):
    before, after, told = NETWORK[name]
    found = network.widened(before, after)
    assert (told in " ".join(found)) if told else found == []


def test_what_is_opened_to_the_outside():
    inner = {"kind": "Service", "metadata": meta("s"), "spec": {}}
    outer = {"kind": "Service", "metadata": meta("s"), "spec": {"type": "LoadBalancer", "externalIPs": ["203.0.113.1"]}}
    assert network.widened([inner], [outer]) == [
        "Service s opens it to the outside: LoadBalancer, externalIPs 203.0.113.1"
    ]
    assert network.widened([outer], [inner]) == []
    assert "Ingress i opens" in network.widened([], [{"kind": "Ingress", "metadata": meta("i"), "spec": {}}])[0]


SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}


def workload(container=None, **pod):
    context = {"seccompProfile": {"type": "RuntimeDefault"}}
    one = {"name": "c", "image": "a@sha256:" + "0" * 64, "securityContext": SAFE, **(container or {})}
    spec = {"automountServiceAccountToken": False, "securityContext": context, "containers": [one], **pod}
    return {"kind": "Deployment", "metadata": meta("d"), "spec": {"template": {"spec": spec}}}


POWERS = {
    "a token": (workload(automountServiceAccountToken=True), "mounts an API token of ServiceAccount default"),
    "another account": (workload(serviceAccountName="x"), "runs as ServiceAccount x"),
    "root": (workload({"securityContext": {**SAFE, "runAsUser": 0}}), "breaks the restricted level: c: runAsUser"),
    "the node's network": (workload(hostNetwork=True), "breaks the restricted level: hostNetwork"),
    "a key": (
        workload({"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        "container c reads Secret s: k",
    ),
    "a whole Secret": (workload({"envFrom": [{"secretRef": {"name": "s"}}]}), "container c reads Secret s: every key"),
    "a mounted Secret": (
        workload(volumes=[{"name": "v", "secret": {"secretName": "s"}}]),
        "volume v holds Secret s: every key",
    ),
    "a token by a volume": (
        workload(volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
        "volume v holds a token of ServiceAccount default for the API server",
    ),
}


@pytest.mark.parametrize("name", POWERS)
def test_what_pods_gain(name):
    after, told = POWERS[name]
    assert told in pods.powers(after, {}) - pods.powers(workload(), {})


def test_a_token_is_mounted_where_neither_pod_nor_account_says_no():
    silent = workload()
    del silent["spec"]["template"]["spec"]["automountServiceAccountToken"]
    account = {"kind": "ServiceAccount", "metadata": meta("default"), "automountServiceAccountToken": False}
    assert any("token" in power for power in pods.powers(silent, {}))
    assert not any("token" in power for power in pods.powers(silent, pods.accounts([account])))


def test_images_by_container_and_which_may_change():
    job = {"kind": "CronJob", "metadata": meta("c"), "spec": {"jobTemplate": {"spec": workload()["spec"]}}}
    assert [*pods.images(job)] == ["c"]
    mutable = {"a:1", "a", "registry:5000/a", "Not An Image"}
    assert {
        one for one in (*mutable, "a@sha256:" + "0" * 64, "a:1@sha256:" + "0" * 64) if pods.is_mutable(one)
    } == mutable


def config(**most):
    return {"sandbox": False, "maximumExposure": {"totalUsdc": "40.40", "wholeBalance": [], "arithmetic": "", **most}}


def test_exposure_is_exact_and_unknown_is_not_zero():
    assert Exposure.read(config()).total == Decimal("40.40")
    assert str(Exposure.read(config(totalUsdc="0.303"))) == "0.303"
    assert str(Exposure.read(config(totalUsdc="0"))) == "0.00"
    for spoilt in (
        None,
        [],
        {},
        config(totalUsdc=40.4),
        config(totalUsdc="NaN"),
        config(totalUsdc="1e3"),
        config(wholeBalance=None),
    ):
        found = Exposure.read(spoilt)
        assert (found.total, str(found)) == (None, "unknown")
        assert found.why


def test_what_is_above_a_cap():
    assert money.above(Exposure.read(config()), Decimal("40.40")) is None
    assert "40.40 USDC, above the cap of 40.39 USDC" in money.above(Exposure.read(config()), Decimal("40.39"))
    assert "unknown" in money.above(Exposure.unknown("no file"), Decimal(10**9))
    assert "nightly: holds the payer's key" in money.above(Exposure.read(config(wholeBalance=["nightly"])), Decimal(99))


def job(annotations, name="j"):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name, annotations=annotations)}


def test_works_are_the_same_by_their_id_and_say_what_is_paid():
    request = json.dumps({"payee": "w", "amountUsdc": "0.10"})
    asked = money.work_of(job({"purpleflea.com/work-id": "w1", "purpleflea.com/escrow-request": request}))
    assert (asked.amount, asked.paid) == (Decimal("0.10"), "0.10 USDC to w")
    assert asked.key == money.work_of(job({"purpleflea.com/work-id": "w1"}, name="other")).key
    assert money.work_of(job({})).key != money.work_of(job({}, name="other")).key
    assert "unknown" in money.work_of(job({"purpleflea.com/escrow-id": "esc_1"})).paid
    assert "pays nothing" in money.work_of(job({})).paid
    for spoilt in ("{", "[]", "1", '{"payee": 1, "amountUsdc": 0.1}'):
        found = money.work_of(job({"purpleflea.com/escrow-request": spoilt}))
        assert found.amount is None
        assert "an unknown amount of USDC" in found.paid
