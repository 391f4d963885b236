"""docs/fly.md: its commands are run, in their order, against an executable that does what Fly does."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from components.manifests.fly_config import PROJECT, PURPOSES, fly_files
from components.outputs import stack_outputs
from components.settings import Settings
from components.settings.fly import FlySettings
from tests.components.manifests import fly_stand_in

TEXT = (PROJECT / "docs" / "fly.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture
def run(tmp_path):
    """`run(command)`, in a folder where the stack dev is rendered; `run.state()` is what Fly has then."""
    folder = tmp_path / "dist" / "dev"
    (folder / "fly" / "go").mkdir(parents=True)
    for path, text in fly_files(Settings()).items():
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    fly = fly_stand_in.install(tmp_path)
    search = f"{fly}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(command, **values):
        values = {"PF_API_KEY": "pf_live_first", "AGENT_WALLET": "0xAgent", "PYTHONPATH": str(PROJECT), **values}
        subprocess.run(["sh", "-ec", command], cwd=tmp_path, env={"PATH": search, **values}, check=True)

    run.state = lambda: fly_stand_in.read(tmp_path)
    return run


def test_five_steps_and_the_rotation_work_as_written(run, sandbox, tmp_path):
    faucet = {"PF_FAUCET_URL": sandbox.url, "PF_ALLOW_HTTP": "true"}
    for command in commands():
        if command == "make render":  # has tests of its own; the files it would write stand in the folder
            continue
        run(command, PF_API_KEY="pf_live_second" if "--deploy" in command else "pf_live_first", **faucet)
    assert json.loads((tmp_path / "faucet-result.json").read_text())["outcome"] == "granted"
    state = run.state()
    named = [call["arguments"][-1] for call in state["calls"] if call["arguments"][0] in ("apps", "status")]
    assert named == [FlySettings().app] * 2
    assert Counter(machine["region"] for machine in state["machines"]) == FlySettings().regions
    assert len(state["volumes"]) == sum(FlySettings().regions.values())
    assert state["secrets"] == {"PF_API_KEY": "pf_live_second", "AGENT_WALLET": "0xAgent"}


def test_the_commands_of_the_stacks_output_deploy_it(run):
    told = stack_outputs(Settings(), "dist/dev")["fly"]
    for command in told["commands"]:
        run(command)
    assert [" ".join(call["arguments"][:2]) for call in run.state()["calls"]][:3] == [
        "apps create",
        "secrets import",
        "secrets list",
    ]
    assert Counter(machine["region"] for machine in run.state()["machines"]) == FlySettings().regions
    assert len(run.state()["volumes"]) == sum(FlySettings().regions.values()), "the first one is used"
    assert run.state()["secrets"] == {"PF_API_KEY": "pf_live_first", "AGENT_WALLET": "0xAgent"}
    assert "Machines API" in told["note"]
    assert stack_outputs(Settings(fly=FlySettings(enabled=False)), "dist/dev")["fly"] == {}


def test_the_commands_of_three_layers_deploy_both_apps(run, tmp_path):
    three = Settings.parse({"fly": {"layers": "three"}})
    (tmp_path / "dist" / "dev" / "fly" / "escrow").mkdir()
    for path, text in fly_files(three).items():
        (tmp_path / "dist" / "dev" / path).write_text(text)
    (tmp_path / "dist" / "dev" / "fly" / "escrow" / "secrets.sh").chmod(0o755)
    told = stack_outputs(three, "dist/dev")["fly"]["commands"]
    for command in told[:4]:
        run(command, PF_CALLERS=f"my-pf-agent:{'t' * 32}")
    assert run.state()["secrets"].keys() == {"PF_API_KEY", "AGENT_WALLET", "PF_CALLERS"}
    assert len(run.state()["machines"]) == len(run.state()["volumes"]) == 1, "one ledger"
    fly_stand_in.install(tmp_path)  # each app has Machines and secrets of its own
    for command in told[4:]:
        run(command, PF_API_KEY="t" * 32)
    assert run.state()["secrets"] == {"PF_API_KEY": "t" * 32, "AGENT_WALLET": "0xAgent"}
    assert Counter(machine["region"] for machine in run.state()["machines"]) == FlySettings().regions


def test_names_every_file():
    assert sorted(PURPOSES) == sorted(fly_files(Settings()))
    rows = {f"fly/{row}" for row in re.findall(r"^\| `([^`]+)` \| ", TEXT, re.M)}
    assert rows >= {"fly/go/" if path.startswith("fly/go/") else path for path in PURPOSES}
