"""A tenant with every right in its namespace: accounts, claims and budgets are not its to write, and its Job is paid.

Asked of a real API server, with the policies as rendered and the operator's own account beside it.
"""

import json

import lightkube
import pytest
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from runtime.contract import BUDGET_LABEL, BUDGET_NAME, OPERATOR_LEASE, TASK_CLAIMS, Env
from runtime.kubernetes.claims import claim_name
from tests.runtime.operator.hostile import OWN_WORKERS, account, client_of, hostile, patched, refused
from tests.runtime.operator.test_budgets import asks, waiting
from tests.runtime.operator.world import STRICT, Budget, Escrow

NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
def tenant(world):
    with hostile(world) as client:
        yield client


def test_accounts_claims_and_budgets_are_no_tenants_to_write(world, tenant):
    operator = world.operator(**STRICT, **{Env.NAMESPACE_BUDGET_USDC: "2.00"})
    escrow_id = world.fund("0.50", job="mine")
    world.job("mine", escrow_id, suspend=True)
    world.await_resumed("mine")
    name = world.escrow("mine")["metadata"]["name"]
    status, label = {"status": {"paidUsdc": "9.00"}}, {"metadata": {"labels": {BUDGET_LABEL: None}}}
    act = {"who": "tenant", "when": NOW, "what": "x", "reason": "y"}
    tries: dict[str, str] = {
        "open an account": refused(lambda: tenant.create(account("another"))),
        "have an account forgotten": refused(lambda: tenant.delete(Escrow, name)),
        "all of them": refused(lambda: tenant.deletecollection(Escrow)),
        "write an amount": patched(tenant, Escrow.Status, name, status),
        "write a claim": patched(tenant, Escrow.Status, name, {"status": {"claim": "anything"}}),
        "write a phase": patched(tenant, Escrow.Status, name, {"status": {"phase": "NeedsReview"}}),
        "an amount with an act": patched(tenant, Escrow.Status, name, {"status": {**status["status"], "acts": [act]}}),
        "agree on another payee": patched(tenant, Escrow, name, {"spec": {"payee": "friend"}}),
        "have it count no more": patched(tenant, Escrow, name, label),
        "raise the limit": patched(tenant, Budget, BUDGET_NAME, {"spec": {"namespaceUsdc": "99.00"}}),
        "free the limit": patched(tenant, Budget.Status, BUDGET_NAME, {"status": {"lockedUsdc": "0.00"}}),
        "have the budget counted anew": refused(lambda: tenant.delete(Budget, BUDGET_NAME)),
        "free a claim": refused(lambda: tenant.delete(Lease, claim_name(escrow_id))),
        "free all claims": refused(lambda: tenant.deletecollection(Lease)),
        "lead in the operator's place": refused(lambda: tenant.create(lease(OPERATOR_LEASE))),
        "say that a task is done": refused(lambda: tenant.create(lease(TASK_CLAIMS[0]))),
        "hold a claim": patched(tenant, Lease, claim_name(escrow_id), {"spec": {"holderIdentity": "x/y"}}),
    }
    assert [what for what, words in tries.items() if not words] == []
    asks(world, "on-request", "0.50")
    for job in ("mine", "on-request"):
        world.await_resumed(job)
        world.finish(job)
        assert world.await_phase(job, "Settled")["status"]["outcome"] == "Paid"
        world.eventually(lambda job=job: not world.get_job(job).metadata.finalizers, "nothing holds it")
    assert "policy" not in operator.log()


def test_programs_that_may_write_leases_write_their_own_alone(world, tenant):
    """No Role can say so: it cannot bound `create` by name, and a claim's name is made of its escrow's id."""
    claim, task, another = claim_name("esc_1"), TASK_CLAIMS[0], "somebodys"
    names = (claim, task, OPERATOR_LEASE, another)

    def may(client: lightkube.Client) -> set[str]:
        return {name for name in names if not refused(lambda name=name: client.create(lease(name), dry_run=True))}

    assert may(client_of(world, "pf-operator-sa")) == {claim, OPERATOR_LEASE}
    assert may(client_of(world, "pf-payroll-sa")) == {claim, task}
    assert may(client_of(world, "pf-worker-sa")) == {task}
    assert may(client_of(world, OWN_WORKERS)) == {task, another}
    assert may(tenant) == {another}
    assert may(world.client) == {*names}, "the platform may, e.g. to free one that hangs"


def test_an_account_is_named_after_its_job_or_work_whoever_opens_it(world, tenant):
    """Or one Job could have two, of which either is found."""
    operator = client_of(world, "pf-operator-sa")
    wanted = account("uid-1")
    wanted["metadata"]["name"] = "job-uid-2"
    assert "is named after" in refused(lambda: operator.create(wanted, dry_run=True))
    assert refused(lambda: operator.create(account("uid-1"), dry_run=True)) == ""


def lease(name: str) -> Lease:
    return Lease.from_dict({"metadata": {"name": name}, "spec": {}})


def test_payroll_writes_accounts_of_tasks_alone(world, tenant):
    payroll = client_of(world, "pf-payroll-sa")
    assert "opened by the operator" in refused(lambda: payroll.create(account("of-a-job")))
    task = account("none")
    task["spec"] = {"dialect": "server", "token": "pf-token-9", "work": {"kind": "Task", "name": "t", "taskId": "t-1"}}
    assert refused(lambda: payroll.create(task)) == ""
    assert refused(lambda: payroll.create(lease(claim_name("esc_task")))) == ""
    assert patched(payroll, Escrow.Status, "job-none", {"status": {"payee": "somebody"}}) == ""
    world.client.create(account("of-a-job"))
    assert "written by the operator" in patched(payroll, Escrow.Status, "job-of-a-job", {"status": {"payee": "me"}})


def test_retention_removes_what_is_settled_and_writes_nothing(world, tenant):
    retention = client_of(world, "pf-retention-sa")
    for uid, phase in (("old", "Settled"), ("open", "Funded")):
        world.client.create(account(uid))
        status = {"phase": phase, "outcome": "Paid", "closedAt": NOW} if phase == "Settled" else {"phase": phase}
        assert patched(world.client, Escrow.Status, f"job-{uid}", {"status": status}) == ""
    assert "written by the operator" in patched(retention, Escrow.Status, "job-open", {"status": {"payee": "me"}})
    assert "once they are archived" in refused(lambda: retention.delete(Escrow, "job-open"))
    assert "opened by the operator" in refused(lambda: retention.create(account("another")))
    assert refused(lambda: retention.delete(Escrow, "job-old")) == ""


def test_whoever_decides_a_review_is_who_the_api_server_says(world, tenant):
    world.operator(**STRICT)
    world.job("lost", "esc_of_nobody", suspend=True)
    found = world.await_phase("lost", "NeedsReview")
    decided = {"phase": "Settled", "outcome": "Cancelled", "closedAt": NOW, "intent": "cancel", "decidedAt": NOW}

    def decide(who: str, **more: str) -> str:
        acts = [{"who": who, "when": NOW, "what": "closed as Cancelled", "reason": "a typo"}]
        return patched(tenant, Escrow.Status, found["metadata"]["name"], {"status": {**decided, **more, "acts": acts}})

    user = f"system:serviceaccount:{world.namespace}:tenant"
    assert "status.acts[].who" in decide("somebody-else")
    assert "changes no amount" in decide(user, lockedUsdc="1.00")
    assert decide(user) == ""


def test_the_platform_says_what_a_namespace_may_ask_for(world, tenant):
    """By the namespace's Budget, where the settings say nothing: the Job that is refused is told which rule it is."""
    world.operator(**STRICT, **{Env.RESYNC_SECONDS: "1"})
    budget = {"metadata": {"name": BUDGET_NAME}, "spec": {"jobUsdc": "0.50", "payees": ["worker-*"]}}
    assert "all namespaces" in refused(lambda: tenant.create(Budget(budget)))
    world.client.create(Budget(budget))
    asks(world, "too-much", "0.60")
    assert waiting(world, "too-much").startswith("OverJobLimit: 0.60 USDC are more than the 0.50 that one Job may")
    asks(world, "a-stranger", "0.10", payee="stranger")
    assert waiting(world, "a-stranger").startswith("PayeeNotAllowed: payee stranger")
    assert "payees in Budget pf-budget" in world.await_event("a-stranger", "PayeeNotAllowed")[0]
    asks(world, "within", "0.50")
    world.await_resumed("within")
    limit = {"spec": {"namespaceUsdc": "0.80", "bringEscrows": False}}
    world.client.patch(Budget, BUDGET_NAME, limit, patch_type=PatchType.MERGE)
    asks(world, "beyond", "0.40")
    assert "0.80 that the namespace may have locked" in waiting(world, "beyond")
    world.job("brings", world.fund("0.10", job="brings"), suspend=True)
    assert waiting(world, "brings").startswith("EscrowNotAllowed: ")


def test_outside_the_stacks_namespace_nothing_is_locked_without_a_limit(world):
    other = world.sibling("watched")
    world.survivor([world, other], **STRICT, **{Env.RESYNC_SECONDS: "1", Env.NAMESPACE_BUDGET_USDC: ""})
    asks(other, "unlimited", "0.10")
    assert waiting(other, "unlimited").startswith(f"NoLimit: no limit is given for namespace {other.namespace}")
    assert [call.act for call in world.sandbox.received] == []
    other.client.create(Budget({"metadata": {"name": BUDGET_NAME}, "spec": {"namespaceDailyUsdc": "1.00"}}))
    asks(other, "limited", "0.10")
    other.await_resumed("limited")
    assert json.dumps(other.escrow("limited")["status"]["reservation"])


def test_an_account_without_its_job_locks_nothing(world):
    """Whoever wrote it: the Job is looked for before anything is created for it."""
    world.operator(**{Env.RESYNC_SECONDS: "1"})
    uid = "00000000-0000-0000-0000-000000000000"
    spec = {"dialect": "server", "token": "pf-token-2", "payee": "worker-agent-007", "amountUsdc": "5.00"}
    world.client.create(
        Escrow({"metadata": {"name": f"job-{uid}"}, "spec": {**spec, "job": {"name": "ghost", "uid": uid}}})
    )
    assert world.await_phase("ghost", "Settled")["status"]["outcome"] == "Cancelled"
    assert world.payments() == {}


def test_a_job_whose_account_says_another_amount_locks_nothing(world):
    world.job("asks", request=json.dumps({"payee": "worker-agent-007", "amountUsdc": "0.10"}), suspend=True)
    uid = world.get_job("asks").metadata.uid
    spec = {"dialect": "server", "token": "pf-token-3", "payee": "friend", "amountUsdc": "5.00"}
    world.client.create(
        Escrow({"metadata": {"name": f"job-{uid}"}, "spec": {**spec, "job": {"name": "asks", "uid": uid}}})
    )
    world.operator()
    status = world.await_phase("asks", "NeedsReview")["status"]
    assert "it says 5.00 USDC for friend, and its Job asks for something else" in status["evidence"]
    assert status["remedy"].startswith("Nothing was sent.")
    assert world.payments() == {}
