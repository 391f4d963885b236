"""The program declares exactly the objects of the manifests, recorded and under Pulumi's own mocks."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest
from hypothesis import HealthCheck, given, settings
from pulumi.runtime import mocks

from components.component import Component, ignored_fields
from components.engine.program import run_program
from components.manifests import naming
from components.manifests.credentials import SANDBOX_API_KEY as SANDBOX_KEY
from components.manifests.naming import logical_name
from components.manifests.stack import PLACEHOLDER, PURPOSES, objects, parts
from components.package import COMPONENTS
from components.stack_values import ROOT
from tests.components.recording import Hidden, record
from tests.components.stacks import mappings
from tests.components.variants import VARIANTS, stack


def declared(values, secrets=None):
    forced = values.with_value("target", "cluster")
    return record(run_program, project=values.project, stack=values.stack, config=forced.values, secrets=secrets or {})


def opened(value):
    if isinstance(value, Hidden):
        return opened(value.value)
    if isinstance(value, dict):
        return {key: opened(item) for key, item in value.items()}
    return [opened(item) for item in value] if isinstance(value, list) else value


def plain(inputs):
    """An object without what only Pulumi reads."""
    found = opened(dict(inputs))
    kept = {k: v for k, v in found["metadata"].get("annotations", {}).items() if not k.startswith("pulumi.com/")}
    metadata = {k: v for k, v in found["metadata"].items() if k != "annotations"} | (
        {"annotations": kept} if kept else {}
    )
    return {**found, "metadata": metadata}


def component(urn):
    """The component right above a resource."""
    return urn.split("::")[2].split("$")[-2].rpartition(":")[2]


def differences(values):
    """Whatever the program and the pure functions declare differently: objects, names by which Pulumi and the files
    know them, and the part of the stack that each belongs to."""
    settings = values.settings()
    found = [
        (component(r.urn), r.name, plain(r.inputs))
        for r in declared(values).resources
        if r.type.startswith("kubernetes:")
    ]
    wanted = [
        (part, logical_name(settings, manifest), json.loads(json.dumps(manifest)))
        for part, manifests in parts(settings, SANDBOX_KEY).items()
        for manifest in manifests
    ]
    return [one for one in found if one not in wanted] + [one for one in wanted if one not in found]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_of_the_manifests_is_a_resource_of_its_own_and_nothing_else_is(name):
    assert differences(VARIANTS[name]) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mappings())
def test_any_stack_is_declared_as_the_manifests_have_it(mapping):
    given = {**mapping, "credentials": {**mapping["credentials"], "existingSecret": "purpleflea-creds"}}
    assert differences(stack(**{"sandbox": {}, **given})) == []


def test_the_files_purposes_are_the_components_own_words():
    kinds = [kind for kind in COMPONENTS if issubclass(kind, Component)]
    said = {kind.__name__: (kind.__doc__ or "").partition("\n")[0] for kind in kinds}
    assert {name: said[name] for name in PURPOSES} == PURPOSES
    assert {*said} - {*PURPOSES} == {"FlyApp", "ExtraManifests"}, "a component without a purpose for its files"


def test_two_objects_of_a_stack_never_share_a_file():
    for values in VARIANTS.values():
        settings = values.settings()
        names = [(m["kind"], logical_name(settings, m)) for m in objects(settings)]
        assert len({*names}) == len(names)


def test_names_of_resources_are_unique_and_independent_of_content_and_namespace():
    def urns(**sections):
        return {r.urn for r in declared(stack(**sections)).resources if r.type.startswith("kubernetes:")}

    same = urns()
    assert len(same) == len(objects(stack().settings()))
    assert urns(namespace="elsewhere") == same
    assert urns(agents=[{"name": "pf-agent-job", "task": "another"}]) == same


def test_what_pulumi_knows_by_name_keeps_its_name():
    """Another name, parent or type is another resource: Pulumi would delete the old one. Write an alias first."""
    pinned = Path(__file__).with_name("resource_names.txt").read_text().split()
    urns = {r.urn for name in VARIANTS for r in declared(VARIANTS[name]).resources if r.type.startswith("kubernetes:")}
    now = sorted(urn.partition("::purpleflea::")[2] for urn in urns)
    assert [name for name in pinned if name not in now] == []
    assert sorted({*now}) == pinned, "new names: add them to resource_names.txt"


def test_the_api_key_goes_into_the_secret_and_nowhere_else():
    values = stack(sandbox={"enabled": False}, credentials={"existingSecret": "", "agentWallet": "w"})
    recording = declared(values, {"purpleflea:apiKey": "pf_live_planted"})
    secret = next(r for r in recording.resources if r.type == "kubernetes:core/v1:Secret")
    assert isinstance(secret.inputs["stringData"], Hidden)
    assert secret.inputs["stringData"].value["api-key"] == "pf_live_planted"
    others = [r for r in recording.resources if r is not secret]
    assert "pf_live_planted" not in json.dumps([opened(dict(r.inputs)) for r in others] + [opened(recording.outputs)])


def test_another_api_key_makes_a_new_sandbox_and_shows_in_no_diff():
    def template(key):
        recording = declared(stack(), {"purpleflea:apiKey": key})
        found = next(r for r in recording.resources if r.type.endswith("v1:Deployment") and r.name == naming.SANDBOX)
        return found.inputs["spec"]["template"]

    first, second = template("pf_live_planted_1"), template("pf_live_planted_2")
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]
    assert first["spec"] == second["spec"]
    assert "pf_live" not in repr(first)
    assert "Hidden" not in repr(first), "a secret leaf would make the whole diff opaque"


def test_only_what_others_write_is_left_to_them():
    def ignored(kind, **spec):
        return ignored_fields({"kind": kind, "spec": spec})

    assert ignored("Deployment", template={}) == ["spec.replicas"], "an autoscaler's, where the manifest names none"
    assert ignored("Deployment", template={}, replicas=2) == []
    assert ignored("Job", suspend=True) == ignored("Job") == ["spec.suspend", "metadata.finalizers"]
    assert ignored("APIService") == ["spec.caBundle"]
    assert ignored("Service") == []


def test_a_missing_api_key_is_one_clear_message():
    values = stack(sandbox={"enabled": False}, credentials={"existingSecret": "", "agentWallet": "w"})
    with pytest.raises(pulumi.RunError, match=r"purpleflea\.apiKey: is required: `pulumi config set --secret apiKey`"):
        declared(values)


def test_every_mistake_is_reported_at_once_with_its_path():
    values = stack(hpa={"minReplica": 3}, payroll={"schedule": "daily"}, opertor={})
    with pytest.raises(pulumi.RunError) as error:
        record(run_program, project="purpleflea", stack="test", config=values.values, secrets={})
    for path in ("purpleflea.hpa.minReplica", "purpleflea.payroll.schedule", "purpleflea.opertor"):
        assert path in str(error.value)


def test_the_artifacts_target_declares_each_rendered_file_and_no_object():
    values = stack(target="artifacts")
    recording = record(run_program, project="purpleflea", stack="test", config=values.values, secrets={})
    files = [r.inputs["input"]["path"] for r in recording.resources if "path" in r.inputs.get("input", {})]
    assert "kubernetes/job-pf-agent-job.yaml" in files
    assert "agent-config.json" in files
    assert not [r for r in recording.resources if r.type.startswith("kubernetes:")]


class StockMocks(pulumi.runtime.Mocks):
    """Pulumi's own way to test programs, as its documentation has it."""

    def __init__(self):
        self.kinds = []

    def new_resource(self, args):
        self.kinds.append(args.typ)
        return f"{args.name}-id", args.inputs

    def call(self, args):
        return {}


def test_the_program_runs_under_the_stock_mocks():
    values = stack(target="cluster")
    stock = StockMocks()

    async def run():
        mocks.set_mocks(stock, project="purpleflea", stack="test", preview=False)
        pulumi.runtime.set_all_config(dict(values.values))
        await mocks.run_pulumi_func(run_program)

    # A thread of its own: Pulumi's settings stay with the context that set them.
    asyncio.run(asyncio.to_thread(asyncio.run, run()))
    kubernetes = [kind for kind in stock.kinds if kind.startswith("kubernetes:")]
    assert len(kubernetes) == len(objects(values.settings(), PLACEHOLDER))
    assert "purpleflea:index:EscrowOperator" in stock.kinds


def test_a_program_that_the_engine_interrupts_prints_no_traceback():
    """It does so when a resource fails: the traceback would bury what failed, and why."""
    script = """if True:
        import contextlib, os, runpy, signal
        with contextlib.suppress(BaseException):  # there is no engine here
            runpy.run_path("__main__.py", run_name="__main__")
        os.kill(os.getpid(), signal.SIGINT)
    """
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")
