"""Helm's rendering equals the pure objects, and every setting reaches the chart."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings

from components.settings import Settings
from components.settings.description import describe
from tests.components import stacks
from tests.components.helm import every_setting
from tests.components.helm.rendering import DIFFERENCES, differences, values_of, write_chart
from tests.components.variants import VARIANTS

ROOT_FOLDER = Path(__file__).parents[3]


def test_every_example_stack_is_rendered_as_the_pure_objects(helm, plain_chart, tmp_path):
    def told(name):
        settings = VARIANTS[name].settings()
        values = values_of(settings, tmp_path / f"{name.replace(' ', '-')}.yaml")
        return [f"{name}: {line}" for line in differences(settings, helm.template(plain_chart, "--values", values))]

    with ThreadPoolExecutor(2) as pool:
        assert [line for lines in pool.map(told, VARIANTS) for line in lines] == []


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_stacks_own_chart_needs_no_values_file(helm, tmp_path, name):
    settings = VARIANTS[name].settings()
    assert differences(settings, helm.template(write_chart(tmp_path, settings, ROOT_FOLDER))) == []


@hypothesis_settings(
    max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mapping=stacks.mappings())
def test_generated_settings_are_rendered_as_the_pure_objects(helm, plain_chart, tmp_path, mapping):
    for part in (*mapping["agents"], mapping["worker"]):
        part["env"] = dict(sorted(part.get("env", {}).items()))  # Helm's maps are sorted
    if not mapping["credentials"]["existingSecret"]:
        mapping["sandbox"]["enabled"] = True  # another one is refused, as the table says
    settings = Settings.parse(mapping)
    values = values_of(settings, tmp_path / "values.yaml")
    assert differences(settings, helm.template(plain_chart, "--values", values)) == []


# ruff: noqa: E501
OVERRIDES = {
    "agents": [
        {
            "name": "trainer",
            "image": "team/trainer:1",
            "podTemplate": {
                "metadata": {"annotations": {"team": "a"}},
                "spec": {
                    "nodeSelector": {"gpu": "yes"},
                    "restartPolicy": "OnFailure",
                    "enableServiceLinks": None,
                    "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "9Gi"}}, {"name": "data", "emptyDir": {}}],
                    "containers": [
                        {"name": "agent", "volumeMounts": [{"name": "data", "mountPath": "/data"}], "env": [{"name": "MY", "value": "1"}]},
                        {"name": "beside", "image": "team/beside:2", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}},
                    ],
                    "tolerations": [{"key": "gpu", "operator": "Exists"}],
                },
            },
            "job": {"metadata": {"labels": {"queue": "q"}}, "spec": {"backoffLimit": 5, "podFailurePolicy": None}},
        },
        {"name": "nightly", "schedule": "@daily", "podTemplate": {"spec": {"initContainers": [{"name": "faucet-claim", "imagePullPolicy": "Always"}]}}},
    ],
    "operator": {"podTemplate": {"spec": {"priorityClassName": "high", "affinity": {"$patch": "replace", "nodeAffinity": {}}}}},
    "worker": {"podTemplate": {"spec": {"containers": [{"name": "agent", "image": "team/own:3"}]}}},
}  # fmt: skip


def test_parts_in_kubernetes_own_words_merge_as_kubectl_does(helm, plain_chart, tmp_path):
    settings = Settings.parse({**OVERRIDES, "images": {"allowTag": True, "runtime": "team/runtime:1"}})
    values = values_of(settings, tmp_path / "values.yaml")
    assert differences(settings, helm.template(plain_chart, "--values", values)) == []


@pytest.mark.parametrize("name", every_setting.STACKS)
def test_every_setting_reaches_the_chart(helm, plain_chart, tmp_path, name):
    """Each is said otherwise than its default in one of these stacks, and changes its objects: see the next test."""
    settings = Settings.parse(every_setting.STACKS[name])
    values = values_of(settings, tmp_path / "values.yaml")
    assert differences(settings, helm.template(plain_chart, "--values", values)) == []


def test_a_setting_that_the_stacks_above_do_not_say_is_told():
    """A new key goes into `every_setting.py`, and fails the test above until a template reads it."""
    elsewhere = every_setting.ONE_VALUE | every_setting.ELSEWHERE
    assert sorted(every_setting.keys() - every_setting.said() - elsewhere) == []
    assert every_setting.without_effect() == []


def test_page_has_the_table_of_differences():
    page = (ROOT_FOLDER / "docs" / "helm.md").read_text()
    assert [what for what, why in DIFFERENCES.items() if f"| {what} | {why} |" not in page] == []


def test_schema_is_what_the_settings_take(plain_chart):
    schema = json.loads((plain_chart / "values.schema.json").read_text())
    assert {*schema["$defs"]["Settings"]["properties"]} == {key.name for key in describe(Settings).keys}
