"""The merge of a part into a pod template, held against kubectl's own."""

# ruff: noqa: E501 - a table is read by its rows

import json
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.manifests.strategic_merge import NotMergeable, merge
from tests.toolchain.fixtures import require

_words = st.sampled_from(["a", "b", "c", "d"])


def _lists(field, entries, key):
    return st.lists(entries, max_size=4, unique_by=lambda entry: entry[key]).map(lambda found: {field: found})


def _maps(*parts):
    return st.lists(st.one_of(*parts), max_size=4).map(lambda found: {k: v for part in found for k, v in part.items()})


_mounts = _lists(
    "volumeMounts", st.fixed_dictionaries({"mountPath": _words.map("/{}".format), "name": _words}), "mountPath"
)
_env = _lists("env", st.fixed_dictionaries({"name": _words, "value": _words}), "name")
_ports = _lists("ports", st.fixed_dictionaries({"containerPort": st.integers(1, 4), "name": _words}), "containerPort")
_limits = st.dictionaries(_words, st.sampled_from(["1", "2"])).map(lambda found: {"resources": {"limits": found}})
_args = st.lists(_words, max_size=2).map(lambda found: {"args": found})
_fields = _maps(_mounts, _env, _ports, _limits, _args, _words.map(lambda word: {"image": word}))
_container = st.builds(lambda name, fields: {"name": name, **fields}, _words, _fields)
_volume = st.builds(lambda name: {"name": name, "emptyDir": {}}, _words)
_tolerations = st.lists(st.builds(lambda key: {"key": key}, _words), max_size=2).map(
    lambda found: {"tolerations": found}
)
_spec = _maps(
    _lists("containers", _container, "name"),
    _lists("initContainers", _container, "name"),
    _lists("volumes", _volume, "name"),
    _tolerations,
    st.dictionaries(_words, _words).map(lambda found: {"nodeSelector": found}),
)


def nulls(spec):
    """Some of a part's scalars removed instead."""
    selector = spec.get("nodeSelector", {})
    return st.sets(st.sampled_from(sorted(selector))).map(
        lambda gone: spec | {"nodeSelector": {k: None if k in gone else v for k, v in selector.items()}}
    ) if selector else st.just(spec)  # fmt: skip


def kubectls(program, base, patch):
    whole = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": {"spec": base}}
    part = json.dumps({"template": {"spec": patch}})
    done = subprocess.run(
        [program, "patch", "--local", "--filename", "-", "--type", "strategic", "--patch", part, "--output", "json"],
        input=json.dumps(whole), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["template"]["spec"]


@pytest.mark.controlplane
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=_spec, patch=_spec.flatmap(nulls))
def test_it_is_kubectls_merge(base, patch):
    ours = merge(base, patch)
    theirs = kubectls(require("controlplane", "kubectl"), base, patch)
    assert _without_empty(ours) == _without_empty(theirs)


def _without_empty(value):
    """kubectl prints `{}` and `[]` in some places and leaves them out in others; they mean the same."""
    if isinstance(value, dict):
        found = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in ({}, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("base", "patch", "found"),
    [
        ({"volumes": [{"name": "w", "emptyDir": {}}]}, {"volumes": [{"name": "w", "configMap": {"name": "c"}}]}, {"volumes": [{"name": "w", "configMap": {"name": "c"}}]}),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "valueFrom": {"x": {}}}]}, {"env": [{"name": "A", "valueFrom": {"x": {}}}]}),
        ({"volumes": [{"name": "w"}, {"name": "v"}]}, {"volumes": [{"name": "w", "$patch": "delete"}]}, {"volumes": [{"name": "v"}]}),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"$patch": "replace", "requests": {"cpu": "2"}}}, {"resources": {"requests": {"cpu": "2"}}}),
        ({"resources": {"limits": {"cpu": "1", "memory": "1"}}}, {"resources": {"limits": {"cpu": None}}}, {"resources": {"limits": {"memory": "1"}}}),
        ({}, {"affinity": {"a": None, "b": ({"c": None},)}}, {"affinity": {"b": [{}]}}),
    ],
)  # fmt: skip
def test_what_is_ours_to_say(base, patch, found):
    before = json.dumps(base)
    assert merge(base, patch) == found
    assert json.dumps(base) == before, "the base is left as it was"


def test_an_entry_that_cannot_be_told_apart_is_named():
    with pytest.raises(NotMergeable, match=r"spec.containers\[a\].ports\[0\]: containerPort is required"):
        merge({"spec": {}}, {"spec": {"containers": [{"name": "a", "ports": [{"name": "x"}]}]}})
