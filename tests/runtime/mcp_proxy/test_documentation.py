"""docs/mcp.md names every reason, figure and field, and its examples work as they stand."""

import json
import re
from dataclasses import fields
from pathlib import Path

from runtime.mcp_proxy import proxy
from runtime.mcp_proxy.exchange import Line
from runtime.mcp_proxy.message import SIDECAR_ERROR, Reason
from runtime.mcp_proxy.rules import load

TEXT = Path("docs/mcp.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_reason_figure_and_field_is_named():
    assert {reason.value for reason in Reason} <= NAMED
    assert set(proxy._METRICS) <= NAMED
    assert {field.name for field in fields(Line)} - {"began"} <= NAMED
    assert str(SIDECAR_ERROR) in TEXT


def test_the_rules_shown_are_rules(tmp_path):
    (shown,) = [block for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) if "servers" in block]
    file = tmp_path / "rules.json"
    file.write_text(shown)
    rules = load(file, ["escrow", "faucet"])
    assert [budget.name for budget in rules.budgets] == ["pod", "day"]
    assert json.loads(shown)["servers"]["escrow"]["payees"] == ["ag_worker"]
