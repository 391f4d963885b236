"""Every object of every stack is taken by a real API server: strictly, without a warning, twice the same.

What the admission rules and the Escrow's rules refuse is asked in `tests/components/manifests`.
"""

import json
import ssl
from typing import NamedTuple

import httpx
import pytest
import yaml

from components.manifests import account_policy, credentials_policy, job_gate, naming, session_policy, stack
from components.settings import Settings
from components.synth import __main__ as synth
from tests.components import stacks
from tests.toolchain import waiting

pytestmark = pytest.mark.xdist_group("definition")
NOT_SERVED = {
    "ScaledObject": "KEDA's own definition; held against its schema in tests/components/schemas",
    "TriggerAuthentication": "KEDA's; likewise",
    "Certificate": "cert-manager's; likewise",
    "Issuer": "cert-manager's; likewise",
    "AdmissionCheck": "Kueue's; likewise",
}
"""Kinds whose definitions come from other projects, so that a bare API server does not know them."""


class Server:
    """The API server as the administrator, over plain HTTP requests: no client library smooths anything."""

    def __init__(self, client: httpx.Client):
        self.client = client
        self._plurals = {}

    def path(self, manifest) -> str | None:
        """Where an object is; None when the server does not know its kind."""
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in self._plurals:
            answer = self.client.get(root)
            found = answer.json()["resources"] if answer.status_code == 200 else []
            self._plurals[version] = {one["kind"]: one["name"] for one in found if "/" not in one["name"]}
        plural = self._plurals[version].get(manifest["kind"])
        meta = manifest["metadata"]
        place = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        return plural and f"{root}{place}/{plural}/{meta['name']}"

    def apply(self, manifest) -> httpx.Response:
        """Server-side apply with strict validation."""
        return self.client.patch(
            self.path(manifest),
            params={"fieldManager": "tests", "fieldValidation": "Strict"},
            headers={"content-type": "application/apply-patch+yaml"},
            content=json.dumps(manifest),
        )

    def review(self, account, verb, resource, name, namespace) -> bool:
        """Whether a ServiceAccount of the namespace `rights` may do so, as the server's authorizer says."""
        resource, _, group = resource.partition(".")
        resource, _, sub = resource.partition("/")
        what = {"verb": verb, "group": group, "resource": resource, "subresource": sub, "name": name}
        groups = ["system:serviceaccounts", "system:serviceaccounts:rights", "system:authenticated"]
        body = {
            "spec": {
                "user": f"system:serviceaccount:rights:{account}",
                "groups": groups,
                "resourceAttributes": what | {"namespace": namespace},
            }
        }
        answer = self.client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["status"]["allowed"]


@pytest.fixture(scope="module")
def server(spare_control_plane):
    """A server of its own: APIServices without a backend would trouble the tests of a shared one."""
    pki = spare_control_plane.directory / "pki"
    tls = ssl.create_default_context(cafile=pki / "ca.crt")
    tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    with httpx.Client(base_url=spare_control_plane.url, verify=tls, trust_env=False, timeout=30) as client:
        yield Server(client)


def create_namespaces(server, manifests):
    """Those that the stack takes for granted."""
    for name in {manifest["metadata"].get("namespace", "default") for manifest in manifests}:
        body = {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/warn": "restricted"}}}
        assert server.client.post("/api/v1/namespaces", json=body).status_code in {201, 409}


def apply_all(server, manifests):
    """Apply each object; the kinds that are not served, and what each is then, apart from what controllers write."""
    not_served, stored = set(), {}
    autoscalers = [manifest["spec"] for manifest in manifests if manifest["kind"] == "HorizontalPodAutoscaler"]
    scaled = {f"{each['scaleTargetRef']['kind']} {each['scaleTargetRef']['name']}" for each in autoscalers}
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if server.path(manifest) is None:
            not_served.add(manifest["kind"])
            continue
        answer = server.apply(manifest)
        assert answer.is_success, f"{name}: {answer.text}"
        assert "warning" not in answer.headers, f"{name}: {answer.headers['warning']}"
        document = answer.json()
        mine = {key: part for key, part in document.items() if key not in {"metadata", "status"}}
        if name in scaled:  # the controller raises it to the least number at any moment
            mine["spec"].pop("replicas", None)
        else:
            mine["generation"] = document["metadata"].get("generation")
        stored[name] = mine
    return not_served, stored


def rendered(name, folder):
    """The objects in the files that `make render` writes for a stack."""
    assert synth.main(["--stack", name, "--out", str(folder)]) == 0
    files = [file for layer in ("foundation", "kubernetes") for file in sorted((folder / name / layer).glob("*.yaml"))]
    texts = [file.read_text() for file in files if file.name != "kustomization.yaml"]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_files_of_make_render_are_taken(server, tmp_path, name):
    manifests = rendered(name, tmp_path)
    assert {"Namespace", "Deployment", "CustomResourceDefinition"} <= {m["kind"] for m in manifests}
    create_namespaces(server, manifests)
    not_served, first = apply_all(server, manifests)
    assert not_served == set()
    _, second = apply_all(server, manifests)
    assert {name: (before, second[name]) for name, before in first.items() if second[name] != before} == {}


@pytest.mark.parametrize("name", stacks.EXAMPLES)
def test_every_example_is_taken_in_place_of_the_one_before(server, name):
    """All in one namespace: no change of the settings may end in "field is immutable"."""
    manifests = stack.objects(Settings.parse(stacks.EXAMPLES[name]))
    create_namespaces(server, manifests)
    not_served, _ = apply_all(server, manifests)
    assert not_served <= NOT_SERVED.keys()
    assert not_served == {manifest["kind"] for manifest in manifests} & NOT_SERVED.keys()


def test_an_unknown_field_is_refused(server):
    """The proof that the proof is strict."""
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}, "dta": {}}
    answer = server.apply(wrong)
    assert not answer.is_success
    assert ".dta: field not declared in schema" in answer.text


@pytest.mark.parametrize(
    "made", [credentials_policy.policy, account_policy.policy, session_policy.policy, job_gate.guard]
)
def test_the_expressions_of_a_policy_have_the_types_they_need(server, made):
    """The API server checks them against objects only after the fact, and tells it in the policy's status."""
    policy = made(Settings())
    assert server.apply(policy).is_success

    def status():
        return server.client.get(server.path(policy)).json().get("status", {})

    waiting.until("the policy's types are checked", lambda: "typeChecking" in status())
    assert status()["typeChecking"] == {}


class Rule(NamedTuple):
    """One row of docs/rbac.md."""

    account: str
    verbs: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    where: str

    def allows(self, account: str, verb: str, resource: str, name: str, here: bool) -> bool:
        """Whether the row says so, `here` being the stack's namespace; with a selector and several replicas."""
        what = account == self.account and verb in self.verbs and resource in self.resources
        return what and (not self.names or name in self.names) and (here or not self.where.startswith("the stack's"))


def table() -> list[Rule]:
    """The rows of the page that people read."""
    rules = []
    for line in (synth.ROOT / "docs" / "rbac.md").read_text().splitlines():
        if line.startswith("| `"):
            account, verbs, what, where, _ = (cell.strip("| `") for cell in line.split(" | "))
            resources, _, names = what.partition(" named ")
            lists = (frozenset(text.split(", ")) - {"..."} if text else frozenset() for text in (resources, names))
            rules.append(Rule(account, frozenset(verbs.split()), *lists, where))
    return rules


ELSEWHERE = "elsewhere"
PAYER = stacks.EXAMPLES["payer's key to agents"]
ARCHIVED = {"retention": stacks.EXAMPLES["archive in a bucket"]["retention"]}
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
NOBODYS = {
    *("secrets", "configmaps", "serviceaccounts/token", "pods/exec", "pods/log", "pods/ephemeralcontainers", "nodes"),
    *("cronjobs.batch", "deployments.apps", "deployments/scale.apps", "networkpolicies.networking.k8s.io"),
    *("roles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"),
    *("validatingadmissionpolicies.admissionregistration.k8s.io", "customresourcedefinitions.apiextensions.k8s.io"),
}
"""What the page grants to no one, but for names of its own."""


@pytest.mark.checklist("K2")
def test_each_account_may_what_the_page_says_and_nothing_else(server, seen):
    """Asked of the server's own authorizer, with each account's every verb on everything of interest."""
    rules = [rule for rule in table() if rule.account != naming.KEDA_ACCOUNT]  # of KEDA's own namespace
    selector = stacks.EXAMPLES["selector"]
    operator = selector["operator"] | stacks.EXAMPLES["queued by Kueue"]["operator"]
    settings = Settings.parse({**selector, **PAYER, "namespace": "rights", "operator": operator, **ARCHIVED})
    manifests = stack.objects(settings)
    create_namespaces(server, [*manifests, {"metadata": {"namespace": ELSEWHERE}}])
    apply_all(server, manifests)
    names = {resource: name for rule in rules for resource in rule.resources for name in rule.names}
    asked = [
        (account, verb, resource, name, namespace)
        for account in sorted({rule.account for rule in rules} | {"pf-sandbox-sa", "default"})
        for resource in sorted(NOBODYS.union(*(rule.resources for rule in rules)))
        for name in {"", names.get(resource, "")}
        for verb in VERBS
        for namespace in ("rights", *(() if resource in NOBODYS else (ELSEWHERE,)))
    ]
    expected = {
        question: any(rule.allows(*question[:4], question[4] == "rights") for rule in rules) for question in asked
    }
    granted = next(question for question in asked if expected[question])
    waiting.until("the authorizer's own cache knows the Roles", lambda: server.review(*granted))
    wrong = {question: allowed for question, allowed in expected.items() if server.review(*question) != allowed}
    assert wrong == {}
    assert sum(expected.values()) > 40
    seen(
        "asked of the authorizer",
        f"{len(asked)} questions, {sum(expected.values())} rights granted, none beyond docs/rbac.md",
    )
    metrics = "pf-metrics-sa"
    for review in ("tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io"):
        assert server.review(metrics, "create", review, "", "")
    assert server.review(metrics, "get", "configmaps", "extension-apiserver-authentication", "kube-system")
