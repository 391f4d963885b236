"""Fly's rules, held by the settings: what flyctl would clamp, drop or refuse is named before anything is written."""

import pytest

from components.settings import BadSettings, Settings
from components.settings.fly import FlySettings, fly_problems


def test_defaults_are_without_problems():
    assert list(fly_problems(FlySettings())) == []


@pytest.mark.parametrize(
    ("fly", "path", "message"),
    [
        ({"check": {"intervalSeconds": 61}}, "check.intervalSeconds", "to 60 is needed"),
        ({"check": {"intervalSeconds": 0}}, "check.intervalSeconds", "a whole number from 1 to 60 is"),
        ({"check": {"gracePeriodSeconds": 90}}, "check.gracePeriodSeconds", "to 60 is needed"),
        ({"shutdown": {"killTimeoutSeconds": 301}}, "shutdown.killTimeoutSeconds", "to 300 is needed"),
        ({"strategy": "bluegreen"}, "strategy", "'bluegreen' is not allowed"),
        ({"strategy": "canary"}, "strategy", "'canary' is not allowed"),
        ({"autoStop": True}, "autoStop", "True is not allowed"),
        ({"regions": {"london": 2}}, "regions.london", "three letters"),
        ({"regions": {}}, "regions", "at least 1"),
        ({"app": "My_Agent"}, "app", "at most 63"),
        ({"volume": {"name": "agent-data"}}, "volume.name", "at most 30"),
        ({"volume": {"snapshotRetentionDays": 61}}, "volume.snapshotRetentionDays", "to 60 is needed"),
        ({"machine": {"memoryMb": 300}}, "machine.memoryMb", "multiple of 256"),
        ({"layers": "two"}, "layers", "'two' is not allowed"),
        ({"backup": "litefs://cluster"}, "backup", "LiteFS replicates after the commit"),
        ({"backup": "https://bucket.example"}, "backup", "no bucket such as s3://"),
        ({"baseImage": "python"}, "baseImage", "pin the image"),
        ({"baseImage": "python:latest"}, "baseImage", "pin the image"),
        ({"region": "iad"}, "region", "unknown key"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(fly, path, message):
    with pytest.raises(BadSettings) as refused:
        Settings.parse({"fly": fly})
    assert f"purpleflea.fly.{path}: " in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("fly", "path", "message"),
    [
        ({"concurrency": {"softLimit": 251}}, "concurrency.softLimit", "must not exceed hardLimit (250)"),
        ({"check": {"timeoutSeconds": 16}}, "check.timeoutSeconds", "must not exceed intervalSeconds (15)"),
        ({"shutdown": {"gracefulSeconds": 60}}, "shutdown.gracefulSeconds", "must be below killTimeoutSeconds (60)"),
        ({"regions": {"lhr": 2}}, "regions", "at least one Machine in the primary region 'iad'"),
        ({"minMachinesRunning": 2}, "minMachinesRunning", "must not exceed regions.iad (1)"),
        ({"machine": {"workers": 2}}, "machine.memoryMb", "2 workers need at least 352 MB"),
        ({"machine": {"cpus": 16}}, "machine.cpus", "the shared class has at most 8"),
        ({"machine": {"memoryMb": 4096}}, "machine.memoryMb", "shared-1x has 256 to 2048 MB, not 4096"),
        ({"env": {"PF_API_KEY": "k"}}, "env.PF_API_KEY", "is a secret"),
        ({"env": {"OPENAI_API_KEY": "k"}}, "env.OPENAI_API_KEY", "is a secret"),
        ({"env": {"DATA_DIR": "/x"}}, "env.DATA_DIR", "is set by Fly or from other settings"),
        ({"machine": {"cpuKind": "performance"}}, "machine.memoryMb", "performance-1x has 2048 to 8192 MB, not 256"),
    ],
)
def test_a_rule_across_fields_is_named_with_its_path(fly, path, message):
    problems = [str(problem) for problem in fly_problems(FlySettings.model_validate(fly))]
    assert problems == [problem for problem in problems if problem.startswith(f"purpleflea.fly.{path}: ")]
    assert message in problems[0]


def test_the_fly_agents_variables_are_free_on_kubernetes():
    """Only what the stack itself sets on a pod is refused in an agent's own environment."""
    agent = {"name": "pf-agent-job", "env": {"WEB_CONCURRENCY": "2", "AGENT_WALLET": "0xMine"}}
    Settings.parse({"credentials": {"agentWallet": "agent-1"}, "agents": [agent]})
