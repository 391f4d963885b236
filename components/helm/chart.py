"""The files of a chart: hand-written templates, the stack's values, and what depends on no value, as files."""

import json
from pathlib import Path
from typing import Any

from components.helm.values import given, schema_file, values_file
from components.manifests import budget_crd, escrow_crd, extra, job_gate, ledger_policy, monitoring, overrides
from components.manifests.templating import PROJECT
from components.manifests.yaml_text import yaml_text
from components.settings import Agent, Settings, image_reference, names
from components.settings.checks import RESERVED_ENV
from runtime.contract import VERSION

NAME = "purpleflea"
_SOURCE = PROJECT / "templates" / "chart"
_NAMESPACE = "NAMESPACE-OF-THE-STACK"
"""Stands in a policy's text; the templates put the namespace there."""


def chart(settings: Settings, folder: Path) -> dict[str, str]:
    """Path → content of every file of the chart; `folder` is the stack file's, where its own manifests are."""
    templates = {
        path.relative_to(_SOURCE).as_posix(): path.read_text(encoding="utf-8").replace("@VERSION@", VERSION)
        for path in sorted(_SOURCE.rglob("*"))
        if path.is_file()
    }
    return {
        **templates,
        "Chart.yaml": yaml_text(_about()),
        "values.yaml": values_file(settings),
        "values.schema.json": schema_file(),
        **_fixed(),
        **_extra(settings, folder),
    }


def _about() -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": NAME,
        "description": "Pays AI agents on Kubernetes exactly once, and accounts for every cent.",
        "type": "application",
        "version": VERSION,
        "appVersion": VERSION,
        "icon": "https://purpleflea.com/favicon.ico",
    }


def _fixed() -> dict[str, str]:
    """What no value changes: the definitions' `spec`, policies but for the namespace in them, alerts, dashboard."""
    every = Settings().model_copy(update={"namespace": _NAMESPACE})
    agent = given(Settings.model_construct(agents=(Agent(name="x"),)))["agents"][0]
    [group] = monitoring.rules(every)["groups"]
    return {
        "files/agent.json": _json({key: value for key, value in agent.items() if key != "name"}),
        "files/names.json": _json(_names()),
        "files/escrows.yaml": yaml_text(escrow_crd.custom_resource_definition(every)["spec"]),
        "files/budgets.yaml": yaml_text(budget_crd.custom_resource_definition(every)["spec"]),
        "files/job-gate-mutating.yaml": yaml_text(job_gate.policy(every)["spec"]),
        "files/job-gate-validating.yaml": yaml_text(job_gate.guard(every)["spec"]),
        "files/ledger.yaml": yaml_text(ledger_policy.policy(every)["spec"]),
        "files/alerts.json": _json({"alerts": group["rules"]}),
        "files/dashboard.json": _json(monitoring.dashboard(Settings())),
    }


def _names() -> dict[str, Any]:
    """What the checks in the templates go by, as the settings' own do."""
    return {
        "variables": sorted(RESERVED_ENV),
        "containers": overrides.OUR_CONTAINERS,
        "volumes": overrides.OUR_VOLUMES,
        "accounts": overrides.PROGRAMS_ACCOUNTS,
        "pinnedImage": image_reference.PATTERN,
        "timeZones": sorted(names.time_zones()),
    }


def _extra(settings: Settings, folder: Path) -> dict[str, str]:
    """The stack's own manifests, each with its namespace, under the path that the settings give it."""
    found: dict[str, str] = {}
    for one in extra.load(settings, folder):
        path = f"extra/{one.source.rpartition(', ')[0]}"
        text = yaml_text(extra.without_pulumi(one.manifest))
        found[path] = f"{found[path]}---\n{text}" if path in found else text
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"
