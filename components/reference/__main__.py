"""Reference pages that are written from the code: `python -m components.reference`, held by a test."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from components.manifests import naming, rbac
from components.manifests.rbac import Grant
from components.settings import Settings
from components.settings.description import REQUIRED, Described, Key, describe
from components.settings.section import Amounts, Resources
from components.settings.values import USDC_PATTERN

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_IN_ONE_LINE: Final = (Resources.__name__, Amounts.__name__)
"""Sections that are shown as a value of the key that holds them."""
_WRITTEN: Final = "<!-- Written by `make docs` from the code; do not edit. -->"


def pages() -> dict[str, str]:
    """File name in `docs/` → text."""
    return {"settings.md": settings_page(), "rbac.md": rbac_page()}


def settings_page() -> str:
    """Every key with what it takes, its default and its prose."""
    lines = [
        "# Settings",
        "",
        _WRITTEN,
        "",
        "All keys stand below `purpleflea:` in a stack's configuration, and have the same names in the Helm chart's",
        "values. An unknown key, a wrong type or a value out of bounds ends before anything is created; all mistakes",
        "are reported at once, each with its full path. Amounts are USDC in quotes, with at most six decimals.",
        "",
        "Schedules, quantities, images, names, labels, variables, networks and time zones are taken exactly where",
        "Kubernetes takes them. What it takes and hardly anybody means is a warning: a schedule with both day fields,",
        "which runs when either matches, or with a date that never comes. A section that is given in part keeps the",
        "defaults for the rest. Stack files are read as the Pulumi engine reads them (YAML by Go's yaml.v3: `on` and",
        "`1:30` are text, a key that stands twice is an error). A section that the engine would pass over silently and",
        "a file without `config` are mistakes too.",
        *(
            line
            for path, section in describe(Settings).walk()
            if section.name not in _IN_ONE_LINE
            for line in _section(path, section)
        ),
    ]
    return "\n".join(lines) + "\n"


def _section(path: str, section: Described) -> Iterator[str]:
    yield from ("", f"## `{path}`", "", section.prose, "")
    yield from ("| key | takes | default | |", "|---|---|---|---|")
    for key in section.keys:
        if key.section is None or _is_resources(key):
            takes = "requests and limits of `cpu` and `memory`" if key.section else _takes(key.takes)
            yield f"| `{key.name}` | {takes} | {_default(key)} | {key.prose} |"


def _is_resources(key: Key) -> bool:
    return key.section is not None and key.section.name == Resources.__name__


def _takes(field: Mapping[str, Any]) -> str:
    if kind := field.get("x-kubernetes-kind"):
        return f"a part of a `{kind}` of Kubernetes"
    if "anyOf" in field:
        return " or ".join(_takes(part) for part in field["anyOf"] if part.get("type") != "null")
    if choices := field.get("enum") or ([field["const"]] if "const" in field else []):
        return ", ".join(f"`{json.dumps(choice).strip(chr(34))}`" for choice in choices)
    match field.get("type"):
        case "integer":
            low, high = field.get("minimum"), field.get("maximum")
            return f"integer, {low} to {high}" if high is not None else f"integer from {low}"
        case "boolean":
            return "`true`, `false`"
        case "array":
            return f"list: {_takes(field['items'])}"
        case "object":
            inner = field.get("additionalProperties") or next(iter(field["patternProperties"].values()))
            return f"mapping to {_takes(inner)}"
    example = next(iter(field.get("examples", ())), "")
    return f"text like `{example}`" if example else "text"


def _default(key: Key) -> str:
    value = key.default
    if value is REQUIRED:
        return "required"
    if _is_resources(key):
        return "; ".join(f"`{value[part]['cpu']}, {value[part]['memory']}`" for part in ("requests", "limits"))
    if value is None or value in ("", [], {}):
        return "empty"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    is_amount = isinstance(value, str) and key.takes.get("pattern") == USDC_PATTERN
    return f"`{json.dumps(value)}`" if is_amount or isinstance(value, (dict, bool)) else f"`{value}`"


def rbac_page() -> str:
    """Who may do what, where and why, from the grants that the Roles are made from."""
    settings, with_check = Settings(), Settings.parse({"operator": {"admissionCheck": "pf-funding"}})
    granted: list[tuple[str, str, tuple[Grant, ...]]] = [
        (
            naming.AGENT_ACCOUNT,
            "the stack's namespace, with `credential: payer` only",
            rbac.secret_grants(settings),
        ),
        (naming.OPERATOR_ACCOUNT, "each watched namespace; the cluster with a selector", rbac.OPERATOR_GRANTS),
        (naming.OPERATOR_ACCOUNT, "the cluster, with a selector only", rbac.OPERATOR_CLUSTER_GRANTS[-1:]),
        (naming.OPERATOR_ACCOUNT, "each watched namespace, with `operator.admissionCheck` only", rbac.KUEUE_GRANTS),
        (naming.OPERATOR_ACCOUNT, "the cluster, with `operator.admissionCheck` only", rbac.check_grants(with_check)),
        (naming.OPERATOR_ACCOUNT, "the stack's namespace", rbac.CLAIM_GRANTS),
        (naming.OPERATOR_ACCOUNT, "the stack's namespace, with several replicas only", rbac.ELECTION_GRANTS),
        (naming.WORKER_ACCOUNT, "the stack's namespace, with a work log only", rbac.WORKER_GRANTS),
        (naming.PAYROLL_ACCOUNT, "the stack's namespace", rbac.PAYROLL_GRANTS),
        (naming.RETENTION_ACCOUNT, "each watched namespace; the cluster with a selector", rbac.RETENTION_GRANTS),
        (naming.RETENTION_ACCOUNT, "the cluster, with a selector only", rbac.RETENTION_CLUSTER_GRANTS[-1:]),
        (naming.METRICS_ACCOUNT, "the stack's namespace", rbac.METRICS_GRANTS),
        (naming.KEDA_ACCOUNT, "the stack's namespace, with `hpa.engine: keda` only", rbac.KEDA_GRANTS),
        (
            naming.METRICS_ACCOUNT,
            "the cluster, with `hpa.engine: hpa` and without cert-manager",
            rbac.METRICS_CA_GRANTS,
        ),
    ]
    rows = [
        f"| `{account}` | {' '.join(grant.verbs)} | `{_what(grant)}` | {where} | {grant.why} |"
        for account, where, grants in granted
        for grant in grants
    ]
    return _RBAC_HEAD + "\n".join([*_RBAC_TABLE, *rows]) + _RBAC_TAIL


def _what(grant: Grant) -> str:
    few = grant.names if len(grant.names) < 5 else (grant.names[0], "...", grant.names[-1])
    names = f" named {', '.join(few)}" if grant.names else ""
    return ", ".join(f"{resource}.{grant.group}".rstrip(".") for resource in grant.resources) + names


_RBAC_TABLE = ("| ServiceAccount | may | what | where | why |", "|---|---|---|---|---|")
_RBAC_HEAD = f"""# Who may do what, and why

{_WRITTEN}

Every program has a ServiceAccount of its own, and a token is mounted only into pods that talk to the API server: the
operator, workers, payroll, retention and the metrics server. Agents, workers without a work log, and the sandbox get
none.

"""
_RBAC_TAIL = """

Workers are also bound to the cluster's own `system:auth-delegator`: whose token is it that asks for the work log?

The metrics server is also bound to the cluster's own `system:auth-delegator` (may this caller read the metric?) and to
`extension-apiserver-authentication-reader` in `kube-system` (which front proxy may be believed?), unless KEDA is used.

Nobody but retention may delete an Escrow, and it only a settled one, which an admission policy holds it to. No one may
create or delete a Job, or read any Secret. People who resolve a `NeedsReview` do so with their own rights: `get`,
`list`, `patch` on `escrows` and `escrows/status`.

A Role does not keep a pod from a `secretKeyRef`, because the kubelet resolves it, nor anybody who may create pods from
naming one of these accounts. Admission policies do both: [who holds the key](credentials.md), with the rights that
somebody needs who runs agents in the namespace, and those that no tenant may have.
"""


def main() -> None:
    """Write the pages."""
    argparse.ArgumentParser(prog="python -m components.reference", description=__doc__).parse_args()
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
