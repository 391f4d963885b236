"""A Job that Kueue queues gets its money once its quota is reserved, and runs once it has both."""

import json

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job

from runtime.contract import FUNDED_ANNOTATION, Env
from tests.runtime.operator.kueue_stand_in import QUEUE, AdmissionCheck, KueueStandIn, Workload
from tests.runtime.operator.proof import agree, let_time_pass, numbered
from tests.runtime.operator.step_proxy import Counter, Step, When
from tests.runtime.operator.world import PAYEE, PAYER, World, eventually


@pytest.fixture
def kueue(world):
    with KueueStandIn(world) as stand_in:
        yield stand_in


def asks(world: World, name: str, amount: str = "0.50", payee: str = PAYEE) -> None:
    world.job(name, request=json.dumps({"payee": payee, "amountUsdc": amount}), suspend=True, labels=QUEUE)


def paid(world: World, name: str) -> None:
    world.await_resumed(name)
    world.finish(name)
    assert world.await_phase(name, "Settled")["status"]["outcome"] == "Paid"


def waits_for_quota(world: World, name: str) -> bool:
    conditions = (world.escrow(name) or {}).get("status", {}).get("conditions", [])
    return bool(conditions) and conditions[0]["reason"] == "QuotaNotReserved"


def creates(world: World) -> int:
    """How often the service was asked to lock money."""
    return sum(call.act == "create" for call in world.sandbox.received)


def test_money_is_locked_once_quota_is_reserved_and_kueue_resumes_the_job(kueue):
    world, kueue.has_quota = kueue.world, False
    kueue.operator()
    asks(world, "queued")
    world.eventually(lambda: waits_for_quota(world, "queued"), "it waits for quota")
    assert world.payments() == {}
    kueue.has_quota = True
    world.await_resumed("queued")
    escrow_id = world.escrow("queued")["spec"]["escrowId"]
    state, message = kueue.state("queued")
    assert state == "Ready"
    assert escrow_id in message
    paid(world, "queued")
    assert world.payments() == {escrow_id: "released"}


def test_a_job_that_brings_its_escrow_is_bound_once_quota_is_reserved(kueue):
    world, kueue.has_quota = kueue.world, False
    kueue.operator()
    world.job("brings", world.fund(), suspend=True, labels=QUEUE)
    world.eventually(lambda: waits_for_quota(world, "brings"), "it waits for quota")
    kueue.has_quota = True
    paid(world, "brings")


def test_without_funds_kueue_is_told_to_retry_and_later_money_lets_the_job_run(kueue):
    """The stand-in reserves the quota again at once; the service must not be asked at each of its turns."""
    world = kueue.world
    first = kueue.operator()
    asks(world, "poor", "250.00")
    eventually(lambda: kueue.evictions["poor"], "it is evicted")
    eventually(lambda: kueue.has("poor", "QuotaReserved"), "its quota is reserved again")
    world.await_event("poor", "InsufficientBalance")
    asks(world, "rich")
    paid(world, "rich")
    assert kueue.evictions == {"poor": 1}
    assert creates(world) == 2
    first.kill()
    world.sandbox.deposit(PAYER, "1000.00")
    kueue.operator()
    paid(world, "poor")
    assert list(world.payments().values()) == ["released", "released"]


def test_the_money_of_a_job_that_is_evicted_stays_locked_for_it(kueue):
    world = kueue.world
    operator = kueue.operator()
    asks(world, "evicted")
    world.await_resumed("evicted")
    locked = world.payments()
    for killed in (False, True):
        kueue.has_quota = False
        kueue.evict("evicted")
        world.eventually(lambda: world.get_job("evicted").spec.suspend, "Kueue has suspended it")
        assert kueue.state("evicted")[0] == "Pending"
        if killed:
            operator.kill()
            kueue.operator()
        kueue.has_quota = True
        world.await_resumed("evicted")
    assert world.payments() == locked
    paid(world, "evicted")
    assert list(world.payments().values()) == ["released"]


def test_where_the_money_is_withdrawn_a_running_job_runs_on_and_an_evicted_one_is_told_to_retry(kueue):
    """Never `Rejected`, and the service is not asked to lock it anew."""
    world = kueue.world
    kueue.operator(**{Env.RESYNC_SECONDS: "1"})
    asks(world, "work")
    world.await_resumed("work")
    world.sandbox.escrows.dispute(world.escrow("work")["spec"]["escrowId"], PAYER, "by hand")
    account = world.await_phase("work", "Settled")
    assert account["status"]["drift"]
    assert kueue.state("work")[0] == "Ready"
    assert not world.get_job("work").spec.suspend
    kueue.evict("work")
    eventually(lambda: kueue.evictions["work"] == 2, "Kueue is told to retry")
    eventually(lambda: kueue.has("work", "QuotaReserved"), "its quota is reserved again")
    assert kueue.state("work")[0] == "Pending"
    assert "Settled: Disputed" in kueue.told["work"]
    world.eventually(lambda: world.get_job("work").spec.suspend, "Kueue has suspended it")
    assert creates(world) == 1


def test_a_job_that_is_deleted_while_it_waits_locks_nothing(kueue):
    world, kueue.has_quota = kueue.world, False
    kueue.operator()
    asks(world, "deleted")
    world.eventually(lambda: waits_for_quota(world, "deleted"), "it waits for quota")
    world.client.delete(Job, "deleted")
    world.await_gone("deleted")
    assert world.escrow("deleted")["status"]["outcome"] == "Cancelled"
    assert world.payments() == {}


@pytest.mark.parametrize("where", ["the create", "the answer"])
@pytest.mark.parametrize("when", list(When))
def test_an_operator_that_dies_between_the_quota_and_its_answer_is_followed(kueue, where, when):
    world = kueue.world
    parts = {"the create": ("POST", "/escrow"), "the answer": ("PATCH", "/workloads/")}
    method, part = parts[where]

    def kill(step: Step, moment: When) -> bool:
        hit = (step.method, moment) == (method, when) and part in step.path and "/apis/purpleflea" not in step.path
        if hit:
            world.operators[0].kill()
        return hit

    with numbered(world, Counter(kill)) as (changes, _):
        kueue.operator(**changes)
        asks(world, "queued")
        eventually(lambda: world.operators[0].process.poll() is not None, "it is killed")
    let_time_pass(world)
    kueue.operator()
    paid(world, "queued")
    assert list(world.payments().values()) == ["released"]


def test_two_active_operators_lock_the_money_of_each_job_once(kueue):
    world = kueue.world
    for _ in range(2):
        kueue.operator()
    names = [f"job-{number}" for number in range(4)]
    for name in names:
        world.sandbox.issue_key(f"payee-{name}")
        asks(world, name, payee=f"payee-{name}")
    for name in names:
        paid(world, name)
    assert agree(world) == dict.fromkeys(names, "Settled")


def test_two_tenants_have_a_check_and_an_operator_each(kueue):
    other = kueue.world.sibling("too")
    with KueueStandIn(other) as others:
        for each in (kueue, others):
            each.operator()
            asks(each.world, "queued")
        for each in (kueue, others):
            paid(each.world, "queued")
            assert each.state("queued")[0] == "Ready"


def test_work_that_asks_for_no_money_is_not_held_up(kueue):
    """Every Workload of the queue has the check."""
    world = kueue.world
    world.job("plain", suspend=True, labels=QUEUE, finalizer=False)
    spec = {"queueName": "agents", "podSets": [{"name": "main", "count": 1, "template": {}}]}
    world.client.create(Workload(metadata=ObjectMeta(name="job-of-another-kind"), spec=spec))
    kueue.operator()
    world.await_resumed("plain")
    eventually(lambda: kueue.has("of-another-kind", "Admitted"), "it is admitted")
    assert world.escrows() == []


def test_a_job_that_is_withheld_gives_its_quota_back(kueue):
    world = kueue.world
    kueue.operator()
    world.job("crooked", request="{", suspend=True, labels=QUEUE)
    eventually(lambda: kueue.evictions["crooked"], "Kueue is told to retry")
    assert world.await_phase("crooked", "NeedsReview")
    asks(world, "next")
    paid(world, "next")
    assert kueue.evictions["crooked"] == 1


def test_in_a_queue_without_the_check_a_job_gets_its_money_once_it_is_admitted(world):
    with KueueStandIn(world, checks=()) as kueue:
        kueue.has_quota = kueue.resumes = False
        kueue.operator()
        asks(world, "queued")
        world.eventually(lambda: waits_for_quota(world, "queued"), "it waits for quota")
        kueue.has_quota = True
        world.eventually(lambda: FUNDED_ANNOTATION in world.get_job("queued").metadata.annotations, "it is funded")
        kueue.resumes = True
        paid(world, "queued")


def test_where_there_is_no_check_a_queued_job_is_funded_as_without_kueue(world):
    with KueueStandIn(world, checks=()) as kueue:
        kueue.has_quota = False
        world.client.delete(AdmissionCheck, kueue.check)
        operator = kueue.operator()
        asks(world, "queued")
        world.eventually(lambda: FUNDED_ANNOTATION in world.get_job("queued").metadata.annotations, "it is funded")
        assert world.get_job("queued").spec.suspend, "Kueue resumes it"
        assert f"there is no AdmissionCheck {kueue.check}" in operator.log()
