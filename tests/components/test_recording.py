"""A recorded program declares what it would declare to the engine."""

import pulumi
import pytest
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from tests.components.recording import Hidden, record


def run(program, config=None, secrets=None):
    return record(program, project="purpleflea", stack="dev", config=config or {}, secrets=secrets or {})


def by_name(recording, name):
    return next(r for r in recording.resources if r.name == name)


def test_inputs_are_resolved_whole_numbers_and_empty_maps_kept():
    def program():
        first = ConfigMap("first", metadata={"name": "first", "annotations": {}}, data={"a_b": "c"})
        ConfigMap("second", metadata={"name": first.metadata["name"].apply(lambda n: n + "-2")}, immutable=True)
        pulumi.export("n", {"whole": 3, "half": 0.5})

    recording = run(program)
    assert by_name(recording, "first").inputs["metadata"] == {"name": "first", "annotations": {}}
    assert by_name(recording, "first").inputs["data"] == {"a_b": "c"}
    assert by_name(recording, "second").inputs["metadata"] == {"name": "first-2"}
    assert recording.outputs == {"n": {"whole": 3, "half": 0.5}}
    assert isinstance(recording.outputs["n"]["whole"], int)


def test_secrets_are_hidden_even_from_repr_of_config():
    def program():
        key = pulumi.Config().require_secret("apiKey")
        Secret("s", metadata={"name": "s"}, string_data={"api-key": key})

    recording = run(program, secrets={"purpleflea:apiKey": "k"})
    assert by_name(recording, "s").inputs["stringData"] == Hidden({"api-key": "k"})
    assert isinstance(by_name(recording, "s").inputs["metadata"], dict)


def test_an_error_of_the_program_is_raised_as_it_is():
    def program():
        raise pulumi.RunError("wrong")

    with pytest.raises(pulumi.RunError, match=r"^wrong$"):
        run(program)


def test_a_recorded_program_can_record_another():
    """That is how the artifacts target renders inside a program that the real engine runs."""

    def inner():
        pulumi.export("stack", f"{pulumi.get_project()}/{pulumi.get_stack()}")
        pulumi.Stash("inner", input=pulumi.Config().get("a"))

    def outer():
        nested = record(inner, project="other", stack="prod", config={"other:a": "nested"}, secrets={})
        pulumi.export("nested", nested.outputs["stack"])
        pulumi.Stash("outer", input=pulumi.Config().get("a"))

    recording = run(outer, config={"purpleflea:a": "outside"})
    assert recording.outputs == {"nested": "other/prod"}
    assert by_name(recording, "outer").inputs == {"input": "outside"}
    assert not [r for r in recording.resources if r.name == "inner"]
