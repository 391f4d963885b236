"""Workers and payroll in real pods: tasks are handed out, done and paid once, and the statement explains all of it.

Meanwhile a worker is killed and two runs of payroll go at one time. The sandbox runs on this machine, so that the test
reads its ledger directly.
"""

import json

import pytest
from lightkube import codecs
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import Pod

from components.manifests import naming, stack
from runtime.contract import ProgramName
from runtime.money import Usdc
from tests.e2e.conftest import workers_settings
from tests.runtime.operator.world import PAYER, install_definition
from tests.runtime.payroll.world import payroll_world
from tests.runtime.statement.commands import statement, with_service

TASKS = 6
REFERRER = "referrer-001"


@pytest.fixture
def world(node, namespace, node_image, sandbox, tmp_path):
    """The stack's workers and payroll on the node, and what locks money for them."""
    running, link = sandbox
    running.issue_key(REFERRER)
    running.agents.ensure(PAYER, referral_code=running.agents.find(REFERRER)["referral_code"])
    install_definition(node)
    with payroll_world(node, namespace.name, namespace.client, running, "kubernetes", tmp_path) as built:
        off = {"enabled": False}
        settings = workers_settings(namespace.name, node_image, link.url(), hpa=off)
        of_the_sandbox = {naming.SANDBOX}
        for manifest in stack.objects(settings, built.key):
            if (
                manifest["kind"] in {"Secret", "Deployment", "CronJob"}
                and not {manifest["metadata"]["name"]} & of_the_sandbox
            ):
                namespace.client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)
        yield built


def begun(world, *names: str) -> None:
    """Runs of payroll, as `kubectl create job --from=cronjob/pf-agent-payroll` makes them."""
    template = world.client.get(CronJob, naming.PAYROLL).spec.jobTemplate.to_dict()
    for name in names:
        world.client.create(Job.from_dict({**template, "metadata": {**template["metadata"], "name": name}}))


def ended(world, *names: str) -> str:
    """What they said."""
    said = []
    for name in names:
        world.client.wait(Job, name, for_conditions=["Complete"], raise_for_conditions=["Failed"])
        for pod in world.client.list(Pod, labels={"batch.kubernetes.io/job-name": name}):
            said += world.client.log(pod.metadata.name)
    return "".join(said)


@pytest.mark.checklist("K8", "K9")
def test_tasks_are_done_in_pods_and_paid_once_though_a_worker_dies_and_payroll_runs_twice(world, seen):
    escrows = {world.task(number, "0.50") for number in range(TASKS)}
    world.client.wait(Deployment, naming.WORKERS, for_conditions=["Available"])
    begun(world, "hand-out")
    assert f"{TASKS} handed out" in ended(world, "hand-out")
    world.await_(lambda: world.kept() or world.holders(), "a worker has begun")
    workers = list(world.client.list(Pod, labels=naming.selector(ProgramName.WORKER)))
    world.client.delete(Pod, workers[0].metadata.name, grace_period=0)
    world.await_(lambda: {*world.kept()} == escrows, "all of them are done, some by the pod that took its place")
    begun(world, "run-1", "run-2")
    said = ended(world, "run-1", "run-2")
    assert world.ledger() == dict.fromkeys(escrows, "released"), said
    assert world.outcomes() == dict.fromkeys(escrows, "Paid"), said
    document = json.loads(statement(world, "-n", world.namespace, "--reconcile", "-o", "json", **with_service(world)))
    total = document["total"]
    assert (total["locked_usdc"], total["paid_usdc"], total["fee_usdc"]) == ("3.000000", "2.970000", "0.030000")
    assert total["referrals_unknown"] == TASKS, "this dialect does not tell them, and unknown is not zero"
    referral = world.sandbox.statement()["totals"]["referral"]
    assert Usdc.parse(referral) == Usdc.parse("0.0045"), "15 % of the fees"
    seen("paid", f"{TASKS} tasks, {total['paid_usdc']} of {total['locked_usdc']} USDC, fees {total['fee_usdc']}", "K8")
    seen("referral income", f"{referral} USDC in the referrer's wallet, 15 % of the fees", "K9")
    seen("meanwhile", "a worker killed, two runs of payroll at one time", "K8")
