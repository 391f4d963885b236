"""`python -m components.agent_job`: the same Job as the stack's own, for teams with code of their own."""

import json

import pytest
import yaml

from components.agent_job import main
from components.manifests import agent_job
from tests.components.variants import ROOT, VARIANTS


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


EXAMPLES = sorted((ROOT / "examples" / "agents").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_whole_agent_from_a_file(file, capsys):
    """With the dev stack, which asks for a payee."""
    assert main(["-f", str(file), "--payee", "worker-agent-007"]) == 0
    job = yaml.safe_load(capsys.readouterr().out)
    agent = yaml.safe_load(file.read_text())
    assert (
        job["metadata"].get("labels", {}).items() >= agent.get("job", {}).get("metadata", {}).get("labels", {}).items()
    )
    template = job["spec"]["jobTemplate"]["spec"]["template"] if job["kind"] == "CronJob" else job["spec"]["template"]
    [main_container] = [c for c in template["spec"]["containers"] if c["name"] == "agent"]
    assert main_container["image"] == agent["image"]
    assert main_container.get("command") == agent.get("command")
    assert main(["-f", str(file), "renamed", "--payee", "p", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["name"].startswith("renamed")


def test_a_file_that_holds_no_agent_is_one_message(tmp_path, capsys):
    path = tmp_path / "agent.yaml"
    for text, message in (
        ("- a", "one agent is needed"),
        ("name: [", "is not valid YAML"),
        ("name: a\npodTemplat: {}", "did you mean podTemplate?"),
        ("name: a\npayee: p\npodTemplate: {spec: {hostPID: true}}", "hostPID: the namespace enforces the restricted"),
    ):
        path.write_text(text)
        assert main(["-f", str(path)]) == 2
        assert message in capsys.readouterr().err
    assert main(["-f", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err
    assert main([]) == 2
    assert "agents of the stack: pf-agent-job" in capsys.readouterr().err
