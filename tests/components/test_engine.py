"""The program under the real Pulumi engine: no drift, small diffs, right order, nothing secret, accounts kept."""

import json

import pytest
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from pulumi import automation

from tests.engine_provider.fixtures import real_provider

pytestmark = pytest.mark.engine


def changes(steps):
    return {(step.op.value, step.urn.rpartition("::")[2]): sorted(step.detailed_diff or {}) for step in steps}


def position(log, operation, kind, moment, which=""):
    found = [
        i
        for i, line in enumerate(log)
        if (line["operation"], line["kind"], line["moment"]) == (operation, kind, moment) and which in line["name"]
    ]
    assert found, f"no {operation} of a {kind} {which} in the log"
    return found


def test_the_life_of_a_stack(deploy):
    stack = deploy()
    created = stack.up()
    assert created.keys() == {"create"}
    log = stack.log()
    operator = position(log, "create", "Deployment", "end", "escrow-operator")[0]
    assert operator < position(log, "create", "Job", "begin")[0]
    assert position(log, "create", "Namespace", "end")[0] < position(log, "create", "Secret", "begin")[0]

    assert stack.up() == {"same": created["create"]}, "a second `up` changes something"

    stack.configure(hpa={"minReplicas": 3})
    changed = changes(stack.preview())
    assert changed["update", "pf-agent-hpa"] == ["spec.minReplicas"]
    assert {name for _, name in changed} <= {"pf-agent-hpa", "purpleflea-test"}

    stack.configure(agents=[{"name": "pf-agent-job", "task": "another"}])
    changed = changes(stack.preview())
    ops = {op for op, name in changed if name == "pf-agent-job"}
    assert ops == {"create-replacement", "replace", "delete-replaced"}
    assert {name for _, name in changed} <= {"pf-agent-job", "purpleflea-test", "jobs"}
    stack.up()
    log = stack.log()
    assert position(log, "create", "Job", "end")[-1] < position(log, "delete", "Job", "begin")[-1]

    before = len(stack.log())
    stack.destroy()
    log = stack.log()[before:]
    assert position(log, "delete", "Job", "end")[0] < position(log, "delete", "Deployment", "begin", "operator")[0]
    deleted = {(line["kind"], line["name"]) for line in log if line["operation"] == "delete"}
    assert len(deleted) == len({line["urn"] for line in stack.log()}) - 3, "namespace and two definitions outlive it"
    assert not deleted & {("CustomResourceDefinition", "escrows.purpleflea.com"), ("Namespace", "agent-jobs")}


def test_a_secret_is_encrypted_in_the_state_and_in_no_preview_output_or_log(deploy):
    key = "pf_live_planted_0123456789"
    stack = deploy(sandbox={"enabled": False}, credentials={"existingSecret": "", "agentWallet": "w"})
    stack.stack.set_config("purpleflea:apiKey", automation.ConfigValue(key, secret=True))
    stack.preview()
    stack.up()
    stack.configure(
        sandbox={"enabled": False}, credentials={"existingSecret": "", "agentWallet": "other"}, hpa={"minReplicas": 3}
    )
    stack.preview()
    state = (stack.folder / "state/.pulumi/stacks/purpleflea/test.json").read_text()
    secret = next(r for r in json.loads(state)["checkpoint"]["latest"]["resources"] if r["type"].endswith("v1:Secret"))
    assert "ciphertext" in secret["inputs"]["stringData"]
    outputs = automation.Stack.outputs(stack.stack)
    places = {"words": "\n".join(stack.said), "outputs": json.dumps(outputs, default=str)}
    for file in stack.folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and "home" not in file.parts:
            places[str(file)] = file.read_bytes().decode(errors="replace")
    assert [place for place, text in places.items() if key in text] == []
    assert "minReplicas" in places["words"], "one secret has made the whole preview opaque"


def test_another_key_changes_the_secret_where_it_is(deploy):
    """Pulumi's default deletes it first: a pod that starts between the two finds none."""
    given = {"sandbox": {"enabled": False}, "credentials": {"existingSecret": "", "agentWallet": "w"}}
    stack = deploy(**given)
    for key in ("pf_live_one", "pf_live_two"):
        stack.stack.set_config("purpleflea:apiKey", automation.ConfigValue(key, secret=True))
        stack.up()
    did = [line["operation"] for line in stack.log() if line["kind"] == "Secret" and line["moment"] == "end"]
    assert did == ["create", "update"]


def test_a_wrong_setting_fails_before_anything_is_created_and_without_a_traceback(deploy):
    stack = deploy(hpa={"minReplica": 3})
    with pytest.raises(Exception, match=r"purpleflea\.hpa\.minReplica: unknown key") as error:
        stack.up()
    assert "Traceback" not in str(error.value)
    assert not stack.log()


@pytest.mark.controlplane
def test_a_real_api_server_takes_every_object_and_keeps_the_accounts(deploy, control_plane, namespace):
    """With Pulumi's own provider where it is installed; the stand-in applies with strict field validation."""
    print("provider:", "real" if real_provider() else "stand-in")
    sections = {
        "namespace": namespace.name,
        "operator": {"enabled": False},  # nobody would take the finalizer off
        "hpa": {"enabled": False},  # an APIService without a server would disturb other tests
        "worker": {"replicas": 7},
    }
    stack = deploy(kubeconfig=str(control_plane.kubeconfig), **sections)
    created = stack.up()  # the namespace is there already: it is taken over, as after a `destroy`
    assert stack.up() == {"same": created["create"]}
    stack.configure(**sections | {"hpa": {"engine": "external"}})
    assert stack.up()["create"], "the autoscaler"
    workers = control_plane.client(namespace.name).get(Deployment, "pf-agent-workers")
    assert workers.spec.replicas == 7, "turning it on leaves the workers as they are"
    stack.configure(**sections)
    stack.destroy()
    left = control_plane.client(namespace.name)
    assert left.get(CustomResourceDefinition, "escrows.purpleflea.com")
    assert [*left.list(Job, namespace=namespace.name)] == []
    assert stack.up() == created, "what `destroy` kept stands in the way of the next `up`"
    stack.destroy()
