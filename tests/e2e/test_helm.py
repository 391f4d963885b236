"""A release's whole life with real Helm on a real cluster: installed, tested, upgraded, rolled back, uninstalled.

The tests run in this order, on one node of their own and one release, as a release lives. What controllers write in
between (replicas, a rotated CA, what the operator puts on Jobs) must neither stop an upgrade nor be undone by it.
"""

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

pytestmark = pytest.mark.xdist_group("helm")
PROJECT = Path(__file__).parents[2]
NAMESPACE = Settings().namespace
OTHER = "other-jobs"
SMALL = tuple(
    word
    for key in ("operator.enabled=false", "worker.enabled=false", "agents=null", "funding.mode=annotation")
    for word in ("--set", f"purpleflea.{key}")
)


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
    return ("--set", f"purpleflea.images.runtime={runtime_image.reference}")


@pytest.fixture(scope="module")
def release(helm, dist, image, kubectl) -> Stack:
    """The dev stack by its package, as somebody installs it."""
    [package] = dist.glob("*.tgz")
    told = helm("install", "pf", package, *image)
    assert f"kubectl get jobs,escrows -n {NAMESPACE}" in told
    return Stack(kubectl, dist)


def job_of(kubectl) -> dict:
    [job] = kubectl.get("jobs", "--selector", "purpleflea.com/agent=pf-agent-job")
    return job


def paid(release) -> int:
    return sum(1 for e in release.escrows().values() if e.get("outcome") == "Paid")


def test_the_job_is_held_back_and_paid_and_helm_test_is_a_round_trip(release, helm):
    assert "Succeeded" in helm("test", "pf")
    assert release.await_escrow("pf-helm-test", "Settled")["paidUsdc"] == "0.099"
    assert release.await_escrow("pf-agent-job", "Settled")["outcome"] == "Paid"


def test_an_upgrade_leaves_what_controllers_wrote(release, helm, kubectl, dist, image):
    scaled = ("--set", "purpleflea.hpa.enabled=true")
    helm("upgrade", "pf", dist / "chart", *image, *scaled)
    kubectl("scale", "deployment/pf-agent-workers", "--replicas=3")
    bundle = ("get", "apiservice/v1beta1.custom.metrics.k8s.io", "--output=jsonpath={.spec.caBundle}")
    waiting.until("the metrics server has registered its CA", lambda: kubectl(*bundle), 120)
    ca = kubectl(*bundle)
    before = job_of(kubectl)
    helm("upgrade", "pf", dist / "chart", *image, *scaled, "--set", "purpleflea.operator.resyncSeconds=60")
    after = job_of(kubectl)
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert before["metadata"]["annotations"].items() <= after["metadata"]["annotations"].items()
    assert kubectl("get", "deployment/pf-agent-workers", "--output=jsonpath={.spec.replicas}") == "3"
    assert kubectl(*bundle) == ca


def test_a_rollback_never_pays_again(release, helm, kubectl, dist, image):
    first = job_of(kubectl)["metadata"]["name"]
    another = (
        "--set",
        "purpleflea.agents[0].name=pf-agent-job",
        "--set",
        "purpleflea.agents[0].payee=worker-agent-007",
    )
    helm("upgrade", "pf", dist / "chart", *image, *another, "--set", "purpleflea.agents[0].task=Another one")
    second = job_of(kubectl)["metadata"]["name"]
    assert release.await_escrow(second, "Settled")["outcome"] == "Paid"
    count = paid(release)
    helm("rollback", "pf", "1")
    waiting.until("the first Job is withheld", lambda: _is_withheld(job_of(kubectl)), state=release.state)
    assert job_of(kubectl)["metadata"]["name"] == first
    assert job_of(kubectl)["spec"]["suspend"] is True
    assert paid(release) == count


def _is_withheld(job) -> bool:
    return "purpleflea.com/withheld" in job["metadata"].get("annotations", {})


def test_a_second_release_names_the_definitions_owner_and_one_of_helm_3_s_way_upgrades(release, helm, dist, image):
    values = (*image, *SMALL, "--set", f"purpleflea.namespace={OTHER}")
    refused = helm.refusal("install", "other", dist / "chart", *values)
    assert "purpleflea.createCrd: the definition of the accounts is the release pf's; set createCrd: false" in refused
    values = (*values, "--set", "purpleflea.createCrd=false")
    helm("install", "other", dist / "chart", *values, "--server-side=false")
    helm("upgrade", "other", dist / "chart", *values, "--set", "purpleflea.logLevel=DEBUG")
    helm("upgrade", "other", dist / "chart", *values, "--server-side=true")
    helm("uninstall", "other")


def test_a_missing_secret_is_told_before_anything_is_created(release, helm, kubectl, dist, image):
    values = (
        *image,
        *SMALL,
        "--set",
        "purpleflea.createCrd=false",
        "--set",
        "purpleflea.credentials.existingSecret=mine",
    )
    refused = helm.refusal("install", "bad", dist / "chart", *values, "--set", "purpleflea.namespace=nowhere")
    assert "purpleflea.credentials.existingSecret: there is no Secret mine in the namespace nowhere" in refused
    assert "kubectl create namespace nowhere; kubectl create secret generic mine -n nowhere" in refused
    assert "nowhere" not in kubectl("get", "namespaces")
    kubectl("create", "namespace", "somebodys")
    refused = helm.refusal("install", "bad", dist / "chart", *values, "--set", "purpleflea.namespace=somebodys")
    assert "kubectl label namespace somebodys pod-security.kubernetes.io/enforce=restricted" in refused


def test_rights_to_one_namespace_are_enough_where_somebody_else_made_the_rest(helm, kubectl, spare_node, dist, image):
    kubectl("create", "namespace", "tenant")
    kubectl("create", "serviceaccount", "installer", "--namespace=tenant")
    kubectl(
        "create", "rolebinding", "installer", "--clusterrole=admin", "--serviceaccount=tenant:installer", "-n", "tenant"
    )
    tenant = Helm(helm.program, helm.home, spare_node.kubeconfig_for("installer", "tenant"))
    theirs = [word for part in ("Namespace", "Crd", "Policies") for word in ("--set", f"purpleflea.create{part}=false")]
    values = (*image, *SMALL, *theirs, "--set", "purpleflea.namespace=tenant")
    assert "tenant" in tenant("install", "pf", dist / "chart", *values, "--namespace=tenant", "--dry-run=server")


def test_uninstall_keeps_the_accounts(release, helm, kubectl, dist, image):
    kubectl("delete", "cronjobs,jobs", "--all", PATIENCE)
    accounts = {e["metadata"]["name"] for e in kubectl.get("escrows")}
    helm("uninstall", "pf")
    assert accounts
    assert {e["metadata"]["name"] for e in kubectl.get("escrows")} == accounts
    policies = kubectl("get", "mutatingadmissionpolicies,validatingadmissionpolicies", "--output=name")
    assert [line for line in policies.splitlines() if line.endswith(f"purpleflea.com.{NAMESPACE}")] == []


def test_another_chart_s_job_is_paid_with_the_containers_it_took(release, helm, kubectl, dist, image, tmp_path):
    parent = shutil.copytree(PROJECT / "examples" / "charts" / "reports", tmp_path / "reports")
    shutil.copytree(dist / "chart", parent / "charts" / "purpleflea")
    runtime = image[1].partition("=")[2]
    accounts = {*release.escrows()}
    helm("install", "pf", parent, *image, "--set", f"image={runtime}")  # takes over the namespace and the accounts
    account = release.await_escrow("report-1", "Settled")
    assert accounts < {*release.escrows()}
    assert (account["outcome"], account["lockedUsdc"]) == ("Paid", "0.25")
    applied = helm("template", "pf", dist / "chart", *image, "--no-hooks")
    kubectl("apply", "--dry-run=server", "--filename", "-", stdin=applied)
