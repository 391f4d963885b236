"""The programs in examples/fly/ run as a user runs them, all at one sandbox."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from runtime.sandbox.testing import running_sandbox

ROOT = Path(__file__).parents[2]
README = ROOT / "examples" / "fly" / "README.md"

TOLD = {
    "per_token": (["60 tokens for 0.0060 USDC", "that piece was taken back"], {"released": 3, "cancelled": 1}),
    "mesh": (
        ["without an escrow: 402", "ranker pays fetcher 0.10", "caller pays ranker 0.25", "ranker(fetcher(news))"],
        {"released": 2},
    ),
    "milestones": (["week 2: the index: 0.10 USDC", "the subscription ends"], {"released": 2, "cancelled": 1}),
    "webhook": (["delivery 2: died, nothing paid", "forged: 401"], {"released": 1, "cancelled": 1}),
    "geo": (["Good morning, Ada", "lhr: 2 sold, 0.004 USDC", "nrt: 1 sold, 0.003 USDC"], {"released": 4}),
    "referrals": (["of which recruiter gets 0.00075", "of which first gets 0.0006"], {"released": 2}),
}
"""What each prints, and what has become of its escrows."""
REVENUE = {
    "mesh": {("caller", "ranker", None, "0.25"): 1, ("ranker", "fetcher", None, "0.10"): 1},
    "geo": {
        ("caller", "agent", "lhr", "0.002"): 2,
        ("caller", "agent", "nrt", "0.003"): 1,
        ("caller", "agent", "syd", "0.001"): 1,
    },
}
"""What each must tell apart, as the payment service has it: payer, payee, region and amount."""


def revenue(sandbox):
    found = Counter()
    for each in sandbox.statement()["escrows"]:
        more = json.loads(sandbox.escrows.get(each["escrow_id"])["metadata"]).get("metadata", {})
        found[each["from"], each["to"], more.get("fly_region"), each["locked_usdc"]] += 1
    return found


@pytest.fixture(scope="module")
def purple_flea():
    with running_sandbox() as sandbox:
        for payer in ("caller", "ranker"):
            sandbox.deposit(payer, "1.00")
        keys = {f"KEY_{name.upper()}": sandbox.issue_key(name) for name in ("caller", "fetcher", "ranker")}
        sandbox.environment = {"PATH": os.environ["PATH"], "ESCROW_BASE": sandbox.url, **keys}
        yield sandbox


@pytest.mark.parametrize("name", TOLD)
def test_an_example_runs_and_every_escrow_has_ended(purple_flea, name):
    printed, ended = TOLD[name]
    before, earned = Counter(each["status"] for each in purple_flea.statement()["escrows"]), revenue(purple_flea)
    ran = subprocess.run(
        [sys.executable, "-m", f"examples.fly.{name}"],
        cwd=ROOT,
        env=purple_flea.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for line in printed:
        assert line in ran.stdout
    statement = purple_flea.statement()
    assert Counter(each["status"] for each in statement["escrows"]) - before == ended
    assert statement["balanced"]
    if name in REVENUE:
        assert revenue(purple_flea) - earned == REVENUE[name]


def test_every_example_has_a_line():
    files = {path.stem for path in README.parent.glob("*.py")} - {"paying"}
    assert files == {*TOLD}
    assert [name for name in TOLD if f"`{name}.py`" not in README.read_text()] == []
