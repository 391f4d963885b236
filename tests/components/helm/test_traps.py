"""Where Helm surprises people: each trap, and what the chart makes of it."""

import json
import re
import shutil

import pytest
import yaml

from components.settings import BadSettings, Settings
from tests.components.helm.rendering import KEEP, is_hook, write_chart
from tests.components.variants import ROOT, VARIANTS

GUIDE = ROOT / "tests" / "guides" / "kubernetes" / "values.yaml"


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """The dev stack's chart: beside a sandbox, so that nothing else must be decided."""
    return write_chart(tmp_path_factory.mktemp("dev"), VARIANTS["dev"].settings(), ROOT)


def by_name(objects, kind, name=""):
    return [one for one in objects if one["kind"] == kind and name in one["metadata"]["name"] and not is_hook(one)]


def test_lint_is_strictly_content(helm, dev):
    assert "0 chart(s) failed" in helm("lint", "--strict", dev)


def test_the_guides_values_work_unchanged(helm, dev):
    rendered = helm.template(dev, "--values", GUIDE, "--set", "purpleflea.images.allowTag=true")
    [operator] = by_name(rendered, "Deployment", "operator")
    assert operator["spec"]["template"]["spec"]["containers"][0]["image"] == "my-pf-operator:latest"
    [hpa] = by_name(rendered, "HorizontalPodAutoscaler")
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 20)


def test_numbers_nulls_and_merged_maps_arrive_as_they_are_meant(helm, dev, tmp_path):
    values = {
        "hpa": {"enabled": True, "escrowQueueThreshold": 1000000},
        "agents": None,
        "networkPolicy": {"dns": {"podLabels": {"k8s-app": None, "dns": "node"}}},
        "worker": {"resources": {"limits": {"cpu": 2}}},
        "sandbox": {"storage": 2000000000},
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"purpleflea": values}))
    dots = r"purpleflea.networkPolicy.dns.podLabels.example\.com/zone=a"
    rendered = helm.template(dev, "--values", tmp_path / "values.yaml", "--set", dots)
    [hpa] = by_name(rendered, "HorizontalPodAutoscaler")
    assert hpa["spec"]["metrics"][0]["object"]["target"]["averageValue"] == "1000000"
    assert by_name(rendered, "Job") == []
    [dns] = by_name(rendered, "NetworkPolicy", "pf-dns")
    labels = dns["spec"]["egress"][0]["to"][0]["podSelector"]["matchLabels"]
    assert labels == {"dns": "node", "example.com/zone": "a"}
    [workers] = by_name(rendered, "Deployment", "workers")
    assert workers["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "2",
        "memory": "512Mi",
    }
    [claim] = by_name(rendered, "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2000000000"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "purpleflea.hpa.minreplicas=3"), "'minreplicas' not allowed"),
        (("--set", "purpleflea.escrow.defaultBudgetUsdc=1"), "/purpleflea/escrow/defaultBudgetUsdc': got number"),
        (("--set-json", 'purpleflea.escrow={"defaultBudgetUsdc": 0.10}'), "/defaultBudgetUsdc': got number"),
        (("--set-string", "purpleflea.operator.enabled=false"), "/purpleflea/operator/enabled': got string"),
        (("--set", f"purpleflea.agents[0].name={'n' * 53}"), "/purpleflea/agents/0/name': maxLength"),
        (("--set", "purpleflea.extraManifests={rules.yaml}"), "purpleflea.extraManifests[0]: rules.yaml is not in the"),
        (("--set", "purpleflea.admission.jobGate=manifest"), "purpleflea.admission.jobGate: manifest is not for Helm"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_its_path(helm, dev, words, told):
    assert told in helm.refusal("template", "pf", dev, *words)


WRONG = {
    "namespace": "kube-stack",
    "credentials": {"apiKeyKey": "agent-wallet"},
    "services": {"escrowUrl": "http://escrow.example"},
    "images": {"runtime": "team/runtime:1"},
    "operator": {"image": "team/operator:1", "watchNamespace": "elsewhere"},
    "api": {"dialect": "fly"},
    "escrow": {"timeoutHours": 1, "defaultBudgetUsdc": "0.0001"},
    "job": {"activeDeadlineSeconds": 7200},
    "payroll": {"releaseAgeMinutes": 90},
    "funding": {"mode": "request"},
    "mcp": {"containerPort": 8080},
    "network": {"caBundle": {"configMap": "ca", "secret": "purpleflea-creds"}},
    "hpa": {"minReplicas": 30},
    "budget": {"capUsdc": "0.001", "jobUsdc": "1.5"},
    "agents": [
        {"name": "a", "escrowId": "esc_1", "payee": "p", "budgetUsdc": "2"},
        {"name": "a", "ownSecret": "purpleflea-creds", "credential": "own", "parallelism": 3, "completions": 1},
        {"name": "b", "schedule": "@daily", "escrowId": "esc_2", "ownSecret": "mine"},
    ],
    "retention": {"archiveAfterDays": 30, "archiveSecret": "purpleflea-creds"},
}
BARE = {
    "operator": {"enabled": False},
    "funding": {"mode": "request"},
    "agents": [{"name": "a", "payee": "p"}],
    "retention": {"archiveAfterDays": 30, "archiveUrl": "file:///elsewhere"},
}


@pytest.mark.parametrize(
    "mapping", [WRONG, BARE, {"retention": {"archiveAfterDays": 1, "archiveUrl": "file:///archive"}}]
)
def test_mistakes_are_told_all_at_once_in_the_settings_own_words(helm, plain_chart, tmp_path, mapping):
    with pytest.raises(BadSettings) as refused:
        Settings.parse({**mapping, "fly": {"enabled": False}}, deployed=True)  # no chart has files for it
    (tmp_path / "values.yaml").write_text(json.dumps({"purpleflea": mapping}))
    told = helm.refusal("template", "pf", plain_chart, "--values", tmp_path / "values.yaml")
    wanted = [str(problem) for problem in refused.value.problems]
    assert [line for line in wanted if line not in told] == []
    assert f"{len(wanted)} mistakes in the settings:" in told


def test_no_hook_is_left_for_kubectl_and_cluster_wide_names_are_the_stacks(helm, dev):
    rendered = helm.template(dev, "--no-hooks", "--set", f"purpleflea.namespace={'n' * 63}")
    assert not any(map(is_hook, rendered))
    cluster_wide = {one["metadata"]["name"] for one in rendered if "namespace" not in one["metadata"]}
    shared = {"escrows.purpleflea.com", "budgets.purpleflea.com"}
    assert {name for name in cluster_wide if not name.endswith("n" * 63)} == shared


def test_manifests_of_ones_own_are_carried(helm, tmp_path):
    (tmp_path / "own").mkdir()
    rules = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ mine }}"}, "data": {"a": "{{ $value }}"}}
    (tmp_path / "own" / "rules.yaml").write_text(yaml.safe_dump({**rules, "metadata": {"name": "mine"}}))
    settings = Settings.parse({"extraManifests": ["own/rules.yaml"], "sandbox": {"enabled": True}})
    rendered = helm.template(write_chart(tmp_path / "chart", settings, tmp_path))
    [mine] = by_name(rendered, "ConfigMap", "mine")
    assert (mine["metadata"]["namespace"], mine["data"]) == ("agent-jobs", {"a": "{{ $value }}"})


@pytest.fixture(scope="module")
def parent(dev, tmp_path_factory):
    """The example of another chart, with the dev stack's chart below it."""
    folder = shutil.copytree(ROOT / "examples" / "charts" / "reports", tmp_path_factory.mktemp("parent") / "reports")
    shutil.copytree(dev, folder / "charts" / "purpleflea")
    return folder


def test_another_chart_takes_the_containers_with_the_guides_section(helm, parent):
    values = ("--set", "global.imageRegistry=mirror.example:5000/hub", "--set", "global.imagePullSecrets={pull}")
    rendered = helm.template(parent, *values, "--set", "purpleflea.mcp.containerPort=9000")
    [job] = by_name(rendered, "Job")
    spec = job["spec"]["template"]["spec"]
    images = {one["name"]: one["image"] for one in spec["initContainers"]}
    hub = "mirror.example:5000/hub/purpleflea/runtime:0.1.0"
    assert images == {"faucet-claim": hub, "pf-mcp-proxy": hub}
    variables = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert variables["MCP_PROXY_URL"] == "http://localhost:9000"
    asked = json.loads(job["metadata"]["annotations"]["purpleflea.com/escrow-request"])
    assert asked == {"payee": "reports-007", "amountUsdc": "0.25"}
    [operator] = by_name(rendered, "Deployment", "operator")
    assert operator["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert "suspend" not in job["spec"]


def test_a_parent_without_the_chart_renders_nothing_of_it_and_mistakes_keep_their_path(helm, parent):
    assert "got string, want boolean" in helm.refusal(
        "template", "r", parent, "--set-string", "purpleflea.mcp.enabled=no"
    )
    assert "payee is required" in helm.refusal("template", "r", parent, "--set", "payee=")


def test_a_look_at_the_cluster_decides_nothing_but_what_is_said_here(helm, dev):
    """Argo CD and Flux's dry runs have none: a template that needs what a look returns is empty there, or resets it."""
    looks = {
        "_checks.tpl: v1 Namespace",  # refusals only
        "_checks.tpl: v1 ServiceAccount",
        "_checks.tpl: v1 Secret",
        "_checks.tpl: apiextensions.k8s.io/v1 CustomResourceDefinition",
        "job-gate.yaml: admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding",  # hooks, or none
        "job-gate.yaml: v1 Namespace",  # where the hook's Job waits
    }
    found = {
        f"{path.name}: {' '.join(look)}"
        for path in (dev / "templates").rglob("*.*")
        for look in re.findall(r'lookup "([^"]+)" "([^"]+)"', path.read_text())
    }
    assert found == looks


def test_renderings_are_equal_whatever_a_release_has_been_through(helm, dev):
    """What is random, the time, or of the first installation only is another object at each sync of Argo CD."""
    first = helm("template", "pf", dev)
    assert helm("template", "pf", dev) == first
    upgraded = helm("template", "pf", dev, "--is-upgrade")
    assert upgraded == first


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_an_uninstall_leaves_is_what_the_settings_say(helm, dev, is_kept):
    rendered = helm.template(dev, "--set", f"purpleflea.retention.keepEscrows={str(is_kept).lower()}")
    kept = {one["kind"] for one in rendered if KEEP in one["metadata"].get("annotations", {})}
    assert kept == ({"Namespace", "CustomResourceDefinition"} if is_kept else set())
