"""A release's whole life with real Helm on a real cluster: installed, tested, upgraded, rolled back, uninstalled.

The tests run in this order, on one node of their own and one release, as a release lives. What controllers write in
between (replicas, a rotated CA, what the operator puts on Jobs) must neither stop an upgrade nor be undone by it.
"""

import base64
import json
import shutil
from pathlib import Path

import pytest

from components.helm import __main__ as make_chart
from components.settings import Settings
from tests.components.helm.rendering import Helm
from tests.e2e.kubectl import Kubectl
from tests.e2e.stack import PATIENCE, Stack
from tests.toolchain import images, waiting
from tests.toolchain.fixtures import require

pytestmark = [pytest.mark.xdist_group("helm"), pytest.mark.checklist("K10")]
PROJECT = Path(__file__).parents[2]
GUIDE = PROJECT / "tests" / "guides" / "kubernetes" / "values.yaml"
NAMESPACE = Settings().namespace
SECRET = "purpleflea-creds"
OTHER = "other-jobs"


def set_(**values: str) -> tuple[str, ...]:
    """Words for Helm, below `purpleflea:`; two underscores stand for a dot."""
    return tuple(w for key, value in values.items() for w in ("--set", f"purpleflea.{key.replace('__', '.')}={value}"))


SMALL = set_(operator__enabled="false", worker__enabled="false", agents="null", funding__mode="annotation")


@pytest.fixture(scope="module")
def kubectl(spare_node, runtime_image, tmp_path_factory) -> Kubectl:
    images.bring(spare_node, runtime_image)
    return Kubectl(require("node", "kubectl"), spare_node.kubeconfig, NAMESPACE, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def helm(spare_node, tmp_path_factory) -> Helm:
    return Helm(require("helm", "helm"), tmp_path_factory.mktemp("helm-home"), spare_node.kubeconfig)


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """What `make chart` writes of the dev stack."""
    folder = tmp_path_factory.mktemp("dist")
    assert make_chart.main(["--stack", "dev", "--out", f"{folder}"]) == 0
    return folder / "dev"


@pytest.fixture(scope="module")
def image(runtime_image) -> tuple[str, ...]:
    return set_(images__runtime=runtime_image.reference)


@pytest.fixture(scope="module")
def guide(image, runtime_image) -> tuple[str, ...]:
    """The guide's own values; its operator is an image of somebody's, so ours stands in."""
    return ("--values", f"{GUIDE}", *image, *set_(operator__image=runtime_image.reference))


@pytest.fixture(scope="module")
def release(helm, dist, guide, kubectl) -> Stack:
    """The dev stack by its package with the guide's values, after the guide's own commands for the Secret."""
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    words = ("--from-literal=api-key=pf_sandbox_of_the_guide", "--from-literal=agent-wallet=agent-k8s-001")
    kubectl("create", "secret", "generic", SECRET, *words)
    [package] = dist.glob("*.tgz")
    told = helm("install", "pf", package, *guide)
    assert f"kubectl get jobs,escrows -n {NAMESPACE}" in told
    return Stack(kubectl, dist)


def job_of(kubectl) -> dict:
    [job] = kubectl.get("jobs", "--selector", "purpleflea.com/agent=pf-agent-job")
    return job


def key_in(kubectl, namespace) -> str:
    """The API key in a Secret."""
    secret = json.loads(kubectl("get", "secret", SECRET, "--namespace", namespace, "--output=json"))
    return base64.b64decode(secret["data"]["api-key"]).decode()


def rotate(kubectl, namespace, key) -> None:
    """Put another API key into a Secret, as somebody does by hand."""
    patch = json.dumps({"stringData": {"api-key": key}})
    kubectl("patch", "secret", SECRET, "--namespace", namespace, "--type=merge", "--patch", patch)


def paid(release) -> int:
    return sum(1 for e in release.escrows().values() if e.get("outcome") == "Paid")


@pytest.mark.checklist("K1")
def test_the_guides_values_pay_the_guides_job_and_helm_test_is_a_round_trip(release, helm, seen):
    assert "Succeeded" in helm("test", "pf")
    assert release.await_escrow("pf-helm-test", "Settled")["paidUsdc"] == "0.099"
    account = release.await_escrow("pf-agent-job", "Settled")
    assert account["outcome"] == "Paid"
    seen("the guide's values", f"pf-agent-job paid {account['paidUsdc']} USDC, helm test 0.099", "K10")
    seen("Secret", f"{SECRET}, made by the guide's own command, referred to", "K1")


def test_an_upgrade_leaves_what_controllers_wrote(release, helm, kubectl, dist, guide):
    replicas = ("get", "deployment/pf-agent-workers", "--output=jsonpath={.spec.replicas}")
    waiting.until("the autoscaler has scaled", lambda: kubectl(*replicas) == "2", 120)
    bundle = ("get", "apiservice/v1beta1.custom.metrics.k8s.io", "--output=jsonpath={.spec.caBundle}")
    waiting.until("the metrics server has registered its CA", lambda: kubectl(*bundle), 120)
    ca, key = kubectl(*bundle), key_in(kubectl, NAMESPACE)
    before = job_of(kubectl)
    helm("upgrade", "pf", dist / "chart", *guide, *set_(monitoring__enabled="true"))
    after = job_of(kubectl)
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert before["metadata"]["annotations"].items() <= after["metadata"]["annotations"].items()
    assert kubectl(*replicas) == "2"
    assert (kubectl(*bundle), key_in(kubectl, NAMESPACE)) == (ca, key)


def test_another_chart_s_job_is_paid_with_the_containers_it_took(release, helm, dist, guide, image, tmp_path):
    """The same release by another chart, with this one below it and the guide's values: the agent's own Job goes."""
    parent = shutil.copytree(PROJECT / "examples" / "charts" / "reports", tmp_path / "reports")
    shutil.copytree(dist / "chart", parent / "charts" / "purpleflea")
    runtime = image[1].partition("=")[2]
    helm("upgrade", "pf", parent, *guide, *set_(worker__enabled="true"), "--set", f"image={runtime}")
    account = release.await_escrow("report-", "Settled")
    assert (account["outcome"], account["lockedUsdc"]) == ("Paid", "0.10")


def test_a_rollback_never_pays_again(release, helm, kubectl, seen):
    count = paid(release)
    helm("rollback", "pf", "1")
    waiting.until("the first Job is withheld", lambda: _is_withheld(job_of(kubectl)), state=release.state)
    assert job_of(kubectl)["spec"]["suspend"] is True
    assert paid(release) == count
    seen("rolled back", f"{count} payments before, {count} after, the first Job withheld")


def _is_withheld(job) -> bool:
    return "purpleflea.com/withheld" in job["metadata"].get("annotations", {})


def test_a_release_of_helm_3_s_way_upgrades_and_a_rotated_key_stays(release, helm, kubectl, dist, image):
    """In another namespace, and first refused, for the definitions have an owner."""
    values = (*image, *SMALL, *set_(namespace=OTHER, hpa__engine="external", worker__enabled="true"))
    values = (*values, *set_(networkPolicy__enabled="false", mcp__enabled="false", payroll__enabled="false"))
    refused = helm.refusal("install", "other", dist / "chart", *values)
    assert "purpleflea.createCrd: the definition of the accounts is the release pf's; set createCrd: false" in refused
    values = (*values, *set_(createCrd="false", hpa__enabled="true"))
    helm("install", "other", dist / "chart", *values, "--server-side=false")
    kubectl("scale", "deployment/pf-agent-workers", "--replicas=0", "--namespace", OTHER)
    rotate(kubectl, OTHER, "pf_sandbox_rotated")
    for more in (set_(logLevel="DEBUG"), ("--server-side=true",)):
        helm("upgrade", "other", dist / "chart", *values, *more)
        scale = ("get", "deployment/pf-agent-workers", "--namespace", OTHER, "--output=jsonpath={.spec.replicas}")
        assert (kubectl(*scale), key_in(kubectl, OTHER)) == ("0", "pf_sandbox_rotated"), more


def test_a_missing_secret_is_told_before_anything_is_created(release, helm, kubectl, dist, image):
    values = (*image, *SMALL, *set_(createCrd="false", credentials__existingSecret="mine"))
    refused = helm.refusal("install", "bad", dist / "chart", *values, *set_(namespace="nowhere"))
    assert "purpleflea.credentials.existingSecret: there is no Secret mine in the namespace nowhere" in refused
    assert "kubectl create namespace nowhere; kubectl create secret generic mine -n nowhere" in refused
    assert "nowhere" not in kubectl("get", "namespaces")
    kubectl("create", "namespace", "somebodys")
    refused = helm.refusal("install", "bad", dist / "chart", *values, *set_(namespace="somebodys"))
    assert "kubectl label namespace somebodys pod-security.kubernetes.io/enforce=restricted" in refused


def test_rights_to_one_namespace_are_enough_where_somebody_else_made_the_rest(helm, kubectl, spare_node, dist, image):
    kubectl("create", "namespace", "tenant")
    kubectl("create", "serviceaccount", "installer", "--namespace=tenant")
    rights = ("--clusterrole=admin", "--serviceaccount=tenant:installer", "--namespace=tenant")
    kubectl("create", "rolebinding", "installer", *rights)
    tenant = Helm(helm.program, helm.home, spare_node.kubeconfig_for("installer", "tenant"))
    theirs = set_(createNamespace="false", createCrd="false", createPolicies="false", namespace="tenant")
    values = (*image, *SMALL, *theirs)
    assert "tenant" in tenant("install", "pf", dist / "chart", *values, "--namespace=tenant", "--dry-run=server")


def test_what_sees_no_cluster_renders_the_same(release, helm, kubectl, dist, image):
    """Argo CD and `helm template` have no cluster to look at: no difference for a stack that is not there yet."""
    values = (*image, *set_(namespace="new-jobs", createCrd="false"))
    blind = helm.template(dist / "chart", *values)
    assert helm.template(dist / "chart", *values, "--dry-run=server") == blind
    applied = helm("template", "pf", dist / "chart", *image, *SMALL, "--no-hooks")
    kubectl("apply", "--dry-run=server", "--filename", "-", stdin=applied)


def test_uninstall_keeps_the_accounts_and_the_next_release_finds_them(release, helm, kubectl, dist, image):
    kubectl("delete", "cronjobs,jobs", "--all", PATIENCE)
    accounts = {e["metadata"]["name"] for e in kubectl.get("escrows")}
    helm("uninstall", "pf")
    assert accounts
    policies = kubectl("get", "mutatingadmissionpolicies,validatingadmissionpolicies", "--output=name")
    assert [line for line in policies.splitlines() if line.endswith(f"purpleflea.com.{NAMESPACE}")] == []
    helm("install", "pf", dist / "chart", *image, *SMALL, *set_(credentials__existingSecret=SECRET))
    assert {e["metadata"]["name"] for e in kubectl.get("escrows")} == accounts
