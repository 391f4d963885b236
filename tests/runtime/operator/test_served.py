"""An account belongs to one payer, one service, one dialect: an operator that differs says so and leaves it alone."""

import json
from datetime import datetime, timedelta

import pytest
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from runtime.contract import Env
from runtime.kubernetes.claims import claim_name
from runtime.kubernetes.shape import stamp
from tests.runtime.operator.proof import agree
from tests.runtime.operator.test_budgets import asks, poke, waiting
from tests.runtime.operator.world import PAYER, Escrow, World, eventually
from tests.toolchain.clock import Clock
from tests.toolchain.tools import Missing

ASKS = json.dumps({"payee": "worker-agent-007", "amountUsdc": "0.50"})
QUICK = {Env.RESYNC_SECONDS: "1"}


def served(world: World, job: str) -> str:
    """Why an account is left alone, by its condition; empty where it is not."""
    conditions = world.escrow(job)["status"].get("conditions", [])
    return next((c["reason"] for c in conditions if c["type"] == "Served"), "")


def test_an_operator_of_another_payer_service_or_dialect_leaves_an_account_alone(world):
    first = world.operator(AGENT_ID=PAYER, **{Env.JOB_BUDGET_USDC: "0.50"})
    asks(world, "waits", "0.60")
    assert waiting(world, "waits").startswith("OverJobLimit")
    world.job("works", request=ASKS, suspend=True)
    world.await_resumed("works")
    first.kill()
    world.finish("works")
    somewhere_else = {Env.ESCROW_URL: world.sandbox.url.replace("127.0.0.1", "localhost"), Env.FORMER_URLS: "[]"}
    strangers = {
        "OtherPayer": {Env.API_KEY: world.sandbox.issue_key("rich"), "AGENT_ID": "rich"},
        "OtherService": somewhere_else,
        "OtherDialect": {Env.API_DIALECT: "kubernetes"},
    }
    for reason, changes in strangers.items():
        stranger = world.operator(**QUICK, **changes)
        for job in ("works", "waits"):
            world.eventually(lambda job=job, reason=reason: served(world, job) == reason, f"{job} says {reason}")
        eventually(lambda stranger=stranger: "escrow_foreign 2.0" in stranger.metrics(), "it is counted")
        assert "it is left alone" in world.await_event("works", reason)[0]
        stranger.kill()
    assert [call.act for call in world.sandbox.received] == ["create"]
    world.operator(AGENT_ID=PAYER)
    world.await_resumed("waits")
    assert world.await_phase("works", "Settled")["status"]["outcome"] == "Paid"
    assert served(world, "works") == ""


@pytest.mark.parametrize("world", ["kubernetes"], indirect=True)
def test_while_a_create_is_under_way_no_clock_and_no_other_key_leads_to_a_second_one(world, tmp_path):
    """An operator dies while its create is on the way; those that follow find out that nothing is there yet."""
    try:
        clock = Clock(tmp_path)
    except Missing as missing:
        pytest.skip(f"[controlplane] {missing}")
    world.sandbox.fault("create", "delay", seconds=8, times=1)
    first = world.operator()
    world.job("asks", request=ASKS, suspend=True)
    eventually(lambda: world.sandbox.received, "the create is on its way")  # it is on record before it is sent
    assert "creation" in world.escrow("asks")["status"]
    first.kill()
    with clock.shifted(300):
        assert clock.lives_in(world.operator(**clock.environment).log())
        world.eventually(lambda: conditions(world), "the second one waits")
    assert world.payments() == {}
    eventually(lambda: len(world.payments()) == 1, "the first one's create has arrived")
    poke(world, "asks")
    world.await_phase("asks", "Funded", seconds=100)
    assert len(world.payments()) == 1


@pytest.mark.parametrize("world", ["kubernetes"], indirect=True)
def test_a_create_that_another_key_sent_is_not_sent_again(world):
    """The key may be another payer's, who cannot see the escrow that is there."""
    world.sandbox.fault("create", "reset", moment="after", times=1)
    world.sandbox.fault("list", "status", status=503, body={"error": "maintenance"})
    first = world.operator()
    world.job("asks", request=ASKS, suspend=True)
    world.eventually(lambda: conditions(world), "it waits")
    first.kill()
    world.sandbox.clear_faults()
    escrow = world.escrow("asks")
    long_ago = escrow["status"]["creation"] | {"sentAt": stamp_before(escrow["status"]["creation"]["sentAt"])}
    name = escrow["metadata"]["name"]
    world.client.patch(Escrow.Status, name, {"status": {"creation": long_ago}}, patch_type=PatchType.MERGE)
    world.sandbox.deposit("rich", "5.00")
    rich = world.operator(**{Env.API_KEY: world.sandbox.issue_key("rich")})
    evidence = world.await_phase("asks", "NeedsReview")["status"]["evidence"]
    assert "with another API key, and is not found with this one" in evidence
    rich.kill()
    assert len(world.payments()) == 1


def conditions(world) -> list:
    """Those of the account, which has no status at all at first."""
    return (world.escrow("asks") or {}).get("status", {}).get("conditions", [])


def stamp_before(sent_at: str) -> str:
    """Ten minutes earlier."""
    return stamp(datetime.fromisoformat(sent_at) - timedelta(minutes=10))


def test_a_claim_that_somebody_deleted_is_made_anew_at_the_start(world):
    first = world.operator()
    escrow_id = world.fund()
    world.job("works", escrow_id)
    world.await_phase("works", "Funded")
    first.kill()
    world.client.delete(Lease, claim_name(escrow_id))
    world.job("thief", escrow_id)
    world.operator()
    status = world.await_phase("thief", "NeedsReview")["status"]
    assert "already pays for the Job" in status["evidence"]
    world.finish("works")
    world.await_phase("works", "Settled")
    assert agree(world)["works"] == "Settled"


def test_an_account_that_somebody_deletes_while_its_job_runs_is_settled_first(world):
    world.operator(**{Env.NAMESPACE_BUDGET_USDC: "1.00"}, **QUICK)
    world.job("works", request=ASKS, suspend=True)
    world.await_resumed("works")
    world.client.delete(Escrow, world.escrow("works")["metadata"]["name"])
    world.finish("works")
    world.eventually(lambda: world.escrow("works") is None, "the account is gone")
    world.eventually(lambda: not world.get_job("works").metadata.finalizers, "nothing holds the Job")
    assert list(world.payments().values()) == ["released"]
    eventually(lambda: world.budget()["lockedUsdc"] == "0.00", "nothing counts any more")
