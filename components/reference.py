"""Reference pages that are written from the code: `python -m components.reference`, held by a test."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel

from components.manifests import naming, rbac
from components.manifests.rbac import Grant
from components.settings import Settings, usdc_text
from components.settings.section import Resources

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
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
        *_sections(Settings, "purpleflea"),
    ]
    return "\n".join(lines) + "\n"


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    schema = model.model_json_schema(by_alias=True)
    yield from ("", f"## `{path}`", "", " ".join((model.__doc__ or "").split()), "")
    yield from ("| key | takes | default | |", "|---|---|---|---|")
    nested: list[tuple[type[BaseModel], str]] = []
    for name, info in model.model_fields.items():
        alias, inner = str(info.alias), _model(info.annotation)
        if inner is not None and inner is not Resources:
            repeated = "[]" if isinstance(info.default, tuple) else ""
            nested.append((inner, f"{path}.{alias}{repeated}"))
            continue
        takes = "requests and limits of `cpu` and `memory`" if inner else _takes(schema, schema["properties"][alias])
        default = "required" if info.is_required() else _default(getattr(model, name, info.default))
        yield f"| `{alias}` | {takes} | {default} | {' '.join((info.description or '').split())} |"
    for inner, place in nested:
        yield from _sections(inner, place)


def _model(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _takes(schema: dict[str, Any], field: dict[str, Any]) -> str:
    if "$ref" in field:
        field = schema["$defs"][field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        return " or ".join(_takes(schema, part) for part in field["anyOf"] if part.get("type") != "null")
    if choices := field.get("enum") or ([field["const"]] if "const" in field else []):
        return ", ".join(f"`{json.dumps(choice).strip(chr(34))}`" for choice in choices)
    match field.get("type"):
        case "integer":
            low, high = field.get("minimum"), field.get("maximum")
            return f"integer, {low} to {high}" if high is not None else f"integer from {low}"
        case "boolean":
            return "`true`, `false`"
        case "array":
            return f"list: {_takes(schema, field['items'])}"
        case "object":
            inner = field.get("additionalProperties") or next(iter(field["patternProperties"].values()))
            return f"mapping to {_takes(schema, inner)}"
    example = next(iter(field.get("examples", ())), "")
    return f"text like `{example}`" if example else "text"


def _default(value: Any) -> str:
    if isinstance(value, Resources):
        shown = [f"{part.cpu}, {part.memory}" for part in (value.requests, value.limits)]
        return f"`{shown[0]}`; `{shown[1]}`"
    if value is None or value in ("", (), {}):
        return "empty"
    if isinstance(value, Decimal):
        return f'`"{usdc_text(value)}"`'
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{json.dumps(value)}`" if isinstance(value, (dict, bool)) else f"`{value}`"


def rbac_page() -> str:
    """Who may do what, where and why, from the grants that the Roles are made from."""
    settings = Settings()
    granted: list[tuple[str, str, tuple[Grant, ...]]] = [
        (naming.AGENT_ACCOUNT, "the stack's namespace", rbac.secret_grants(settings)),
        (naming.OPERATOR_ACCOUNT, "each watched namespace; the cluster with a selector", rbac.OPERATOR_GRANTS),
        (naming.OPERATOR_ACCOUNT, "the cluster, with a selector only", rbac.OPERATOR_CLUSTER_GRANTS[-1:]),
        (naming.OPERATOR_ACCOUNT, "the stack's namespace", rbac.CLAIM_GRANTS),
        (naming.OPERATOR_ACCOUNT, "the stack's namespace, with several replicas only", rbac.ELECTION_GRANTS),
        (naming.PAYROLL_ACCOUNT, "the stack's namespace", rbac.PAYROLL_GRANTS),
        (naming.METRICS_ACCOUNT, "the cluster, unless cert-manager or KEDA is used", rbac.METRICS_CA_GRANTS),
    ]
    rows = [
        f"| `{account}` | {' '.join(grant.verbs)} | `{_what(grant)}` | {where} | {grant.why} |"
        for account, where, grants in granted
        for grant in grants
    ]
    return _RBAC_HEAD + "\n".join([*_RBAC_TABLE, *rows]) + _RBAC_TAIL


def _what(grant: Grant) -> str:
    names = f" named {', '.join(grant.names)}" if grant.names else ""
    return ", ".join(f"{resource}.{grant.group}".rstrip(".") for resource in grant.resources) + names


_RBAC_TABLE = ("| ServiceAccount | may | what | where | why |", "|---|---|---|---|---|")
_RBAC_HEAD = f"""# Who may do what, and why

{_WRITTEN}

Every program has a ServiceAccount of its own, and a token is mounted only into pods that talk to the API server: the
operator, payroll and the metrics server. Agents, workers and the sandbox get none.

"""
_RBAC_TAIL = """

The metrics server is also bound to the cluster's own `system:auth-delegator` (may this caller read the metric?) and to
`extension-apiserver-authentication-reader` in `kube-system` (which front proxy may be believed?), unless KEDA is used.

No one may delete an Escrow, create or delete a Job, or read any Secret but the agent's own by name. People who resolve
a `NeedsReview` do so with their own rights: `get`, `list`, `patch` on `escrows` and `escrows/status`.

A Role does not keep a pod from a `secretKeyRef`, because the kubelet resolves it. An admission policy therefore lets
only pods of the ServiceAccounts above, and of those in `purpleflea.admission.allowedServiceAccounts`, refer to the
credentials Secret. It does not stop someone who may create pods from naming such a ServiceAccount: whoever may create
pods in the namespace may spend its money.
"""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
