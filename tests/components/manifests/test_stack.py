"""All objects of a stack: the named examples, and a hundred generated ones."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from components.manifests import stack
from components.manifests.agent_config import agent_config
from components.manifests.restricted import violations
from components.settings import Settings
from tests.components import stacks, strict_schemas
from tests.components.references import containers, dangling, pod_specs

_KEY = "pf_live_never_to_be_seen"


def _faults(mapping) -> list[str]:
    """Whatever is wrong with a stack's objects."""
    parsed = Settings.parse(mapping)
    objects = stack.objects(parsed, _KEY)
    identities = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    found = [complaint for o in objects if (complaint := strict_schemas.complaint(o))]
    found += [f"twice: {identity}" for identity in set(identities) if identities.count(identity) > 1]
    found += dangling(parsed, objects)
    for o in objects:
        if o["kind"] != "Secret" and _KEY in json.dumps(o):
            found.append(f"the key stands in {o['kind']} {o['metadata']['name']}")
        for _, pod in pod_specs(o):
            found += [f"{o['metadata']['name']}: {violation}" for violation in violations(pod)]
            found += [f"{c['name']}: {f}" for c in containers(pod) for f in _lacks(c)]
    if _KEY in json.dumps(agent_config(parsed)):
        found.append("the key stands in the agents' configuration")
    return found


def _lacks(container) -> list[str]:
    names = [variable["name"] for variable in container.get("env", ())]
    found = [f"{name} is set twice" for name in set(names) if names.count(name) > 1]
    if container["terminationMessagePolicy"] != "FallbackToLogsOnError":
        found.append("no last words: an end without a message tells nothing")
    if not container["securityContext"]["readOnlyRootFilesystem"]:
        found.append("writable root file system")
    return found + [
        f"no {kind}" for kind in ("requests", "limits") if set(container["resources"][kind]) != {"cpu", "memory"}
    ]


@pytest.mark.parametrize("name", stacks.EXAMPLES)
def test_example_is_right(name):
    assert _faults(stacks.EXAMPLES[name]) == []


@pytest.mark.parametrize("name", stacks.EXAMPLES)
def test_example_suits_the_oldest_version(name):
    """The gate's policies are younger: on such a cluster the manifests hold the Jobs."""
    example = stacks.EXAMPLES[name]
    admission = {**example.get("admission", {}), "jobGate": "manifest"}
    objects = stack.objects(Settings.parse({**example, "admission": admission}))
    assert [c for o in objects if (c := strict_schemas.complaint(o, strict_schemas.VERSIONS[0]))] == []


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(stacks.mappings())
def test_any_stack_is_right(mapping):
    assert _faults(mapping) == []


def test_disabled_stack_is_empty():
    assert stack.objects(Settings.parse({"enabled": False})) == []


def test_own_namespace_is_among_those_that_the_selector_picks():
    parsed = Settings.parse(stacks.EXAMPLES["selector"])
    [namespace] = [o for o in stack.objects(parsed) if o["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["purpleflea"] == "yes"


def test_same_settings_give_the_same_objects():
    """The order of the keys in the file must not matter, or every checkout would show a change."""
    mapping = stacks.EXAMPLES["sandbox"]
    turned = dict(reversed(mapping.items()))
    assert stack.objects(Settings.parse(mapping)) == stack.objects(Settings.parse(turned))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda o: o["spec"].update(replicaz=1), "replicaz"),
        (lambda o: o["spec"]["template"]["spec"]["containers"][0].update(command="python"), "command"),
        (lambda o: o["spec"]["template"]["spec"].update(serviceAccount=3), "serviceAccount"),
    ],
)
def test_schemas_are_strict(spoil, complaint):
    """The check above means nothing unless it refuses what the API server refuses."""
    worker = next(
        o
        for o in stack.objects(Settings())
        if o["kind"] == "Deployment" and o["metadata"]["name"] == "pf-agent-workers"
    )
    spoil(worker)
    assert complaint in str(strict_schemas.complaint(worker))


def test_dangling_names_are_found():
    parsed = Settings.parse({**stacks.EXAMPLES["sandbox"], "worker": {"credential": "payer"}})
    objects = [o for o in stack.objects(parsed) if o["kind"] not in ("Secret", "ServiceAccount", "Service", "Role")]
    found = "\n".join(dangling(parsed, objects))
    for lost in (
        "Secret purpleflea-creds",
        "ServiceAccount pf-agent-sa",
        "Service pf-metrics-server",
        "Role pf-secret-reader",
    ):
        assert lost in found
