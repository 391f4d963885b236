"""`escrowctl doctor`, on a real API server: each thing that can hold up a payment is found, with what mends it."""

import json
import uuid

import pytest
from lightkube import codecs
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Secret
from lightkube.resources.rbac_authorization_v1 import RoleBinding

from components.manifests import operator as operator_manifests
from components.manifests.rbac import OPERATOR_GRANTS
from components.settings import Settings
from runtime.contract import Env
from runtime.escrowctl.finding import Finding, Level, exit_code
from runtime.escrowctl.system_checks import RIGHTS, Deployment, read_page
from tests.runtime.operator import world as worlds
from tests.runtime.operator.world import PAYEE, Escrow
from tests.runtime.test_escrowctl import escrowctl

REQUEST = json.dumps({"payee": PAYEE, "amountUsdc": "0.50"})


@pytest.fixture
def world(spare_control_plane, sandbox):
    """In a cluster where no other test leaves accounts: `doctor` looks at all there are."""
    worlds.install_definition(spare_control_plane)
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    client = spare_control_plane.client(name)
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    with worlds.world(spare_control_plane, name, client, sandbox, "server") as built:
        yield built
        for sibling in (built, *built.siblings):
            sibling.remove_accounts()


@pytest.fixture
def installed(world):
    """With the Deployment as a stack declares it, whose pods run nowhere: this cluster has no node."""
    settings = Settings.parse({"namespace": world.namespace, "api": {"dialect": "server"}})
    manifest = operator_manifests.deployment(settings)
    world.client.create(codecs.from_dict(manifest))
    credentials = {"metadata": {"name": settings.payer_secret}, "stringData": {"api-key": "some-key"}}
    world.client.create(Secret.from_dict(credentials))
    return world


def doctor(world, expect: int) -> dict[str, tuple[str, str, str]]:
    """Level, sentence and command of the worst finding of each check."""
    found = json.loads(escrowctl(world, "doctor", "-n", world.namespace, "-o", "json", expect=expect, output=True))
    order = ["ok", "unknown", "warning", "error"]
    found.sort(key=lambda one: order.index(one["level"]))
    return {one["check"]: (one["level"], one["what"], one["command"]) for one in found}


def test_it_asks_for_the_rights_that_the_operator_is_given():
    declared = {
        (grant.group, *f"{resource}/".split("/")[:2], grant.verbs)
        for grant in OPERATOR_GRANTS
        for resource in grant.resources
    }
    assert set(RIGHTS) == declared


def test_what_is_well_is_said_too(installed):
    found = doctor(installed, 4)
    assert {check for check, (level, *_) in found.items() if level == "ok"} == {
        *("definition", "rights", "secret", "dialect", "review", "waiting", "unwatched", "held", "budget")
    }
    assert found["operator"][:2] == ("error", "0 of 1 replicas are available")
    assert found["progress"][0] == "unknown", "no pod runs here, and what was not asked is not well"


@pytest.mark.parametrize(
    ("levels", "code"),
    [(["ok"], 0), (["ok", "unknown"], 3), (["warning", "ok"], 3), (["error", "unknown"], 4), ([], 0)],
)
def test_the_worst_finding_is_the_exit_code(levels, code):
    assert exit_code([Finding("check", Level(level), "what") for level in levels]) == code


def test_an_operators_page_tells_of_its_passes_the_service_and_its_clock(world):
    deployment = Deployment(operator_manifests.deployment(Settings.parse({"namespace": world.namespace})))
    page = world.operator().metrics()

    def levels(page: str) -> dict[str, str]:
        return {finding.check: finding.level for finding in read_page(page, deployment, "pf-1")}

    assert levels(page) == dict.fromkeys(("progress", "service", "clock"), "ok")
    names = ("escrow_service_clock_ahead_seconds", "escrow_service_last_answer_timestamp_seconds")
    clock, answered = (next(line for line in page.splitlines() if line.startswith(f"{name} ")) for name in names)
    for ahead, level in (("-301.0", "warning"), ("301.0", "warning"), ("NaN", "unknown")):
        assert levels(page.replace(clock, f"{names[0]} {ahead}"))["clock"] == level
    assert levels(page.replace(answered, f"{names[1]} NaN"))["service"] == "warning"


def test_without_an_operator_that_is_the_first_thing_to_mend(world):
    level, what, command = doctor(world, 4)["operator"]
    assert level == "error"
    assert "no Job is funded or paid" in what
    assert command.startswith("kubectl get deployments")


def test_what_money_waits_for_is_listed_with_the_command_that_shows_it(installed):
    world = installed
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "0.52"})
    world.job("funded", request=REQUEST, suspend=True)
    world.await_resumed("funded")
    world.job("waits", request=REQUEST, suspend=True)
    world.await_event("waits", "OverBudget")
    world.job("crooked", request="{}", suspend=True)
    world.await_phase("crooked", "NeedsReview")
    found = doctor(world, 4)
    assert found["waiting"][1] == "1 accounts wait: OverBudget"
    account = world.escrow("waits")["metadata"]["name"]
    assert found["waiting"][2] == f"kubectl purpleflea explain {account} -n {world.namespace}"
    assert "crooked" in found["review"][1]
    assert "of 0.52 USDC at one time are left" in found["budget"][1]


def test_accounts_that_nobody_serves_and_of_another_dialect(installed):
    other = installed.sibling("far")
    account = {
        "metadata": {"name": "task-1"},
        "spec": {"dialect": "fly", "token": "t-1", "work": {"kind": "Task", "name": "one", "taskId": "one"}},
    }
    other.client.create(Escrow.from_dict(account))
    found = doctor(installed, 4)
    assert f"1 open accounts in {other.namespace}, which no operator serves" in found["unwatched"][1]
    assert found["dialect"][0] == "error"


def test_a_right_and_a_secret_that_are_missing_are_named(installed):
    for binding in installed.client.list(RoleBinding):
        installed.client.delete(RoleBinding, binding.metadata.name)
    for secret in installed.client.list(Secret):
        installed.client.delete(Secret, secret.metadata.name)
    found = doctor(installed, 4)
    assert "may not get jobs" in found["rights"][1]
    assert found["secret"][2].startswith("kubectl create secret generic")
