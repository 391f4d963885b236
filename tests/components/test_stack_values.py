"""Stack files and the engine give the program the same values."""

import shutil

import pytest

from components.reference.project_file import project_file
from components.settings import BadSettings, Settings
from components.stack_values import StackValues
from tests.components.variants import ROOT


def test_the_project_file_is_what_the_settings_say():
    """`python -m components.reference.project_file > Pulumi.yaml` after a change of the settings."""
    assert (ROOT / "Pulumi.yaml").read_text() == project_file()


def test_the_project_files_defaults_are_the_settings_defaults(tmp_path):
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.bare.yaml").write_text("config: {sandbox: {enabled: true}}\n")
    assert StackValues.from_files(tmp_path, "bare").settings() == Settings.parse({"sandbox": {"enabled": True}})


@pytest.mark.parametrize("prefix", ["purpleFlea", "purplefleas", "purple-flea", "Purpleflea"])
def test_a_prefix_that_is_nearly_the_projects_is_a_mistake(tmp_path, prefix):
    (tmp_path / "Pulumi.yaml").write_text("name: purpleflea\n")
    (tmp_path / "Pulumi.x.yaml").write_text(f"config:\n  {prefix}:hpa: {{enabled: false}}\n  pulumi:tags: {{a: b}}\n")
    with pytest.raises(BadSettings, match=f"{prefix}:hpa: unknown prefix; did you mean purpleflea:hpa"):
        StackValues.from_files(tmp_path, "x").settings()


def test_values_are_read_as_the_engine_passes_them(tmp_path):
    (tmp_path / "Pulumi.yaml").write_text("name: purpleflea\n")
    (tmp_path / "Pulumi.x.yaml").write_text(
        'config:\n  hpa: {minReplicas: 4}\n  purpleflea:enabled: false\n  purpleflea:namespace: "123"\n'
        "  kubernetes:context: kind\n  purpleflea:apiKey: {secure: v1:abc}\n"
    )
    values = StackValues.from_files(tmp_path, "x")
    assert values.values["kubernetes:context"] == "kind"
    assert values.values["purpleflea:hpa"] == '{"minReplicas": 4}'
    assert values.secret_keys == {"purpleflea:apiKey"}
    assert values.values["purpleflea:apiKey"] == ""
    settings = values.settings()
    assert (settings.hpa.min_replicas, settings.enabled, settings.namespace) == (4, False, "123")
