"""The regions script, really run, against an executable that keeps Machines and volumes as Fly does."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from components.manifests.fly_config import fly_files
from components.settings import Settings
from tests.components.manifests import fly_stand_in

WANTED = {"iad": 1, "lhr": 2}
READS = ["machine list --app my-pf-agent --json", "volumes list --app my-pf-agent --json"]


def app(folder: Path, regions: list[str], left: tuple[str, ...] = (), **broken: str) -> Path:
    """An app with one Machine for each entry of `regions`, and volumes that no Machine has in `left`."""
    state: dict = {"machines": [], "volumes": []}
    for region in regions:
        fly_stand_in.add_machine(state, region, fly_stand_in.add_volume(state, region, "agent_data"))
    for region in left:
        fly_stand_in.add_volume(state, region, "agent_data")
    fly_stand_in.install(folder, **state, **{"break": {k.replace("_", " "): v for k, v in broken.items()}})
    script = folder / "regions.sh"
    script.write_text(fly_files(Settings.parse({"fly": {"regions": WANTED}}))["fly/regions.sh"])
    return script


def run(script: Path, *arguments: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    path = f"{script.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run([shell, script, *arguments], env={"PATH": path}, capture_output=True, text=True)


def changes(script: Path) -> list[str]:
    calls = [" ".join(call["arguments"]) for call in fly_stand_in.read(script.parent)["calls"]]
    return [call for call in calls if call not in READS]


def machines(script: Path) -> Counter[str]:
    return Counter(machine["region"] for machine in fly_stand_in.read(script.parent)["machines"])


def test_without_apply_it_only_shows_the_plan(tmp_path):
    script = app(tmp_path, ["iad"])
    done = run(script)
    assert (done.returncode, changes(script)) == (0, [])
    assert done.stdout.splitlines() == [
        "iad: 1 Machines, wanted 1: keep",
        "lhr: 0 Machines, wanted 2: grow",
        "Nothing was changed; --apply does it.",
    ]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_apply_reaches_the_counts_with_a_new_volume_for_each_machine(tmp_path, shell):
    script = app(tmp_path, ["iad", "lhr"])
    done = run(script, "--apply", shell=shell)
    assert done.returncode == 0, done.stderr
    assert machines(script) == WANTED
    volumes = fly_stand_in.read(tmp_path)["volumes"]
    assert len({volume["attached_machine_id"] for volume in volumes}) == len(volumes) == 3
    assert changes(script)[:2] == [
        "volumes create agent_data --app my-pf-agent --region lhr --count 1 --size 10 --snapshot-retention 14 --yes",
        "scale count 2 --app my-pf-agent --process-group app --region lhr --yes",
    ]


def test_second_apply_changes_nothing(tmp_path):
    script = app(tmp_path, ["iad"])
    run(script, "--apply")
    before = changes(script)
    assert run(script, "--apply").returncode == 0
    assert changes(script) == before


@pytest.mark.parametrize("arguments", [(), ("--apply",)])
def test_an_old_ledger_is_never_attached_again(tmp_path, arguments):
    script = app(tmp_path, ["iad"], left=("lhr",))
    done = run(script, *arguments)
    assert (done.returncode, changes(script)) == (1, [])
    assert (
        "lhr: 0 Machines, wanted 2: refuse (no Machine has vol_1 and there may be an old ledger on it)" in done.stdout
    )


def test_a_volume_left_where_nothing_grows_is_no_obstacle(tmp_path):
    script = app(tmp_path, ["iad"], left=("iad",))
    assert run(script, "--apply").returncode == 0
    assert machines(script) == WANTED


def test_machines_are_destroyed_only_when_allowed(tmp_path):
    script = app(tmp_path, ["iad", "lhr", "lhr", "lhr"])
    refused = run(script, "--apply")
    assert (refused.returncode, changes(script)) == (1, [])
    assert "1 Machines would be destroyed; allow it with --shrink" in refused.stdout
    assert run(script, "--apply", "--shrink").returncode == 0
    assert machines(script) == WANTED
    assert len(fly_stand_in.read(tmp_path)["volumes"]) == 4, "the ledger of the Machine that went is kept"


def test_regions_that_are_not_named_are_left_alone(tmp_path):
    script = app(tmp_path, ["iad", "gru"])
    assert run(script, "--apply", "--shrink").returncode == 0
    assert machines(script) == {**WANTED, "gru": 1}


@pytest.mark.parametrize(
    "broken",
    [
        {"machine_list": "exit"},
        {"volumes_list": "exit"},
        {"machine_list": "Error: try again"},
        {"volumes_list": '{"error": "unauthorized"}'},
        {"volumes_list": '[{"id": "vol_1", "name": "agent_data", "region": "lhr"}]'},
    ],
)
def test_an_answer_that_cannot_be_understood_is_not_zero(tmp_path, broken):
    script = app(tmp_path, ["iad"], **broken)
    done = run(script, "--apply")
    assert (done.returncode, changes(script)) == (1, [])
    assert "Traceback" not in done.stderr
    assert "regions.sh: " in done.stderr


def test_a_machine_on_an_unreachable_host_is_not_counted_as_absent(tmp_path):
    script = app(tmp_path, ["iad"], machine_list=json.dumps([{"id": "m9", "state": "started", "region": "lhr"}]))
    done = run(script, "--apply")
    assert (done.returncode, changes(script)) == (1, [])
    assert "the host of Machine m9 is unreachable" in done.stderr


def test_it_stops_when_fly_says_yes_and_does_nothing(tmp_path):
    script = app(tmp_path, [], scale_count="App already scaled")
    done = run(script, "--apply")
    assert done.returncode == 1
    assert "iad: 1 Machines were asked for, Fly has another number" in done.stderr
    assert [line.split()[0] for line in changes(script)] == ["volumes", "scale"], "the other region was not touched"
    assert "no Machine has vol_0" in run(script, "--apply").stdout


def test_failed_volume_is_not_followed_by_machines(tmp_path):
    script = app(tmp_path, ["iad"], volumes_create="exit")
    assert run(script, "--apply").returncode == 1
    assert machines(script) == {"iad": 1}


def test_unknown_argument_is_bad_input(tmp_path):
    script = app(tmp_path, ["iad"])
    assert (run(script, "--aply").returncode, changes(script)) == (2, [])
