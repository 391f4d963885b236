"""The simulator: what the real controller was seen to do, traces that are none, and what it prints and draws."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from components.autoscaling_sim.__main__ import main
from components.autoscaling_sim.controller import Autoscaler
from components.autoscaling_sim.trace import Trace, replay
from components.manifests import autoscaling
from components.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples" / "traces"


def spec(**hpa):
    return autoscaling.horizontal_pod_autoscaler(Settings.parse({"hpa": hpa}))["spec"]


def changes(trace: Trace, until: float, replicas: int = 2, **hpa) -> list[tuple[float, int]]:
    """Seconds and workers, wherever their number changes."""
    found = [(0.0, replicas)]
    for sync in replay(spec(**hpa), trace, replicas, until):
        if sync.replicas != found[-1][1]:
            found.append((sync.second, sync.replicas))
    return found[1:]


@pytest.mark.parametrize(("depth", "replicas"), [(21_000, 2), (22_000, 2), (22_001, 3), (18_000, 2), (0, 2)])
def test_within_the_tolerance_nothing_is_done(depth, replicas):
    scaler = Autoscaler(spec(scaleUp={"stabilizationSeconds": 0}), 2)
    assert scaler.sync(0, depth) == replicas


def test_a_jump_and_a_fall_are_as_the_real_controller_was_seen_to_do_them():
    up = changes(Trace([0, 15], [10, 200]), 300)
    assert up == [(30, 6), (90, 10), (150, 14), (210, 18), (270, 20)]
    down = changes(Trace([0, 15], [200, 1]), 900, replicas=20)
    assert (down[0], down[-1], len(down)) == ((300, 18), (780, 2), 9)


def test_the_guides_pace_reaches_eight_after_75_seconds_and_faster_ones_sooner():
    jump = Trace([0, 15], [10, 80])
    assert changes(jump, 300) == [(30, 6), (90, 8)]
    assert changes(jump, 300, scaleUp={"pods": 20, "periodSeconds": 15}) == [(30, 8)]
    assert changes(jump, 300, scaleUp={"stabilizationSeconds": 0, "pods": 20, "periodSeconds": 15}) == [(15, 8)]


def test_what_is_unknown_freezes_and_zero_wakes_only_what_it_put_to_sleep():
    quick = {"stabilizationSeconds": 0, "pods": 100, "periodSeconds": 1}
    zero = {"minReplicas": 0, "scaleUp": quick, "scaleDown": quick}
    assert changes(Trace([0, 30, 60, 90], [5, 0, None, 3]), 120, 1, **zero) == [(30, 0), (90, 1)]
    by_hand = Autoscaler(spec(**zero), 0)
    assert by_hand.sync(0, 1000_000) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no line"),
        ("0,1\n0,2\n", "line 2: 0 s is not after 0 s"),
        ("0,-1\n", "line 1: '0,-1': expected SECONDS,DEPTH"),
        ("0,nan\n", "line 1"),
        ("a,1\n", "line 1"),
        ("0,1,2\n", "line 1"),
        ("0,99999999999\n", "line 1"),
        ("0,1\n9999999999,1\n", "too many"),
    ],
)
def test_a_trace_that_is_none_is_named_by_its_line(text, complaint, tmp_path, capsys):
    (tmp_path / "trace.csv").write_text(text)
    assert main([str(tmp_path / "trace.csv")]) == 2
    assert complaint in capsys.readouterr().err


def test_it_prints_and_draws_the_stacks_own_settings(tmp_path, capsys):
    picture = tmp_path / "batch.svg"
    assert main([str(EXAMPLES / "batch.csv"), "--svg", str(picture), "--hpa", '{"maxReplicas": 5}']) == 0
    said = capsys.readouterr().out
    assert "most workers 5, locked at most 0.50 USDC" in said
    assert len(ET.parse(picture).getroot().findall("{http://www.w3.org/2000/svg}path")) == 6
    assert main([str(EXAMPLES / "night.csv"), "--hpa", '{"minReplicas": 0}', "--replicas", "1"]) == 0
    assert "unknown for 600 s, in which nothing is scaled" in capsys.readouterr().out
    assert main([str(EXAMPLES / "batch.csv"), "--hpa", '{"maxReplica": 5}']) == 2
