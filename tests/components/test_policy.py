"""The policy pack: its rules as functions on what Pulumi hands over, and the pack itself under the real engine."""

import json
import subprocess
import sys
from collections import UserDict
from pathlib import Path

import pytest
from pulumi import automation

from components.manifests.stack import objects
from components.rules import policies
from components.synth.rendering import render
from tests.components.variants import ROOT, stack
from tests.toolchain import cache

DIGEST = "team/runtime@sha256:" + "0" * 64
LOCKED = ROOT / "requirements" / "policy.txt"


def resources(found):
    """As Pulumi hands them over: by URN, type and properties, all numbers as floats, behind mappings of its own."""
    for number, one in enumerate(found):
        yield f"urn:{number}", f"kubernetes:x:{one['kind']}", UserDict(json.loads(json.dumps(one), parse_int=float))


def outputs(**most):
    config = {"maximumExposure": {"totalUsdc": "2.02", "wholeBalance": [], **most}}
    return "urn:stack", "pulumi:pulumi:Stack", {"agentConfig": config}


def test_a_stack_is_read_from_its_resources():
    found = objects(stack().settings())
    component = ("urn:c", "purpleflea:index:AgentJobs", {"kind": "Job", "apiVersion": "x", "metadata": {}})
    read = policies.Stack.of([*resources(found), outputs(), component])
    assert str(read.exposure) == "2.02"
    kept = [{key: value for key, value in one.items() if key not in ("stringData", "data")} for one in found]
    assert [*read.objects.values()] == kept, "a Secret's values, or a number that is one no more"
    assert policies.nothing_wider(read, {str(number): one for number, one in enumerate(found)}) == []


def test_exposure_is_held_against_the_cap_and_unknown_is_above_it():
    def told(cap, *given):
        return policies.exposure_within_cap(policies.Stack.of(given), cap)

    assert told("2.02", outputs()) == []
    assert told("2.01", outputs()) == ["the maximum exposure is 2.02 USDC, above the cap of 2.01 USDC"]
    assert "the stack has no output agentConfig" in told("99")[0]
    assert "unknown" in told("99", outputs(totalUsdc=None))[0]
    assert "nightly: holds the payer's key" in told("99", outputs(wholeBalance=["nightly"]))[0]
    assert "is no amount" in told("five", outputs())[0]


def test_a_changed_job_is_the_same_job_and_a_new_right_is_told():
    before, after = (objects(stack(agents=[{"name": "a", "task": task}]).settings()) for task in ("one", "two"))
    baseline = {str(number): one for number, one in enumerate(before)}
    now = policies.Stack.of(resources(after))
    assert policies.nothing_wider(now, baseline) == []
    more = objects(stack(operator={"replicas": 2}, agents=[{"name": "a", "task": "one"}]).settings())
    told = policies.nothing_wider(policies.Stack.of(resources(more)), baseline)
    assert "gains verb patch on leases" in told[0]
    assert "credentials.purpleflea.com.agent-jobs: 1 of its validations gone or changed" in told[1]


def test_each_object_is_asked_for_its_images_and_pods():
    found = {one["kind"]: one for one in objects(stack().settings())}
    deployment = found["Deployment"]
    assert policies.restricted_pods(deployment) == []
    assert "team/runtime:1 is not named by digest" in policies.no_mutable_images(deployment)[0]
    deployment["spec"]["template"]["spec"]["hostPID"] = True
    assert policies.restricted_pods(deployment)[0].endswith("breaks the restricted level: hostPID")
    assert policies.no_mutable_images(found["Role"]) == policies.restricted_pods(found["Role"]) == []


@pytest.fixture
def pack(tmp_path):
    """The pack as a program: the engine starts a file itself, so that no language host is needed."""
    lines = LOCKED.read_text().replace("\\\n", "").splitlines()
    pins = [line for line in lines if line.startswith(("pulumi-policy==", "protobuf=="))]
    assert len(pins) == 2

    def install(part: Path) -> None:
        (part / "pins.txt").write_text("\n".join(pins))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--target", part, "-r", part / "pins.txt"], check=True)

    try:  # everything else that it locks is in the tests' own environment
        library = cache.fill("policy", cache.digest([line.encode() for line in pins]), install)
    except subprocess.CalledProcessError:
        pytest.skip("pip cannot fetch pulumi-policy, and it is not in the toolchain's cache; run once with a network")
    program = tmp_path / "pack"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={library} exec {sys.executable} {ROOT}/policy/__main__.py "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.engine
def test_the_pack_stops_a_preview_and_lets_the_baseline_pass(deploy, pack, tmp_path):
    off = ("worker", "mcp", "payroll", "hpa", "admission", "networkPolicy", "fly")  # as few objects as will do
    small = {**{name: {"enabled": False} for name in off}, "faucet": {"claimOnStartup": False}}
    given = {"images": {"runtime": DIGEST}, **small}
    for path, text in render(stack(**given)).items():
        (tmp_path / "baseline" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "baseline" / path).write_text(text)
    deployed = deploy(stand_in=True, **given)

    def preview(cap, wider):
        config = tmp_path / "policies.json"
        config.write_text(json.dumps({"exposure-within-cap": {"capUsdc": cap}, "nothing-wider": wider}))
        packs = {"policy_packs": [str(pack)], "policy_pack_configs": [str(config)]}
        return deployed.stack.preview(on_output=deployed.said.append, **packs)

    preview("99", "disabled")
    said = "\n".join(deployed.said)
    assert "✅ purpleflea@" in said
    assert "[mandatory]" not in said
    deployed.configure(**small, operator={"replicas": 2})
    with pytest.raises(automation.CommandError) as stopped:
        preview("0.01", {"baseline": str(tmp_path / "baseline")})
    told = str(stopped.value)
    assert "USDC, above the cap of 0.01 USDC" in told
    assert "container operator: team/runtime:1 is not named by digest" in told
    wider = "ServiceAccount agent-jobs/pf-operator-sa gains verb patch on leases.coordination.k8s.io pf-escrow-operator"
    assert wider in told
    assert {line.strip() for line in told.splitlines() if "gains" in line} == {f"{wider}, in namespace agent-jobs"}
    assert told.count("nothing-wider  (") == told.count("gains"), "more is told than the one right"
