"""Manifests of a stack's own: carried as they are meant, by the files and by Pulumi alike, or refused by document."""

import os
import re
import textwrap

import pulumi
import pytest
import yaml

from components.engine.program import run_program
from components.manifests import kinds
from components.manifests.extra import MOST_BYTES
from components.settings import BadSettings
from components.synth.__main__ import main
from components.synth.rendering import render
from tests.components.recording import record
from tests.components.variants import ROOT, stack

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rules}\n"


@pytest.fixture
def folder(tmp_path):
    """The stack file's folder."""
    (tmp_path / "stack").mkdir()
    return tmp_path / "stack"


def own(folder, **files):
    """A stack with these files, `name__yaml` for `name.yaml`."""
    paths = []
    for name, text in files.items():
        path = name.replace("__", ".").replace("_in_", "/")
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_text(textwrap.dedent(text))
        paths.append(path)
    return stack(extraManifests=paths)


def refusal(values, folder):
    with pytest.raises(BadSettings) as error:
        render(values, folder)
    return str(error.value)


MIXED = """\
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: rules
      annotations: {pulumi.com/patchForce: "true", example.com/owner: me}
    data: {at: "1:30", off: 'no'}
    ---
    # nothing
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: "team:reader"}
    rules: []
    ---
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: probes.example.com}
    spec:
      group: example.com
      scope: Namespaced
      names: {kind: Probe, plural: probes}
      versions:
      - name: v1
        served: true
        storage: true
        schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    ---
    apiVersion: example.com/v1
    kind: Probe
    metadata: {name: one}
    interval: 1e1
    spec: {when: 1:30, enabled: yes}
    ---
    apiVersion: cert-manager.io/v1
    kind: ClusterIssuer
    metadata: {name: ca, namespace: ""}
    spec: {selfSigned: {}}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: door, namespace: elsewhere}
    spec: {ports: [{port: 80}]}
    """


def test_the_files_hold_each_object_in_its_place(folder):
    """The namespace of the stack where none is named, nothing of Pulumi's in the files."""
    values = own(folder, a_in_mixed__yaml=MIXED)
    rendered = render(values, folder)
    paths = sorted(path for path in rendered if "/extra-" in path)
    assert paths == [
        "foundation/extra-clusterrole-team-reader-a6f4c957.yaml",
        "foundation/extra-configmap-rules.yaml",
        "foundation/extra-customresourcedefinition-probes.example.com.yaml",
        "foundation/extra-service-door_elsewhere.yaml",
        "kubernetes/extra-clusterissuer-ca_cert-manager.io.yaml",
        "kubernetes/extra-probe-one_example.com.yaml",
    ]
    objects = [yaml.safe_load(rendered[path]) for path in paths]
    [rules] = [o for o in objects if o["kind"] == "ConfigMap"]
    assert rules["metadata"] == {
        "name": "rules",
        "namespace": "agent-jobs",
        "annotations": {"example.com/owner": "me"},
    }
    [probe] = [o for o in objects if o["kind"] == "Probe"]
    assert probe["metadata"] == {"name": "one", "namespace": "agent-jobs"}
    assert (probe["interval"], probe["spec"]) == (10, {"when": "1:30", "enabled": True})
    assert [o["metadata"].get("namespace") for o in objects] == [
        *(None, "agent-jobs", None, "elsewhere", None, "agent-jobs"),
    ]
    row = next(line for line in rendered["README.md"].splitlines() if "extra-configmap-rules" in line)
    assert "a/mixed.yaml, document 1" in row
    for kustomization in ("kustomization.yaml", "foundation/kustomization.yaml"):
        within = "kubernetes/" if kustomization == "kustomization.yaml" else "foundation/"
        listed = [
            within + path.removeprefix("kubernetes/") for path in yaml.safe_load(rendered[kustomization])["resources"]
        ]
        assert [path for path in paths if path.startswith(within)] == sorted(p for p in listed if "/extra-" in p)


def test_pulumi_creates_what_the_files_hold(folder):
    values = own(folder, a_in_mixed__yaml=MIXED)
    files = [yaml.safe_load(text) for path, text in render(values, folder).items() if "/extra-" in path]
    recording = declared(values, folder)
    extras = [r for r in recording.resources if "$kubernetes:" in r.urn and "ExtraManifests" in r.urn]
    by_kind = {r.inputs["kind"]: dict(r.inputs) for r in extras}
    assert by_kind["ConfigMap"]["metadata"]["annotations"].pop("pulumi.com/patchForce") == "true"
    assert by_kind == {o["kind"]: o for o in files}
    types = {r.inputs["kind"]: r.type for r in extras}
    assert types["ConfigMap"] == "kubernetes:core/v1:ConfigMap"
    assert types["ClusterRole"] == "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"
    assert types["Probe"] == "kubernetes:example.com/v1:Probe"


def declared(values, folder):
    config = values.with_value("target", "cluster").values
    return record(run_program, project="purpleflea", stack="test", config=config, secrets={}, folder=folder)


def test_without_extra_manifests_nothing_is_different(folder):
    assert render(stack(extraManifests=[]), folder) == render(stack(), folder)
    assert render(stack(enabled=False, extraManifests=["missing.yaml"]), folder) == render(stack(enabled=False), folder)


REFUSED_OBJECTS = {
    "no mapping": ("- 1\n", "x.yaml, document 1: an object is needed, not list"),
    "no YAML": ("a: [\n", r"x.yaml: while parsing a flow"),
    "a key twice": (CONFIG_MAP + "data: {a: b, a: c}\n", r"x.yaml: the key 'a' stands twice, at line 4"),
    "no apiVersion": ("kind: ConfigMap\nmetadata: {name: a}\n", "ConfigMap a: apiVersion: None is none"),
    "apiVersion a path": ("apiVersion: ../v1\nkind: A\nmetadata: {name: a}\n", r"apiVersion: '\.\./v1' is none"),
    "kind a path": ("apiVersion: v1\nkind: ../a\nmetadata: {name: a}\n", r"kind: '\.\./a' is none"),
    "a list": ("apiVersion: v1\nkind: List\nmetadata: {}\nitems: []\n", "each as a document of its own"),
    "no name": ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", r"metadata\.name: is required"),
    "generated name": ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", r"metadata\.generateName: "),
    "name": ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}\n", r"metadata\.name: 'A_b': at most 253"),
    "number for a name": ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 1:30}\n", r"metadata\.name: '1:30': "),
    "role's name": (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: a/b}\n",
        r"metadata\.name: 'a/b': '/' and '%' are not",
    ),
    "namespace": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: a.b}\n",
        r"metadata\.namespace: 'a\.b': at most 63",
    ),
    "unknown key": (CONFIG_MAP + "datta: {}\n", r"ConfigMap rules: the object: .*'datta' (was|were|do)"),
    "deep unknown key": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, prt: 80}]}\n",
        r"Service a: spec\.ports\[0\]: .*prt",
    ),
    "wrong type": (CONFIG_MAP + "data: {a: 0o17}\n", r"data\.a: 15 is not of type 'string'"),
    "a bool for a text": (CONFIG_MAP + "data: {a: yes}\n", r"data\.a: True is not of type 'string'"),
    "kind that is gone": (
        "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: a}\n",
        r"metadata\.namespace: say where it belongs",
    ),
    "version that is gone": (
        "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: a}\n",
        r"Kubernetes 1\.\d+ has no CronJob in batch/v1beta1",
    ),
    "kind in lower case": ("apiVersion: v1\nkind: configmap\nmetadata: {name: a}\n", "configmap a: .*configmap"),
    "cluster-wide with a namespace": (
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n",
        "outside namespaces; leave it out",
    ),
    "custom resource nowhere": (
        "apiVersion: example.com/v1\nkind: Probe\nmetadata: {name: a}\n",
        r"metadata\.namespace: say where it belongs",
    ),
    "a Secret with a value": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: hunter2}\n",
        "a Secret's values do not belong in a file",
    ),
    "a Secret with encoded data": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: aHVudGVyMg==}\n",
        "a Secret's values do not belong in a file",
    ),
    "an account": (
        "apiVersion: purpleflea.com/v1alpha1\nkind: Escrow\nmetadata: {name: a, namespace: b}\n",
        "are the operator's accounts",
    ),
    "a Job that asks for money": (
        'apiVersion: batch/v1\nkind: Job\nmetadata: {name: a, annotations: {purpleflea.com/escrow-request: "{}"}}\n'
        "spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a:1}]}}}\n",
        r"declare the Job in purpleflea\.agents",
    ),
    "a CronJob that asks for money": (
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec:\n  schedule: '@daily'\n  jobTemplate:\n"
        '    metadata: {annotations: {purpleflea.com/escrow-request: "{}"}}\n'
        "    spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a:1}]}}}\n",
        r"declare the Job in purpleflea\.agents",
    ),
    "one of ours": (
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: pf-agent-sa}\n",
        "ServiceAccount pf-agent-sa: is declared by the stack itself already",
    ),
    "twice": (
        f"{CONFIG_MAP}---\n{CONFIG_MAP}",
        r"x.yaml, document 2, ConfigMap rules: is declared by x.yaml, document 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED_OBJECTS)
def test_what_cannot_be_applied_is_refused_by_file_and_document(name, folder):
    text, message = REFUSED_OBJECTS[name]
    said = refusal(own(folder, x__yaml=text), folder)
    assert "purpleflea.extraManifests[0]: x.yaml" in said
    assert re.search(message, said), said
    assert "hunter2" not in said
    assert "aHVudGVyMg" not in said


def test_a_secret_without_values_is_no_secret(folder):
    token = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: kubernetes.io/service-account-token\n"
    assert "foundation/extra-secret-a.yaml" in render(own(folder, x__yaml=token), folder)


def test_every_mistake_of_every_file_is_reported_at_once(folder):
    values = own(folder, a__yaml=f"{CONFIG_MAP}datta: 1\n---\n{CONFIG_MAP}---\n- 1\n", b__yaml="a: [\n")
    said = refusal(values, folder)
    assert said.startswith("3 mistakes")
    for place in ("[0]: a.yaml, document 1", "[0]: a.yaml, document 3", "[1]: b.yaml: "):
        assert place in said


def link(folder, target):
    (folder / "x.yaml").symlink_to(target)


def outside(folder):
    (folder.parent / "outside.yaml").write_text(CONFIG_MAP)
    return folder.parent / "outside.yaml"


SPOILT = {
    "missing": (lambda f: None, "cannot be read below .*: No such file"),
    "a folder": (lambda f: (f / "x.yaml").mkdir(), "is no file"),
    "a pipe": (lambda f: os.mkfifo(f / "x.yaml"), "is no file"),
    "a device": (lambda f: link(f, "/dev/zero"), "a link leads out"),
    "a link out": (lambda f: link(f, outside(f)), "a link leads out"),
    "a relative link out": (lambda f: link(f, f"../{outside(f).name}"), "a link leads out"),
    "a link to itself": (lambda f: link(f, "x.yaml"), "cannot be read below .*: (links|Too many)"),
    "too long": (lambda f: (f / "x.yaml").write_text("#" * (MOST_BYTES + 1)), "is longer than 1 MiB"),
    "no text": (lambda f: (f / "x.yaml").write_bytes(b"\xff"), "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_only_files_of_the_stacks_folder_are_read(name, folder):
    spoil, message = SPOILT[name]
    spoil(folder)
    assert re.search(f"x.yaml: {message}", refusal(stack(extraManifests=["x.yaml"]), folder))


def test_a_folder_that_is_a_link_leads_no_further_than_a_file(folder):
    outside(folder)
    (folder / "up").symlink_to("..")
    assert "a link leads out" in refusal(stack(extraManifests=["up/outside.yaml"]), folder)
    (folder / "here").symlink_to(".")
    own(folder, x__yaml=CONFIG_MAP)
    assert "foundation/extra-configmap-rules.yaml" in render(stack(extraManifests=["here/x.yaml"]), folder)


@pytest.mark.parametrize(
    "path", ["/etc/x.yaml", "../x.yaml", "a/../x.yaml", "./x.yaml", "a//x.yaml", "x", "", "a\\x.yaml"]
)
def test_a_path_stays_below_the_stack_file(path, folder):
    assert "purpleflea.extraManifests[0]: " in refusal(stack(extraManifests=[path]), folder)


def test_a_missing_file_ends_the_command_and_the_program_before_anything_is_there(tmp_path, folder, capsys):
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        (folder / name).write_text((ROOT / name).read_text())
    (folder / "Pulumi.dev.yaml").write_text(
        (ROOT / "Pulumi.dev.yaml").read_text() + "  purpleflea:extraManifests: [x.yaml]\n"
    )
    out = tmp_path / "dist"
    assert main(["--project", str(folder), "--out", str(out)]) == 2
    assert "purpleflea.extraManifests[0]: x.yaml: cannot be read below" in capsys.readouterr().err
    assert not out.exists()
    for target in ("cluster", "artifacts"):
        with pytest.raises(pulumi.RunError, match=r"extraManifests\[0\]: x\.yaml"):
            declared(stack(extraManifests=["x.yaml"]).with_value("target", target), folder)


def test_the_scopes_are_those_of_the_real_api_server(control_plane):
    client = control_plane.client("default")
    get = client._client._client.get  # lightkube has no discovery
    groups = ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in get("/apis").json()["groups"] for v in g["versions"])]
    served = {}
    for path in groups:
        found = get(path).json()
        if kinds.group(found["groupVersion"]) in kinds.GROUPS:
            listed = [r for r in found["resources"] if "/" not in r["name"] and "get" in r["verbs"]]
            served |= {r["kind"]: r["namespaced"] for r in listed}
    assert len(served) > 50
    # Nobody applies one; it is read only.
    served.pop("ComponentStatus", None)
    assert {kind for kind, namespaced in served.items() if not namespaced} <= kinds.CLUSTER_KINDS
    assert {kind for kind, namespaced in served.items() if namespaced} & kinds.CLUSTER_KINDS == set()
