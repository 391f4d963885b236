"""Maximum exposure: the guide's arithmetic, to the micro-cent, and the cap that rests on it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings import BadSettings, Settings
from components.settings.budget import exposure


def test_guides_figures():
    """20 workers at 0.10 are 2.00 USDC, plus 0.02 of fees."""
    most = exposure(Settings.parse({"agents": []}))
    assert (most.amount, most.fee, most.total) == (Decimal("2.00"), Decimal("0.020000"), Decimal("2.020000"))


def test_fixed_number_of_workers_without_an_autoscaler():
    assert exposure(
        Settings.parse({"hpa": {"enabled": False}, "worker": {"replicas": 3}, "agents": []})
    ).amount == Decimal("0.30")


def test_jobs_count_once_whatever_their_parallelism():
    agents = [{"name": "a", "budgetUsdc": "1.5", "parallelism": 7}, {"name": "b", "schedule": "0 * * * *"}]
    most = exposure(Settings.parse({"worker": {"enabled": False}, "agents": agents}))
    assert str(most) == "1 Jobs x 1.50 + 1 CronJobs x 0.10 = 1.60 USDC, and 0.016 USDC of fees, together 1.616 USDC"


def test_nothing_runs():
    assert str(exposure(Settings.parse({"enabled": False}))).startswith("nothing runs = 0.00 USDC")


@pytest.mark.parametrize(("dialect", "least"), [("kubernetes", "0.10"), ("fly", "0.001"), ("server", "0.10")])
def test_what_the_service_would_refuse_is_refused_before(dialect, least):
    """And zero is a budget, not the absence of one."""
    mapping = {"api": {"dialect": dialect}, "hpa": {"enabled": False}}
    exposure(Settings.parse(mapping | {"agents": [{"name": "a", "budgetUsdc": least}]}))
    for amount in ("0", "0.00", str(Decimal(least) - Decimal("0.000001"))):
        for part in ({"agents": [{"name": "a", "budgetUsdc": amount}]}, {"worker": {"budgetUsdc": amount}}):
            with pytest.raises(BadSettings, match="below the service's minimum"):
                Settings.parse(mapping | part)


@given(st.integers(1, 1000), st.decimals("0.10", "100", places=6))
def test_cap_is_exact(workers, budget):
    mapping = {"agents": [], "hpa": {"minReplicas": 1, "maxReplicas": workers}, "worker": {"budgetUsdc": str(budget)}}
    total = exposure(Settings.parse(mapping)).total
    assert total >= workers * budget * Decimal("1.01")
    Settings.parse(mapping | {"budget": {"capUsdc": str(total)}})
    with pytest.raises(BadSettings, match="less than the stack may lock"):
        Settings.parse(mapping | {"budget": {"capUsdc": str(total - Decimal("0.000001"))}})


@pytest.mark.parametrize("limit", ["namespaceUsdc", "namespaceDailyUsdc", "agentUsdc", "payeeDailyUsdc"])
def test_a_limit_below_what_one_job_asks_for_is_refused(limit):
    asks = {"funding": {"mode": "request"}, "agents": [{"name": "a", "payee": "p", "budgetUsdc": "0.50"}]}
    assert Settings.parse({**asks, "budget": {limit: "0.50"}})
    with pytest.raises(BadSettings, match=f"purpleflea.budget.{limit}.*it would never run"):
        Settings.parse({**asks, "budget": {limit: "0.49"}})
