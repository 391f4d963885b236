"""What a pod declares is what its program reads: the rendered environment, given to the programs themselves."""

import importlib.util
import re

import pytest

from components.manifests import agent_job, agent_workers, operator, payroll, retention, services, stack
from components.settings import Settings
from runtime import faucet_claim, network
from runtime import retention as runtime_retention
from runtime.agent_worker import settings as agent_worker_settings
from runtime.contract import Env, NetworkEnv
from runtime.environment import read
from runtime.operator.config import OperatorConfig
from runtime.payments.settings import PayerSettings
from runtime.payroll import settings as payroll_settings
from tests.components import stacks
from tests.components.references import containers, pod_specs
from tests.components.variants import VARIANTS

SECRET = {
    "api-key": "pf_live_x",
    "agent-wallet": "agent-1",
    "faucet-url": "https://f.example",
    "escrow-url": "https://e.example",
}


def environment(container) -> dict[str, str]:
    """The environment that the kubelet would make, with the credentials Secret at hand."""
    found = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        value = (
            SECRET[source["secretKeyRef"]["key"]] if "secretKeyRef" in source else variable.get("value", "from-field")
        )
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda named: found[named[1]], value)
    return found


def with_key(declared):
    """The key in the variable: the file that the pod mounts is not here."""
    return {k: v for k, v in declared.items() if k != Env.API_KEY_FILE} | {Env.API_KEY: "some-key"}


def test_operator_reads_what_its_deployment_declares():
    mapping = {
        "operator": {
            "watchNamespace": "selector:team=a",
            "replicas": 2,
            "resyncSeconds": 60,
            "rerunFailedWork": True,
        },
        "budget": {"namespaceUsdc": "7", "agentDailyUsdc": "3", "payeeUsdc": "2.5"},
        "escrow": {"defaultBudgetUsdc": "0.25", "autoReleaseOnJobComplete": False, "timeoutHours": 48},
    }
    [container] = operator.deployment(Settings.parse(mapping))["spec"]["template"]["spec"]["containers"]
    config = read(OperatorConfig, with_key(environment(container)))
    assert (config.watched.selector, config.leader_election, config.resync_seconds) == ("team=a", True, 60)
    assert str(config.default_budget) == "0.25"
    bounds = [config.budget.limits.namespace, config.budget.limits.agent, config.budget.limits.payee]
    assert [(str(limit.locked), str(limit.daily)) for limit in bounds] == [
        ("7.00", "None"),
        ("None", "3.00"),
        ("2.50", "None"),
    ]
    assert config.rerun_failed_work
    assert (config.auto_release, config.timeout_hours, config.payer) == (False, 48, "agent-1")


@pytest.mark.parametrize(
    ("mapping", "account"),
    [
        ({"api": {"dialect": "server"}}, "https://casino.purpleflea.com"),
        ({"api": {"dialect": "server"}, "services": {"casinoUrl": "https://c.example"}}, "https://c.example"),
        ({"api": {"dialect": "kubernetes"}}, None),
    ],
)
def test_the_operator_knows_where_the_payers_account_is_kept(mapping, account):
    """There it finds a create whose answer was lost, where the service has no list."""
    [container] = operator.deployment(Settings.parse(mapping))["spec"]["template"]["spec"]["containers"]
    assert read(OperatorConfig, with_key(environment(container))).payments.casino_url == account


def test_workers_and_payroll_read_what_their_containers_declare(tmp_path):
    mapping = {
        "worker": {"payee": "worker-1", "terminationGracePeriodSeconds": 90},
        "payroll": {"runCapUsdc": "5", "releaseAgeMinutes": 40},
    }
    settings = Settings.parse(mapping)
    [template] = [agent_workers.deployment(settings)["spec"]["template"]["spec"]]
    [container] = template["containers"]
    declared = environment(container)
    assert declared[Env.WORKSPACE] == "/workspace"
    worker = read(agent_worker_settings.Settings, declared | {Env.WORKSPACE: f"{tmp_path}"}).queue
    assert (worker.wallet, worker.grace_seconds) == ("worker-1", 75)
    assert worker.reader == "system:serviceaccount:agent-jobs:pf-payroll-sa"
    assert (worker.key.key, worker.key.file) == (None, None)
    pays = read(payroll_settings.Settings, environment(payroll.container(settings)))
    assert (pays.wallet, str(pays.run_cap), pays.payee_cap, pays.has_work_log) == ("worker-1", "5.00", None, True)
    by_age = Settings.parse({"worker": {"workLog": False}, "payroll": {"releaseAgeMinutes": 40}})
    pays = read(payroll_settings.Settings, environment(payroll.container(by_age)))
    assert (pays.wallet, pays.has_work_log, pays.release_age_minutes) == ("agent-1", False, 40)
    assert agent_workers.deployment(by_age)["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_retention_reads_what_its_container_declares():
    mapping = {"retention": {"archiveAfterDays": 7, "archiveUrl": "s3://b/f", "archiveSecret": "bucket"}}
    container = retention.container(Settings.parse(mapping | {"operator": {"watchNamespace": "agent-jobs,b"}}))
    found = read(runtime_retention.Settings, environment(container))
    assert (found.watch, found.archive, found.after_days) == ("agent-jobs,b", "s3://b/f", 7)
    assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]


def test_faucet_claim_reads_what_its_container_declares():
    settings = Settings.parse({"faucet": {"required": True, "deadlineSeconds": 30}})
    job = agent_job.build(settings, settings.agents[0])
    claim = job["spec"]["template"]["spec"]["initContainers"][0]
    found = read(faucet_claim.Settings, environment(claim))
    assert (found.agent_id, found.faucet_url, found.required, found.deadline_seconds) == (
        "agent-1",
        "https://f.example",
        True,
        30,
    )


@pytest.mark.parametrize("name", stacks.EXAMPLES)
def test_whoever_pays_can_start_its_client(name):
    settings = Settings.parse(stacks.EXAMPLES[name])
    for o in stack.objects(settings):
        for _, pod in pod_specs(o):
            for container in containers(pod):
                declared = environment(container) if "env" in container else {}
                if Env.ESCROW_URL in declared:
                    here = declared | {Env.ESCROW_URL: services.url(settings, "escrow")}
                    read(PayerSettings, with_key(here)).client()


def test_every_variable_is_a_known_one():
    declared = {
        name
        for mapping in stacks.EXAMPLES.values()
        for o in stack.objects(Settings.parse(mapping))
        for _, pod in pod_specs(o)
        for container in containers(pod)
        for name in environment(container)
    }
    assert declared <= {variable.value for variable in (*Env, *NetworkEnv)}
    assert {variable.value for variable in NetworkEnv} <= {*network.VARIABLES}


def test_the_dev_stack_declares_no_pod_whose_program_is_yet_to_come():
    """What a newcomer brings up first must not crash-loop: its stack file leaves such parts out."""
    modules = {
        word
        for o in stack.objects(VARIANTS["dev"].settings())
        for _, pod in pod_specs(o)
        for container in containers(pod)
        for word in container["command"]
        if word.startswith("runtime.")
    }
    assert modules == {
        "runtime.agent_worker",
        "runtime.faucet_claim",
        "runtime.mcp_proxy",
        "runtime.operator",
        "runtime.payroll",
        "runtime.sandbox",
    }
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []
