"""The alerting rules, by the real promtool; and that every metric they and the dashboard name exists."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from components.manifests import monitoring
from components.settings import Settings
from runtime.operator.metrics import Metrics
from tests.components.monitored import OF_OTHERS, missing_in
from tests.toolchain.fixtures import require

SETTINGS = Settings.parse({"monitoring": {"enabled": True}})
RULES = monitoring.rules(SETTINGS)["groups"][0]["rules"]
ROOT = Path(__file__).parents[3]

OPERATOR = {"escrow_last_list_timestamp_seconds": "0+60x120", "escrow_queue_known": "1x120"}
"""An operator that lists every minute, and a metrics server, and neither has anything to say."""
FIRES = {
    "EscrowNeedsReview": ({"escrow_review": "2x120"}, "9m", {}),
    "EscrowUnsettled": ({"escrow_oldest_unsettled_seconds": "0+60x120"}, "25m", {}),
    "EscrowNearTimeout": ({"escrow_expiring": "0x10 1x110"}, "12m", {}),
    "EscrowBooksDiffer": ({'escrow_comparisons_total{seen="disagrees"}': "0x10 1x110"}, "15m", {"seen": "disagrees"}),
    "EscrowMalformed": ({'escrow_malformed{kind="Escrow"}': "1x120"}, "9m", {"kind": "Escrow"}),
    "EscrowKeyRefused": ({'escrow_waiting{reason="Unauthorized"}': "3x120"}, "3m", {}),
    "EscrowWaiting": ({'escrow_waiting{reason="OverBudget"}': "2x120"}, "35m", {"reason": "OverBudget"}),
    "ScheduledRunUnfunded": ({'escrow_funded_total{outcome="WaitEnded"}': "0x10 1x110"}, "15m", {}),
    "EscrowUnserved": ({"escrow_unserved": "4x120"}, "9m", {}),
    "EscrowBudgetNearlyUsed": (
        {
            'escrow_budget_used_usdc{namespace="a",budget="namespace"}': "0.95x120",
            'escrow_budget_limit_usdc{namespace="a",budget="namespace"}': "1x120",
        },
        "9m",
        {"namespace": "a", "budget": "namespace"},
    ),
    "PayrollDidNotRun": (
        {'kube_cronjob_next_schedule_time{namespace="agent-jobs",cronjob="pf-agent-payroll"}': "600x120"},
        "40m",
        {},
    ),
    "QueueUnknown": ({"escrow_queue_known": "0x120"}, "6m", {}),
    "WorkersDoNotScale": (
        {
            "escrow_queue_depth": "7x120",
            'kube_horizontalpodautoscaler_status_condition{namespace="agent-jobs",horizontalpodautoscaler="pf-agent-hpa",'
            'condition="ScalingActive",status="false"}': "1x120",
        },
        "6m",
        {},
    ),
}
"""For each alert: what is seen beside `OPERATOR`, when it fires, and its further labels."""


@pytest.fixture
def promtool(tmp_path):
    """Runs promtool's tests of the rendered rules: `(series, moment, alert, labels, or None where it is silent)`."""
    program = require("promtool", "promtool")
    (tmp_path / "rules.yaml").write_text(monitoring.rules_map(SETTINGS)["data"][monitoring.RULES_KEY])

    def run(*cases):
        tests = []
        for series, moment, alert, labels in cases:
            expected = [] if labels is None else [{"exp_labels": {**labels_of(alert), **labels}}]
            for one in expected:
                one["exp_annotations"] = annotations_of(alert)
            shown = [{"series": name, "values": values} for name, values in series.items()]
            asked = [{"eval_time": moment, "alertname": alert, "exp_alerts": expected}]
            tests.append({"interval": "1m", "input_series": shown, "alert_rule_test": asked})
        document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
        (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
        command = [program, "test", "rules", "tests.yaml"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    run.check = lambda: subprocess.run(
        [program, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True
    )
    return run


def rule(alert):
    return next(rule for rule in RULES if rule["alert"] == alert)


def labels_of(alert):
    return rule(alert)["labels"]


VALUES = {
    "EscrowNeedsReview": "2 escrows need a manual decision",
    "EscrowUnsettled": "a Job ended 25m 0s ago and its escrow is not settled",
    "EscrowNearTimeout": "1 open escrows are within an hour of the service's time-out, "
    "which refunds completed work, too",
    "EscrowBooksDiffer": "the payment service and an account disagree: disagrees",
    "EscrowMalformed": "1 objects of kind Escrow cannot be read and are left alone",
    "EscrowKeyRefused": "the payment service refuses the payer's key: 3 accounts wait for it",
    "EscrowWaiting": "2 accounts wait: OverBudget",
    "EscrowUnserved": "4 open escrows are in namespaces that are served no more: completed work is not paid there",
    "WorkersDoNotScale": "7 tasks wait, and the autoscaler does nothing",
    "EscrowBudgetNearlyUsed": "namespace a has used 95% of a budget: namespace",
}


def annotations_of(alert):
    found = rule(alert)["annotations"]
    return found | {"summary": VALUES.get(alert, found["summary"])}


def test_promtool_reads_the_rules(promtool):
    done = promtool.check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_not_before(promtool):
    assert {*FIRES, "EscrowOperatorSilent"} == {rule["alert"] for rule in RULES}
    cases = []
    for alert, (series, moment, labels) in FIRES.items():
        cases.append((OPERATOR | series, moment, alert, labels))
        cases.append((OPERATOR, moment, alert, None))
        cases.append((OPERATOR | series, "0m", alert, None))
    idle = {**FIRES["WorkersDoNotScale"][0], "escrow_queue_depth": "0x120"}
    cases.append((OPERATOR | idle, "6m", "WorkersDoNotScale", None))
    cases.append((OPERATOR | {'escrow_waiting{reason="QuotaNotReserved"}': "9x120"}, "60m", "EscrowWaiting", None))
    cases.append((OPERATOR, "60m", "EscrowOperatorSilent", None))
    cases.append(({}, "6m", "EscrowOperatorSilent", {}))
    cases.append(({"escrow_last_list_timestamp_seconds": "0x120"}, "25m", "EscrowOperatorSilent", {}))
    done = promtool(*cases)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_is_wrong_is_seen(promtool):
    assert promtool((OPERATOR, "9m", "EscrowNeedsReview", {})).returncode == 1


def test_every_metric_that_is_named_exists():
    """Whether the operator, once it is started, shows these is seen by tests/runtime/operator/test_running.py."""
    assert missing_in(generate_latest(Metrics().registry).decode()) == OF_OTHERS


def test_every_alert_has_its_section_in_the_runbook():
    headings = re.findall(r"^## (\w+)$", (ROOT / monitoring.RUNBOOK).read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in RULES)
    url = Settings.parse({"monitoring": {"runbookUrl": "https://wiki.example/runbook"}})
    [first, *_] = monitoring.rules(url)["groups"][0]["rules"]
    assert first["annotations"]["runbook_url"] == "https://wiki.example/runbook#escrowneedsreview"


def test_the_dashboard_is_whole():
    board = json.loads(monitoring.dashboard_map(SETTINGS)["data"][monitoring.DASHBOARD_KEY])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len({*places}) == len(places)
    assert len({panel["id"] for panel in board["panels"]}) == len(places)
    assert "grafana_dashboard" in monitoring.dashboard_map(SETTINGS)["metadata"]["labels"]
