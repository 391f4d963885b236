"""The components as a package for every Pulumi language: its schema, as Pulumi infers it."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from pulumi.provider.experimental.component import ComponentProvider

from components.component import Component
from components.package import COMPONENTS, NAME
from components.settings import Settings
from runtime.contract import VERSION
from tests.components.variants import ROOT


@pytest.fixture(scope="module")
def schema():
    found = ComponentProvider(COMPONENTS, NAME, None, VERSION).schema
    return json.loads(found) if isinstance(found, str) else found.to_json()


def test_every_component_is_in_the_package_and_documented(schema):
    assert {*Component.__subclasses__()} <= {*COMPONENTS}
    assert {*schema["resources"]} == {f"purpleflea:index:{component.__name__}" for component in COMPONENTS}
    for name, resource in schema["resources"].items():
        assert resource["description"], name
    operator, credentials = (schema["resources"][f"purpleflea:index:{n}"] for n in ("EscrowOperator", "Credentials"))
    assert operator["inputProperties"]["settings"]["description"]
    assert "kept secret" in credentials["inputProperties"]["apiKey"]["description"]


def test_the_settings_are_typed_arguments_by_the_keys_of_the_stack_files(schema):
    def keys(name):
        return {*schema["types"][f"purpleflea:index:{name}"]["properties"]}

    assert keys("SettingsArgs") == {info.alias for info in Settings.model_fields.values()}
    assert schema["types"]["purpleflea:index:HpaArgs"]["properties"]["minReplicas"]["type"] == "integer"
    assert schema["types"]["purpleflea:index:AgentArgs"]["properties"]["budgetUsdc"]["type"] == "string"
    assert "Fewest workers" in schema["types"]["purpleflea:index:HpaArgs"]["description"]
    assert schema["resources"]["purpleflea:index:Credentials"]["requiredInputs"] == ["settings"]


def test_the_plugin_starts_as_pulumi_starts_it_and_tells_its_port():
    """Pulumi runs the folder with the engine's address; the first line of output is the port."""
    assert yaml.safe_load((ROOT / "plugin/PulumiPlugin.yaml").read_text())["runtime"]["name"] == "python"
    plugin = subprocess.Popen(
        [sys.executable, str(ROOT / "plugin"), "127.0.0.1:1"],
        cwd="/",
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert plugin.stdout
        assert plugin.stdout.readline().strip().isdigit()
    finally:
        plugin.kill()
        plugin.wait()
