"""What Prometheus and Grafana are given: alerting rules and a dashboard. Each alert has a section in docs/runbook.md.

They speak of what the operator and the metrics server show, which live long, and of kube-state-metrics where a CronJob
or an HPA is meant: a counter in a pod of twenty seconds shows nothing, or one and a half times the truth.
"""

import json
from typing import Any, Final

import yaml

from components.manifests import naming
from components.manifests.naming import Manifest, metadata
from components.settings import Settings
from runtime.contract import Env

RULES_KEY: Final = "purpleflea.rules.yaml"
DASHBOARD_KEY: Final = "purpleflea.json"
RUNBOOK: Final = "docs/runbook.md"
_LISTED: Final = "escrow_last_list_timestamp_seconds"


def rules_map(settings: Settings) -> Manifest:
    """The ConfigMap with the rules: mount it where Prometheus' `rule_files` looks."""
    return _config_map(settings, naming.ALERTS, {}, RULES_KEY, yaml.safe_dump(rules(settings), sort_keys=False))


def dashboard_map(settings: Settings) -> Manifest:
    """The ConfigMap with the dashboard, under the label by which Grafana's sidecar finds such."""
    text = json.dumps(dashboard(settings), indent=1) + "\n"
    return _config_map(settings, naming.DASHBOARD, {"grafana_dashboard": "1"}, DASHBOARD_KEY, text)


def statement_map(settings: Settings) -> Manifest:
    """The ConfigMap that tells the statement where OpenCost is."""
    return _config_map(settings, naming.STATEMENT, {}, Env.OPENCOST_URL.value, settings.monitoring.open_cost_url)


def _config_map(settings: Settings, name: str, labels: dict[str, str], key: str, text: str) -> Manifest:
    about = metadata(settings, name)
    about["labels"] = {**about["labels"], **labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {key: text}}


def rules(settings: Settings) -> dict[str, Any]:
    """Prometheus' rules file."""
    return {"groups": [{"name": f"purpleflea-{settings.namespace}", "rules": [*_alerts(settings)]}]}


def _alerts(settings: Settings) -> list[dict[str, Any]]:
    silent = 3 * settings.operator.resync_seconds
    found = [
        _alert(
            settings, "EscrowNeedsReview", "max(escrow_review) > 0", "5m", "warning",
            "{{ $value }} escrows need a manual decision",
        ),
        _alert(
            settings, "EscrowUnsettled", "max(escrow_oldest_unsettled_seconds) > 900", "5m", "warning",
            "a Job ended {{ $value | humanizeDuration }} ago and its escrow is not settled",
        ),
        _alert(
            settings, "EscrowNearTimeout", "max(escrow_expiring) > 0", "1m", "critical",
            "{{ $value }} open escrows are within an hour of the service's time-out, which refunds completed work, too",
        ),
        _alert(
            settings, "EscrowBooksDiffer",
            'sum by (seen) (increase(escrow_comparisons_total{seen=~"disagrees|not-found"}[1h])) > 0', "0m", "critical",
            "the payment service and an account disagree: {{ $labels.seen }}",
        ),
        _alert(
            settings, "EscrowMalformed", "max by (kind) (escrow_malformed) > 0", "5m", "warning",
            "{{ $value }} objects of kind {{ $labels.kind }} cannot be read and are left alone",
        ),
        _alert(
            settings, "EscrowOperatorSilent",
            f"(time() - max({_LISTED}) > {silent}) or absent({_LISTED})",
            "5m", "critical", "no operator has listed its Jobs and accounts for a while: nothing is paid",
        ),
        _alert(
            settings, "EscrowKeyRefused", 'max(escrow_waiting{reason="Unauthorized"}) > 0', "1m", "critical",
            "the payment service refuses the payer's key: {{ $value }} accounts wait for it",
        ),
        _alert(
            settings, "EscrowWaiting",
            'max by (reason) (escrow_waiting{reason!~"Unauthorized|QuotaNotReserved"}) > 0', "30m", "warning",
            "{{ $value }} accounts wait: {{ $labels.reason }}",
        ),
        _alert(
            settings, "ScheduledRunUnfunded", 'sum(increase(escrow_funded_total{outcome="WaitEnded"}[1h])) > 0', "0m",
            "warning", "a schedule's run ended without having run: no money came for it in time",
        ),
        _alert(
            settings, "EscrowUnserved", "max(escrow_unserved) > 0", "5m", "warning",
            "{{ $value }} open escrows are in namespaces that are served no more: completed work is not paid there",
        ),
        _alert(
            settings, "EscrowBudgetNearlyUsed",
            "max by (namespace, budget) (escrow_budget_used_usdc / escrow_budget_limit_usdc) > 0.9", "5m", "warning",
            "namespace {{ $labels.namespace }} has used {{ $value | humanizePercentage }} of a budget: "
            "{{ $labels.budget }}",
        ),
    ]  # fmt: skip
    if settings.pays_workers:
        which = f'{{namespace="{settings.namespace}",cronjob="{naming.PAYROLL}"}}'
        patience = settings.payroll.starting_deadline_seconds + 300
        late = f"time() - max(kube_cronjob_next_schedule_time{which}) > {patience}"
        found.append(_alert(settings, "PayrollDidNotRun", late, "5m", "warning", "payroll is overdue: workers wait"))
    if settings.scales_workers:
        found += _scaling(settings)
    return found


def _scaling(settings: Settings) -> list[dict[str, Any]]:
    which = f'namespace="{settings.namespace}",horizontalpodautoscaler="{naming.AUTOSCALER}"'
    frozen = f'kube_horizontalpodautoscaler_status_condition{{{which},condition="ScalingActive",status="false"}} == 1'
    return [
        _alert(
            settings, "QueueUnknown", "(max(escrow_queue_known) == 0) or absent(escrow_queue_known)", "5m", "warning",
            "how much work waits is not known: the number of workers stays as it is",
        ),
        _alert(
            settings, "WorkersDoNotScale", f"max(escrow_queue_depth) > 0 and on() ({frozen})", "5m", "critical",
            "{{ $value }} tasks wait, and the autoscaler does nothing",
        ),
    ]  # fmt: skip


def _alert(settings: Settings, name: str, expression: str, lasts: str, severity: str, words: str) -> dict[str, Any]:
    base = settings.monitoring.runbook_url or RUNBOOK
    return {
        "alert": name,
        "expr": expression,
        "for": lasts,
        "labels": {"severity": severity, "stack": settings.namespace},
        "annotations": {"summary": words, "runbook_url": f"{base}#{name.lower()}"},
    }


_PANELS: Final = (
    ("Locked", "currencyUSD", ("max(escrow_locked_usdc)",)),
    ("In review", "short", ("max(escrow_review)",)),
    ("Oldest unsettled", "s", ("max(escrow_oldest_unsettled_seconds)",)),
    ("Near the time-out", "short", ("max(escrow_expiring)",)),
    ("Paid an hour", "currencyUSD", ("sum(increase(escrow_paid_usdc_total[1h]))",)),
    ("Settlements an hour", "short", ("sum by (action, outcome) (increase(escrow_settlements_total[1h]))",)),
    ("Time to settle", "s", (
        "histogram_quantile(0.5, sum by (le) (rate(escrow_settlement_seconds_bucket[15m])))",
        "histogram_quantile(0.99, sum by (le) (rate(escrow_settlement_seconds_bucket[15m])))",
    )),
    ("Budgets, used", "percentunit", (
        "max by (namespace, budget) (escrow_budget_used_usdc / escrow_budget_limit_usdc)",
    )),
    ("Compared with the service", "short", ("sum by (seen) (increase(escrow_comparisons_total[1h]))",)),
    ("Answers that were no plain yes", "short", ("sum by (api, kind) (increase(escrow_api_errors_total[1h]))",)),
    ("Jobs that wait", "short", ("sum(workqueue_depth)",)),
    ("Since the last list", "s", ("time() - max(escrow_last_list_timestamp_seconds)",)),
)  # fmt: skip
_STATS: Final = 4
"""The first so many are single numbers; the others are drawn over time."""


def dashboard(settings: Settings) -> dict[str, Any]:
    """Grafana's dashboard; it asks which Prometheus to read."""
    return {
        "uid": f"purpleflea-{settings.namespace}"[:40],
        "title": f"Purple Flea: {settings.namespace}",
        "tags": ["purpleflea"],
        "timezone": "utc",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, *panel) for number, panel in enumerate(_PANELS)],
    }


def _panel(number: int, title: str, unit: str, expressions: tuple[str, ...]) -> dict[str, Any]:
    stat = number < _STATS
    place = (
        {"x": 6 * number, "y": 0, "w": 6, "h": 4}
        if stat
        else {"x": 12 * (number % 2), "y": 4 + 8 * ((number - _STATS) // 2), "w": 12, "h": 8}
    )
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [{"refId": chr(65 + i), "expr": text, "datasource": source} for i, text in enumerate(expressions)]
    return {
        "id": number + 1,
        "title": title,
        "type": "stat" if stat else "timeseries",
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "decimals": 2 if unit == "currencyUSD" else None}, "overrides": []},
        "targets": targets,
    }
