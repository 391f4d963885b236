"""The Fly app as a component: each file a resource whose content shows in a preview, written only by `up`."""

import pulumi

from components.fly_app import FlyApp
from components.manifests.encryption import CONFIGURATION, encryption_files
from components.manifests.fly_config import PURPOSES, fly_files
from components.outputs import stack_outputs
from components.settings import Settings
from components.synth.rendering import render
from tests.components.recording import record
from tests.components.variants import stack


def test_each_file_is_a_resource_and_none_is_written_by_a_preview(tmp_path):
    def program() -> None:
        app = FlyApp("fly", {"settings": Settings(), "folder": str(tmp_path)})
        pulumi.export("paths", app.paths)
        pulumi.export("commands", app.commands)

    recording = record(program, project="purpleflea", stack="dev", config={}, secrets={})
    stashes = [r.inputs["input"] for r in recording.resources if r.type == "pulumi:index:Stash"]
    assert {stash["path"]: stash["content"] for stash in stashes if "content" in stash} == fly_files(Settings())
    assert recording.outputs["paths"] == sorted(PURPOSES)
    assert recording.outputs["commands"] == stack_outputs(Settings(), str(tmp_path))["fly"]["commands"]
    assert list(tmp_path.iterdir()) == []


def test_rendered_stack_has_the_files_and_says_what_each_is_for():
    values = stack(encryption={"provider": "kms"})
    rendered, settings = render(values), values.settings()
    wanted = {**fly_files(settings), **encryption_files(settings)}
    assert wanted.items() <= rendered.items()
    for path in wanted:
        row = next(line for line in rendered["README.md"].splitlines() if f"({path})" in line)
        assert len(row.split("|")[3].split()) > 5
    assert CONFIGURATION not in rendered["kustomization.yaml"], "no object of the cluster"
