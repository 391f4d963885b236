"""The sidecar's container is what its program reads, and its rules are what the program enforces."""

import pytest

from components.manifests import agent_job, mcp_sidecar, stack
from components.settings import Settings
from runtime.contract import MCP_RULES_KEY, Env
from runtime.environment import read
from runtime.mcp_proxy import settings as program
from runtime.mcp_proxy.rules import OnExceed, Window, load
from tests.components.manifests.test_programs import environment, with_key
from tests.components.references import containers, pod_specs

RULED = {
    "mcp": {
        "denyTools": ["release_escrow"],
        "payees": ["ag_worker"],
        "spendLimitUsdc": "0.50",
        "podBudgetUsdc": "2",
        "podDailyBudgetUsdc": "1.00",
        "onExceed": "requireApproval",
    }
}


def test_the_program_reads_what_its_container_declares():
    settings = Settings.parse(RULED)
    found = read(program.Settings, with_key(environment(mcp_sidecar.sidecar(settings))))
    assert found.urls == {"faucet": "https://f.example/mcp", "escrow": "https://e.example/mcp"}, "the Secret's"
    assert (found.port, found.probes.ports) == (8765, (8081,))
    mounts = {mount["mountPath"]: mount for mount in mcp_sidecar.sidecar(settings)["volumeMounts"]}
    assert mounts[str(found.rules_file.parent)]["readOnly"]
    assert str(found.state.directory) in mounts


def test_the_rules_of_a_stack_are_the_programs(tmp_path):
    settings = Settings.parse(RULED)
    [rendered] = [each for each in stack.objects(settings) if each["metadata"]["name"] == "pf-mcp-rules"]
    file = tmp_path / MCP_RULES_KEY
    file.write_text(rendered["data"][MCP_RULES_KEY])
    rules = load(file, ["faucet", "escrow"])
    escrow = rules.of("escrow")
    assert (str(escrow.spend_limit), escrow.payees, escrow.permits("release_escrow")) == ("0.50", {"ag_worker"}, False)
    assert [(str(each.limit), each.window, each.on_exceed) for each in rules.budgets] == [
        ("2.00", Window.POD, OnExceed.REQUIRE_APPROVAL),
        ("1.00", Window.DAY, OnExceed.REQUIRE_APPROVAL),
    ]


def test_without_a_rule_there_is_no_file_of_them():
    settings = Settings.parse({})
    assert "pf-mcp-rules" not in {each["metadata"]["name"] for each in stack.objects(settings)}
    assert Env.MCP_RULES_FILE not in {variable["name"] for variable in mcp_sidecar.sidecar(settings)["env"]}


@pytest.mark.parametrize("mapping", [{}, RULED])
def test_no_other_container_has_its_books_its_rules_or_its_key(mapping):
    settings = Settings.parse(mapping)
    [(_, pod)] = pod_specs(agent_job.build(settings, settings.agents[0]))
    own = {volume["name"] for volume in mcp_sidecar.volumes(settings)} | {"credentials"}
    assert own <= {volume["name"] for volume in pod["volumes"]}
    for container in containers(pod):
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        assert (own <= mounted) if container["name"] == "pf-mcp-proxy" else not (own & mounted)
