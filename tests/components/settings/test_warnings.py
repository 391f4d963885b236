"""What Kubernetes takes and hardly anybody means is told, and not refused."""

from pathlib import Path

import pytest

from components.settings import Settings
from components.settings.warnings import warnings
from components.synth.__main__ import main
from tests.components import stacks

RUNTIME = Path(__file__).parents[3] / "runtime"
AGENT = "purpleflea.agents[0]"
FUNDED = {"funding": {"mode": "request"}}


UNWRITTEN = "yet, so its pods can only crash"


def told(mapping):
    """What is doubtful about the values, apart from the programs that are yet to be written."""
    return [found for found in warnings(Settings.parse(mapping)) if UNWRITTEN not in found.message]


def agent(**more):
    return {**FUNDED, "agents": [{"name": "a", "payee": "p", **more}]}


@pytest.mark.parametrize(
    ("mapping", "path", "words"),
    [
        (agent(schedule="0 6 */2 * MON"), f"{AGENT}.schedule", "runs on days that match the day of the month or"),
        (agent(schedule="0 6 13 * */2"), f"{AGENT}.schedule", "Kubernetes wants both to match only where"),
        ({"payroll": {"schedule": "0 0 30 2 *"}}, "purpleflea.payroll.schedule", "names a date that never comes"),
        (agent(schedule=", * * * *"), f"{AGENT}.schedule", "names a date that never comes"),
        ({"agents": [{"name": "a", "schedule": "@daily"}]}, f"{AGENT}.schedule", "nobody is paid for them"),
        (agent(credential="payer"), f"{AGENT}.credential", "can spend the payer's whole balance"),
        ({"worker": {"credential": "payer"}}, "purpleflea.worker.credential", "can spend the payer's whole balance"),
        (agent(agentId="p"), f"{AGENT}.agentId", "the faucet claim registers it with the payer's key"),
        (
            agent(agentId="w") | {"worker": {"payee": "w"}},
            f"{AGENT}.agentId",
            "credential: own gives it one of its own",
        ),
        (agent(env={"OPENAI_API_KEY": "x"}), f"{AGENT}.env.OPENAI_API_KEY", "secretKeyRef"),
        (agent(env={"MODEL": "sk-proj-abcdefghijkl"}), f"{AGENT}.env.MODEL", "secretKeyRef"),
        ({"worker": {"env": {"DB_PASSWORD": "x"}}}, "purpleflea.worker.env.DB_PASSWORD", "secretKeyRef"),
        (
            agent(
                podTemplate={"spec": {"containers": [{"name": "agent", "env": [{"name": "A_TOKEN", "value": "x"}]}]}}
            ),
            f"{AGENT}.podTemplate.spec.containers[0].env[0]",
            "secretKeyRef",
        ),
        (
            {"operator": {"watchNamespace": "selector:team=a"}},
            "purpleflea.operator.watchNamespace",
            "nothing is locked outside the stack's own namespace",
        ),
        (agent(resources={"requests": {"cpu": "0Mi"}}), f"{AGENT}.resources.requests.cpu", "in a unit of bytes"),
        (agent(resources={"requests": {"memory": "100m"}}), f"{AGENT}.resources.requests.memory", "fraction of a byte"),
    ],
)
def test_warning(mapping, path, words):
    (found,) = told(mapping)
    assert found.path == path
    assert words in found.message


ROOT = "purpleflea"
NO_EFFECT = {
    "budget.namespaceUsdc": ({"operator": {"enabled": False}, "budget": {"namespaceUsdc": "5"}}, "operator.enabled"),
    "budget.jobUsdc": ({"operator": {"enabled": False}, "budget": {"jobUsdc": "0"}}, "operator.enabled"),
    "mcp.onExceed": ({"mcp": {"onExceed": "requireApproval", "spendLimitUsdc": "1"}}, "mcp.podBudgetUsdc"),
    "mcp.spendLimitUsdc": ({"mcp": {"enabled": False, "spendLimitUsdc": "0"}}, "mcp.enabled: true"),
    "worker.replicas": ({"worker": {"replicas": 5}}, "hpa.minReplicas"),
    "hpa.metricsServer.issuer": ({"hpa": {"metricsServer": {"issuer": "ours"}}}, "tls: certManager"),
    "network.caBundle.key": ({"network": {"caBundle": {"key": "ca.pem"}}}, "network.caBundle.configMap"),
    "network.proxy.noProxy": ({"network": {"proxy": {"noProxy": ["a.example"]}}}, "network.proxy.httpsUrl"),
    "encryption.keyId": ({"encryption": {"keyId": "arn:aws:kms:eu-west-1:1:key/a"}}, "encryption.provider"),
    "agents[0].timeZone": (agent(timeZone="Europe/Berlin"), "a schedule"),
}


@pytest.mark.parametrize("path", NO_EFFECT)
def test_a_setting_that_reaches_nothing_says_what_it_needs(path):
    mapping, needed = NO_EFFECT[path]
    (found,) = told(mapping)
    assert found.path == f"{ROOT}.{path}"
    assert "has no effect" in found.message
    assert needed in found.message


def test_a_work_that_several_agents_share_is_told_of_each():
    agents = [{"name": name, "workId": "shared"} for name in "ab"] + [{"name": "c"}, {"name": "d"}]
    found = told({"agents": agents})
    assert [one.path for one in found] == ["purpleflea.agents[0].workId", "purpleflea.agents[1].workId"]
    assert all("one of them runs and is paid" in one.message for one in found)


@pytest.mark.parametrize("other", [{"api": {"dialect": "server"}}, {"faucet": {"claimOnStartup": False}}])
def test_an_id_that_nobody_registers_with_the_payers_key_is_its_own(other):
    assert told(agent(agentId="p") | other) == []
    assert told(agent(agentId="p", credential="own")) == []


def test_a_value_from_a_secret_is_no_plain_text_and_a_word_no_key():
    variables = [{"name": "A_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    part = {"spec": {"containers": [{"name": "agent", "env": variables}]}}
    env = {"MODEL": "pf-small", "KEYBOARD": "de", "MAX_TOKENS": "4096", "TOKEN_LIMIT": "5"}
    assert told(agent(podTemplate=part, env=env)) == []


@pytest.mark.parametrize("name", sorted({*stacks.EXAMPLES} - {"production", "payer's key to agents"}))
def test_ordinary_stacks_have_none(name):
    assert told(stacks.EXAMPLES[name]) == []


def test_a_program_that_is_yet_to_be_written_is_named_and_one_that_is_there_is_not():
    """Money may be locked for a Job whose pods can only crash. The warning goes by itself when the program comes."""
    mapping = {**FUNDED, "agents": [{"name": "a", "payee": "p"}, {"name": "b", "payee": "p", "command": ["true"]}]}
    found = {one.path: one.message for one in warnings(Settings.parse(mapping)) if UNWRITTEN in one.message}
    programs = {
        "purpleflea.agents[0].command": "agent_worker",
        "purpleflea.worker.enabled": "agent_worker",
        "purpleflea.payroll.enabled": "payroll",
        "purpleflea.hpa.enabled": "metrics_server",
        "purpleflea.mcp.enabled": "mcp_proxy",
    }
    missing = {path: program for path, program in programs.items() if not (RUNTIME / program).exists()}
    assert {path: program for path, program in missing.items() if f"runtime.{program}" in found[path]} == missing
    assert set(found) == set(missing)


def test_the_render_tells_them_and_goes_on(tmp_path, capsys):
    (tmp_path / "Pulumi.yaml").write_text("name: purpleflea\n")
    (tmp_path / "Pulumi.x.yaml").write_text("config: {sandbox: {enabled: true}, payroll: {schedule: '0 0 30 2 *'}}\n")
    assert main(["--stack", "x", "--project", str(tmp_path), "--out", str(tmp_path / "dist")]) == 0
    assert "warning: purpleflea.payroll.schedule: '0 0 30 2 *' names a date" in capsys.readouterr().err
