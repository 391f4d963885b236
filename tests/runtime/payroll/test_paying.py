"""Payroll as a real process on a real API server and a sandbox, with real workers or pods that only say so."""

from itertools import islice

import pytest
from lightkube.resources.batch_v1 import CronJob

from components.manifests import payroll
from runtime.contract import Env
from tests.runtime.operator.world import PAYEE, Escrow
from tests.runtime.payroll.pods import line, pod_server, says
from tests.runtime.payroll.world import WALLET

DIALECTS = pytest.mark.parametrize("world", ["kubernetes", "server"], indirect=True)


@DIALECTS
def test_a_task_is_handed_out_done_and_paid(world):
    """The whole way, with a real worker that holds no key."""
    escrow = world.task(1)
    if world.dialect == "server":  # which has no list
        world.handed(escrow, pending=True)
    world.worker_with_pod("worker-a")
    assert "1 handed out" in world.pay().log()
    assert world.outcomes() == {escrow: "Funded"}
    world.await_(lambda: world.kept() == [escrow], "a worker has done it")
    assert "0.495 USDC paid: 1 paid" in world.pay().log()
    status = world.task_status(escrow)
    assert (status["outcome"], status["payee"], status["lockedUsdc"]) == ("Paid", WALLET, "0.50")
    assert "was done by" in status["reason"]
    assert "0.00 USDC paid" in world.pay().log()
    assert world.ledger() == {escrow: "released"}


def test_a_task_that_failed_is_disputed_and_never_paid(world):
    escrow = world.task(1)
    with pod_server(says(line(escrow, outcome="failed", note="exit code 3: no luck"))) as port:
        world.pod("worker-a", port)
        world.pay()
    assert world.outcomes() == {escrow: "Disputed"}
    assert "no luck" in world.task_status(escrow)["reason"]
    assert world.ledger() == {escrow: "disputed"}


def test_what_is_kept_is_paid_although_pod_and_log_are_gone(world):
    escrow = world.task(1)
    world.handed(escrow)
    worker = world.worker("worker-a")
    world.await_(lambda: world.kept() == [escrow], "it is done")
    worker.kill()
    world.pay()
    assert world.ledger() == {escrow: "released"}


def test_without_a_log_it_pays_by_age_but_no_jobs_escrow_and_nobody_else(world):
    old, of_a_job, other = world.task(1), world.task(2), world.task(3, payee=PAYEE)
    world.job("job-1", of_a_job, finalizer=False)
    by_age = {Env.HAS_WORK_LOG: "false"}
    assert "2 left" in world.pay(**by_age).log()
    assert set(world.ledger().values()) == {"funded"}
    world.sandbox.advance(seconds=51 * 60)
    young = world.task(4)
    world.pay(**by_age)
    assert world.ledger() == {old: "released", of_a_job: "funded", other: "funded", young: "funded"}


def test_by_age_nothing_is_paid_that_a_worker_said_had_failed(world):
    """A stack that keeps no log any more: what its claims keep still holds."""
    escrow = world.task(1)
    world.handed(escrow)
    worker = world.worker("worker-a", PF_TASK_COMMAND="false")
    world.await_(lambda: world.kept() == [escrow], "it has failed")
    worker.kill()
    world.sandbox.advance(seconds=51 * 60)
    world.pay(**{Env.HAS_WORK_LOG: "false"})
    assert world.ledger() == {escrow: "disputed"}


def test_with_a_log_age_alone_pays_nothing(world):
    escrow = world.task(1)
    world.sandbox.advance(hours=2)
    world.pay()
    world.pay()
    assert world.ledger() == {escrow: "funded"}


def test_over_a_cap_a_person_decides(world):
    escrows = [world.task(number) for number in range(3)]
    with pod_server(says(b"".join(map(line, escrows)))) as port:
        world.pod("worker-a", port)
        run = world.pay(**{Env.RUN_CAP_USDC: "1.00"})
        assert sorted(world.outcomes().values()) == ["NeedsReview", "Paid", "Paid"]
        assert "over the cap of 1.00 USDC for one run" in run.log()
        (held,) = [e for e in world.escrows() if e["status"]["phase"] == "NeedsReview"]
        from tests.runtime.test_escrowctl import escrowctl

        words = ["--release", "--reason", "looked at it", "-n", world.namespace]
        escrowctl(world, "resolve", held["metadata"]["name"], *words)
        world.pay(**{Env.RUN_CAP_USDC: "1.00"})
    assert set(world.outcomes().values()) == {"Paid"}
    assert set(world.ledger().values()) == {"released"}


def test_a_payees_cap_holds_too(world):
    escrows = [world.task(number) for number in range(2)]
    with pod_server(says(b"".join(map(line, escrows)))) as port:
        world.pod("worker-a", port)
        world.pay(**{Env.PAYEE_CAP_USDC: "0.50"})
    assert sorted(world.ledger().values()) == ["funded", "released"]


@pytest.mark.parametrize("world", ["server"], indirect=True)
def test_what_is_refunded_first_is_paid_first(world):
    escrows = [world.task(number) for number in range(3)]
    world.sandbox.advance(seconds=120)
    late = world.task(9)
    with pod_server(says(b"".join(map(line, [late, *escrows])))) as port:
        world.pod("worker-a", port)
        printed = world.pay("--dry-run").log()
    order = [row.split()[1] for row in printed.splitlines() if row.startswith("pay ")]
    assert order[-1] == late
    assert set(order) == {*escrows, late}


def test_a_dry_run_prints_the_plan_and_changes_nothing(world):
    done, waiting = world.task(1), world.task(2)
    with pod_server(says(line(done))) as port:
        world.pod("worker-a", port)
        printed = world.pay("--dry-run").log()
    assert f"pay       {done}" in printed
    assert f"hand out  {waiting}" in printed
    assert "2 escrows, 0.50 USDC to pay; nothing was changed" in printed
    assert world.escrows() == []
    assert set(world.ledger().values()) == {"funded"}


@pytest.mark.parametrize("world", ["server"], indirect=True)
def test_what_the_service_refunded_meanwhile_is_recorded(world):
    escrow = world.task(1)
    world.handed(escrow)
    world.sandbox.advance(hours=25)
    world.pay()
    status = world.task_status(escrow)
    assert (status["outcome"], status["drift"]) == ("Refunded", True)


def test_the_run_is_told_by_an_event_and_a_missed_one_is_noticed(world):
    manifest = payroll.cron_job(world.settings())
    manifest["spec"]["suspend"] = True
    world.client.create(CronJob.from_dict(manifest))
    escrow = world.task(1)
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        run = world.pay()
    (message,) = world.await_event("pf-agent-payroll", "PayrollRun")
    assert "0.495 USDC paid: 1 paid" in message
    summary = next(entry for entry in run.said() if "paid_usdc" in entry)
    assert (summary["paid_usdc"], summary["paid"]) == ("0.495", 1)
    from lightkube.types import PatchType

    status = {"status": {"lastScheduleTime": "2026-01-01T00:00:00Z", "lastSuccessfulTime": "2026-01-01T00:00:09Z"}}
    world.client.patch(CronJob.Status, "pf-agent-payroll", status, patch_type=PatchType.MERGE)
    assert "no run has succeeded since 2026-01-01" in world.pay().log()


def test_a_wrong_setting_ends_it_with_2_and_a_silent_api_with_1(world):
    wrong = world.pay(code=2, **{Env.WORKER_WALLET: "", Env.RUN_CAP_USDC: "many"})
    assert "PF_WORKER_WALLET is not set" in wrong.log()
    assert "PF_RUN_CAP_USDC" in wrong.log()
    world.pay(code=1, KUBERNETES_SERVICE_PORT="1")
    silent = world.pay(code=1, **{Env.ESCROW_URL: "http://127.0.0.1:1"})
    assert world.key not in silent.log()


def test_the_key_and_the_token_are_in_no_line(world):
    escrow = world.task(1)
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        log = world.pay(**{Env.LOG_LEVEL: "DEBUG"}).log()
    assert world.key not in log
    assert world.token not in log


def test_a_settlement_is_two_writes_beside_what_binds_it_also_where_the_service_is_slow(world):
    """The note that it is being sent, and what came of it: no Job waits for payroll's intent."""
    escrow = world.task(1)
    none = world.client.list(Escrow)
    assert [*none] == []
    world.sandbox.fault("list", "delay", seconds=1.1)
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        world.pay()
    assert world.ledger() == {escrow: "released"}
    seen = islice(world.client.watch(Escrow, resource_version=none.resourceVersion), 3)
    assert [(event, one.get("status", {}).get("phase")) for event, one in seen] == [
        ("ADDED", None),
        ("MODIFIED", "Verifying"),
        ("MODIFIED", "Settled"),
    ]
