"""The metrics that the alerting rules and the dashboard name."""

import re

from components.manifests import monitoring
from components.settings import Settings

OF_OTHERS = {
    "kube_cronjob_next_schedule_time", "kube_horizontalpodautoscaler_status_condition",  # kube-state-metrics' own
    "escrow_queue_known", "escrow_queue_depth",  # the metrics server's; tests/runtime/metrics_server sees them
}  # fmt: skip
"""Those that are not the operator's."""


def missing_in(page: str) -> set[str]:
    """Those of which no family is on a page of metrics, whether it has samples yet or not."""
    settings = Settings.parse({"monitoring": {"enabled": True}})
    expressions = [rule["expr"] for rule in monitoring.rules(settings)["groups"][0]["rules"]]
    expressions += [target["expr"] for panel in monitoring.dashboard(settings)["panels"] for target in panel["targets"]]
    asked = {name for text in expressions for name in re.findall(r"\b(?:escrow|workqueue|leader|kube)_\w+", text)}
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    histograms = [name for name, kind in families.items() if kind == "histogram"]
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    return asked - families.keys() - parts
