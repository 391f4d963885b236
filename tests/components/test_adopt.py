"""Objects that somebody applied by hand become a stack's, and none of them is created anew."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ServiceAccount

from components import adopt
from components.synth.rendering import render
from tests.components.variants import stack
from tests.engine_provider.fixtures import real_provider
from tests.toolchain.fixtures import require

GUIDE = Path(__file__).parents[1] / "guides" / "kubernetes"
OFF = ("admission", "networkPolicy", "mcp", "hpa", "payroll", "worker")
KINDS = {"Deployment": Deployment, "ServiceAccount": ServiceAccount}
FOR_ONE_UP = {"PULUMI_K8S_UPSERT_EXISTING_OBJECTS": "true", "PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
SMALL = {**{name: {"enabled": False} for name in OFF}, "faucet": {"claimOnStartup": False}, "agents": []}


def entry(kind, name, **more):
    return {"type": kind, "name": name, **more}


def test_what_is_there_gets_its_id_and_its_parent_and_the_rest_is_left_out(capsys):
    known = adopt.objects(stack(), Path())
    given = [
        entry("purpleflea:index:EscrowOperator", "operator", component=True),
        entry("purpleflea:index:AgentWorkers", "workers", component=True),
        entry("pulumi:providers:kubernetes", "keeping"),
        entry("kubernetes:core/v1:Namespace", "namespaceNamespace", logicalName="namespace", parent="namespace"),
        entry("kubernetes:batch/v1:Job", "pf-agent-job", parent="jobs"),
        entry("kubernetes:core/v1:ServiceAccount", "pf-operator-sa", parent="operator"),
        entry("kubernetes:core/v1:ServiceAccount", "pf-worker-sa", parent="workers"),
        entry("kubernetes:apps/v1:Deployment", "pf-xDeployment", logicalName="pf-escrow-operator", parent="operator"),
        entry("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", "pf-agent-workers-auth-delegator"),
        entry("kubernetes:core/v1:ServiceAccount", "nobodys"),
    ]
    found = [*adopt.adopted(given, known, lambda one: one["metadata"]["name"] != "pf-worker-sa")]
    assert [(one["name"], one.get("id")) for one in found] == [
        ("operator", None),
        ("pf-operator-sa", "agent-jobs/pf-operator-sa"),
        ("pf-xDeployment", "agent-jobs/pf-escrow-operator"),
        ("pf-agent-workers-auth-delegator", "pf-agent-workers-auth-delegator.agent-jobs"),
    ]
    assert "its template cannot change" in capsys.readouterr().err


def test_every_object_of_a_stack_has_a_name_of_its_own():
    values = stack(agents=[{"name": "a"}, {"name": "b", "schedule": "0 3 * * *"}])
    assert len(adopt.objects(values, Path())) == len(render(values, Path())) - len(
        [path for path in render(values) if not path.startswith(("foundation/", "kubernetes/")) or "kustom" in path]
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"resources": [{"type": 1}]}', '{"resources": 3}'])
def test_what_is_no_import_file_is_one_message(text, tmp_path, capsys):
    (tmp_path / "import.json").write_text(text)
    for file in ("import.json", "none.json"):
        assert adopt.main([str(tmp_path / file)]) == 2
        assert "`pulumi preview --import-file" in capsys.readouterr().err


@pytest.fixture
def by_hand(namespace, monkeypatch):
    """The guide's objects, applied by kubectl, and over them the rendered files, as docs/migration.md tells it."""
    kubectl = require("kubectl", "kubectl")
    monkeypatch.setenv("PATH", f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(namespace.cluster.kubeconfig))

    def apply(manifests):
        command = ["kubectl", "apply", "-n", namespace.name, "-f", "-"]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)

    [deployment] = [one for one in guide("operator.yaml") if one["kind"] == "Deployment"]
    accounts = [one for one in guide("credentials.yaml", "operator.yaml") if one["kind"] == "ServiceAccount"]
    labels = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "purpleflea"}
    deployment["spec"] |= {"selector": {"matchLabels": labels}}  # the guide leaves it out, and no cluster takes that
    deployment["spec"]["template"]["metadata"] = {"labels": labels}
    apply([deployment, *accounts])
    before = uids(namespace.client)
    files = render(stack(namespace=namespace.name, **SMALL))
    objects = [yaml.safe_load(text) for path, text in files.items() if path.startswith(("foundation/", "kubernetes/"))]
    apply([one for one in objects if one["kind"] in KINDS])  # takes away what the guide has and we have not
    return before


def uids(client) -> dict[str, str]:
    """Kind and name → UID."""
    found = [(name, one.metadata) for name, kind in KINDS.items() for one in client.list(kind)]
    return {f"{name} {metadata.name}": metadata.uid for name, metadata in found}


@pytest.mark.engine
@pytest.mark.controlplane
def test_one_up_takes_over_what_runs_and_makes_nothing_anew(deploy, control_plane, namespace, by_hand):
    """A real `up` on a real API server, through the tests' provider: it creates nothing that is there."""
    deployed = deploy(kubeconfig=str(control_plane.kubeconfig), stand_in=True, namespace=namespace.name, **SMALL)
    deployed.stack.workspace.env_vars.update(FOR_ONE_UP)
    deployed.up()
    assert "Deployment pf-escrow-operator" in by_hand
    after = uids(namespace.client)
    assert {name: after.get(name) for name in by_hand} == by_hand
    for name in FOR_ONE_UP:
        del deployed.stack.workspace.env_vars[name]
    deployed.configure(namespace=namespace.name, **SMALL, operator={"resyncSeconds": 120})
    steps = {step.urn.rpartition("::")[2]: step.op.value for step in deployed.preview()}
    assert (steps["pf-escrow-operator"], {*steps.values()}) == ("update", {"update"}), "they are the stack's"


@pytest.mark.engine
@pytest.mark.skipif(
    not real_provider(),
    reason="put Pulumi's pulumi-resource-kubernetes on the PATH (`pulumi plugin install` has it), to try it too",
)
@pytest.mark.parametrize("way", ["import", "up"])
def test_pulumis_own_provider_takes_over_what_runs_either_way(
    deploy, node, namespace, node_image, by_hand, tmp_path, capsys, way
):
    """On a node, since this provider waits until the operator serves."""
    settings = {"namespace": namespace.name, "images": {"runtime": node_image, "allowTag": True}, **SMALL}
    deployed = deploy(kubeconfig=str(node.kubeconfig), **settings)
    if way == "import":
        deployed.stack.preview(import_file=str(tmp_path / "import.json"))
        assert adopt.main([str(tmp_path / "import.json"), "--stack", "test", "--project", str(deployed.folder)]) == 0
        found = json.loads(capsys.readouterr().out)["resources"]
        assert f"{namespace.name}/pf-escrow-operator" in [one.get("id") for one in found]
        deployed.stack.import_resources(resources=found, protect=False, generate_code=False)
    # Both apply the same, and conflict: the API server adds `apiVersion` to a fieldRef, which belongs to one alone.
    force = {"PULUMI_K8S_ENABLE_PATCH_FORCE": "true"}
    deployed.stack.workspace.env_vars.update(force if way == "import" else FOR_ONE_UP)
    if way == "import":
        steps = {step.urn.rpartition("::")[2]: step.op.value for step in deployed.preview()}
        adopted = {one.get("logicalName", one["name"]) for one in found if "id" in one}
        assert {steps.get(name, "same") for name in adopted} <= {"same", "update"}
        assert "replace" not in steps.values()
    deployed.up()
    after = uids(namespace.client)
    assert {name: after.get(name) for name in by_hand} == by_hand
    assert {*deployed.up()} == {"same"}, "a second time there is nothing left to do"


def guide(*names):
    """The objects of the guide's listings, without the namespace that they name."""
    for name in names:
        for one in yaml.safe_load_all((GUIDE / name).read_text()):
            if one:
                one["metadata"].pop("namespace", None)
                yield one
