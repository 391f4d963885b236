"""Every setting is read by something: another value changes an output of some stack."""

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.manifests import encryption, fly_config, stack
from components.outputs import stack_outputs
from components.settings import BadSettings, Settings
from components.settings.description import ROOT, Key, describe
from tests.components import stacks

LEAVES = {
    f"{path}.{key.name}": key
    for path, section in describe(Settings).walk()
    for key in section.keys
    if key.section is None
}
FIXED = {path for path, key in LEAVES.items() if "const" in key.takes}
"""One value only: a name of the guide's that the settings keep."""
NOT_IN_AN_OUTPUT = {
    f"{ROOT}.budget.capUsdc": "refuses a stack instead",
    f"{ROOT}.images.allowTag": "refuses a stack instead",
    f"{ROOT}.extraManifests": "names files; whoever renders or runs the stack reads and carries them",
}
TEXTS = (
    "7m",
    *(
        "other",
        "other_data",
        "name:2.0",
        "https://other.example",
        "@daily",
        "Asia/Tokyo",
        "2",
        "3Gi",
        "lhr",
        "unix:///x",
    ),
    *("0.50", "batch,agent-jobs", "selector:team=a", "s3://other/place", "arn:aws:kms:eu-west-1:111122223333:key/1"),
)
VALUES: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "integer": (0, 1, 2, 3, 4, 7, 12, 61, 120, 512, 600, 1024, 4000, 4001),
    "string": TEXTS,
    "array": (["other"], ["198.51.100.0/24"], [1024]),
    "object": (
        {"other": "x"},
        {"iad": 3, "lhr": 1},
        {"metadata": {"annotations": {"team": "a"}}},  # in Kubernetes' own words
    ),
}
BASES: dict[str, dict[str, Any]] = {
    **stacks.EXAMPLES,
    "KMS": {"encryption": {"provider": "aws", "keyId": "alias/mine"}},
    "on a cluster": {"target": "cluster"},
    "fixed workers": {"hpa": {"enabled": False}},
    "large Machines": {"fly": {"machine": {"cpuKind": "performance", "memoryMb": 2048}}},
    "sleeping Machines": {"fly": {"autoStop": "stop", "machine": {"memoryMb": 1024}}},
    "three layers": {"fly": {"layers": "three", "escrowApp": {"mostUsdc": "0.10"}}},
    "by annotation": {"agents": [{"name": "one"}], "funding": {"mode": "annotation"}},
    "behind a proxy": {
        "network": {"proxy": {"httpsUrl": "http://proxy.example:3128"}, "caBundle": {"secret": "company"}},
    },
    "its own Secret": {"credentials": {"existingSecret": "", "agentWallet": "me"}},
}


@functools.cache
def base(name: str, of_fly: bool) -> str:
    """Everything that a stack puts out."""
    return outputs(BASES[name], of_fly)


def outputs(mapping: dict[str, Any], of_fly: bool) -> str:
    """The same of any mapping; the Fly files apart, because they take the longest. Raises `BadSettings`."""
    settings = Settings.parse(mapping)
    if of_fly:
        return json.dumps(fly_config.fly_files(settings) if settings.fly.enabled else None)
    outputs = stack_outputs(settings, "dist/dev")
    return json.dumps([stack.objects(settings), outputs, encryption.encryption_files(settings)])


def changed(mapping: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The mapping with another value at the path, which may lead through a list's first item."""
    first, _, rest = path.partition(".")
    name = first.removesuffix("[]")
    inner = mapping.get(name)
    if not rest:
        return mapping | {first: value}
    if first != name:
        items = inner or [{"name": "pf-agent-job", "payee": "p"}]
        return mapping | {name: [changed(items[0], rest, value), *items[1:]]}
    return mapping | {name: changed(inner or {}, rest, value)}


def values(key: Key) -> Iterator[Any]:
    """What it may be given; most of it is refused, which is no matter."""
    takes = key.takes
    if "enum" in takes:
        yield from takes["enum"]
        return
    kinds = takes["type"] if "type" in takes else [part["type"] for part in takes["anyOf"]]
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        yield from VALUES.get(kind, ())


def has_effect(path: str, key: Key) -> bool:
    """Whether some value changes an output of some stack."""
    of_fly = path.startswith(f"{ROOT}.fly")
    for name, mapping in BASES.items():
        for value in values(key):
            try:
                found = outputs(changed(mapping, path.removeprefix(f"{ROOT}."), value), of_fly)
            except BadSettings:
                continue
            if found != base(name, of_fly):
                return True
    return False


@pytest.mark.parametrize("path", sorted({*LEAVES} - FIXED - {*NOT_IN_AN_OUTPUT}))
def test_setting_has_an_effect(path):
    assert has_effect(path, LEAVES[path])


def test_exceptions_are_settings_without_an_output():
    assert {*LEAVES} >= {*NOT_IN_AN_OUTPUT}
    assert not any(has_effect(path, LEAVES[path]) for path in NOT_IN_AN_OUTPUT)
    assert {f"{ROOT}.faucet.idempotent", f"{ROOT}.escrow.escrowAnnotation"} == FIXED
