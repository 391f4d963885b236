"""What agents are told: documented, complete, and without a secret."""

import json
from pathlib import Path

import pytest

from components.manifests import agent_job
from components.manifests.agent_config import agent_config
from components.settings import Settings
from tests.components import stacks

PAGE = (Path(__file__).parents[3] / "docs" / "agent-config.md").read_text()


@pytest.mark.parametrize("name", stacks.EXAMPLES)
def test_every_key_is_documented(name):
    told = agent_config(Settings.parse(stacks.EXAMPLES[name]))
    parts = [told, *told["agents"].values(), told["workers"], told["maximumExposure"]]
    assert {key for part in parts for key in part if f"`{key}`" not in PAGE} == set()
    assert json.loads(json.dumps(told)) == told


def test_environment_is_the_jobs_own():
    settings = Settings.parse({"agents": [{"name": "a", "env": {"MODE": "fast"}, "credential": "payer"}]})
    told = agent_config(settings)["agents"]["a"]
    job = agent_job.build(settings, settings.agents[0])
    assert told["name"] == job["metadata"]["name"]
    assert set(told["environment"]) == {v["name"] for v in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert told["environment"]["MODE"] == "fast"
    assert told["environment"]["PF_API_KEY"] == {"secret": {"name": "purpleflea-creds", "key": "api-key"}}


def test_who_can_spend_the_whole_balance_is_told():
    agents = [{"name": "a", "credential": "payer"}, {"name": "b"}, {"name": "c", "credential": "own"}]
    told = agent_config(Settings.parse({"agents": agents}))
    assert told["maximumExposure"]["wholeBalance"] == ["a"]
    assert [told["agents"][name]["credential"] for name in "abc"] == ["payer", "none", "own"]
    assert "PF_API_KEY" not in told["agents"]["b"]["environment"]
    assert told["agents"]["c"]["environment"]["PF_API_KEY"] == {"secret": {"name": "c-creds", "key": "api-key"}}


def test_all_six_services_are_told():
    told = agent_config(Settings.parse(stacks.EXAMPLES["sandbox"]))
    assert set(told["services"]) == {"faucet", "escrow", "casino", "trading", "wallet", "domains"}
    assert set(told["services"].values()) == {"http://pf-sandbox.agent-jobs.svc:8080"}


def test_a_stack_that_is_off_has_no_agents():
    told = agent_config(Settings.parse({"enabled": False}))
    assert (told["agents"], told["workers"], told["maximumExposure"]["totalUsdc"]) == ({}, {}, "0.00")
