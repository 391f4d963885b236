"""`python -m components.agent_job`: the same Job as the stack's own, for teams with code of their own."""

import json

import yaml

from components.agent_job import main
from components.manifests import agent_job
from tests.components.variants import VARIANTS


def test_an_agent_of_the_stack_is_printed_as_the_stack_declares_it(capsys):
    assert main(["pf-agent-job"]) == 0
    settings = VARIANTS["dev"].settings()
    wanted = json.loads(json.dumps(agent_job.build(settings, settings.agents[0])))
    assert yaml.safe_load(capsys.readouterr().out) == wanted
    assert main(["pf-agent-job", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == wanted


def test_a_new_agent_takes_its_escrow_and_budget_from_the_options(capsys):
    assert main(["mine", "--stack", "prod", "--escrow-id", "esc_1", "--budget-usdc", "0.5", "--task", "12e3"]) == 0
    job = yaml.safe_load(capsys.readouterr().out)
    assert job["metadata"]["annotations"]["purpleflea.com/escrow-id"] == "esc_1"
    assert job["metadata"]["annotations"]["purpleflea.com/work-id"] == job["metadata"]["name"]
    env = {e["name"]: e.get("value") for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (env["TASK_BUDGET_USDC"], env["TASK_DESCRIPTION"]) == ("0.50", "12e3")


def test_bad_input_is_one_message_and_exit_code_2(capsys):
    for arguments, message in (
        (["x" * 60], "purpleflea.agents[0].name"),
        (["a", "--budget-usdc", "1e-9"], "at most six decimals"),
        (["a", "--image", "a:latest"], "pin the image"),
        (["a", "--stack", "nope"], "stacks: dev, prod"),
    ):
        assert main(arguments) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert not shown.out
