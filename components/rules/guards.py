"""What stands between a request and the cluster: admission policies, webhooks, rules of definitions, Pod Security.

An expression that has changed may be looser or tighter, which no program can tell: a person is asked to read it.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from components.manifests.naming import Manifest

_POLICIES = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
_BINDINGS = tuple(f"{policy}Binding" for policy in _POLICIES)
_WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
_ACTS = {"ValidatingAdmissionPolicy": "validations", "MutatingAdmissionPolicy": "mutations"}
_LEVEL = "pod-security.kubernetes.io/enforce"
_LEVELS = ("privileged", "baseline", "restricted")


def loosened(before: Iterable[Manifest], after: Iterable[Manifest]) -> list[str]:
    """A sentence for each guard that is gone or does less, and for each that somebody has to read."""
    now = {(one["kind"], one["metadata"]["name"]): one for one in after}
    found: list[str] = []
    for old in before:
        kind, name = old["kind"], old["metadata"]["name"]
        new = now.get((kind, name))
        if kind in (*_POLICIES, *_BINDINGS, *_WEBHOOKS):
            found += [f"{kind} {name}: {what}" for what in (["is gone"] if new is None else _guard(kind, old, new))]
        elif new is not None and kind == "CustomResourceDefinition":
            found += [f"{kind} {name}: lacks the rule {rule}" for rule in sorted({*_rules(old)} - {*_rules(new)})]
        elif new is not None and kind == "Namespace" and _level(new) < _level(old):
            found.append(
                f"{kind} {name}: enforces {_LEVELS[_level(new)]} Pod Security, no longer {_LEVELS[_level(old)]}"
            )
    return found


def _guard(kind: str, old: Manifest, new: Manifest) -> Iterator[str]:
    before, after = (
        dict(one.get("spec") or {key: one[key] for key in ("webhooks",) if key in one}) for one in (old, new)
    )
    if before.pop("failurePolicy", "Fail") == "Fail" and after.pop("failurePolicy", "Fail") != "Fail":
        yield "lets requests pass where it cannot be evaluated (failurePolicy)"
    if kind in _BINDINGS:
        lost = {*(before.pop("validationActions", None) or ())} - {*(after.pop("validationActions", None) or ())}
        if lost:
            yield f"acts no longer by {', '.join(sorted(lost))}"
    if kind in _POLICIES:
        acts = _ACTS[kind]
        was, now = (_expressions(one.pop(acts, None)) for one in (before, after))
        if missing := was - now:
            does = f"{len(missing)} of its {acts} gone or changed"
            yield f"{does}; whether the {len(now - was)} new ones are as strict, somebody has to read"
    after.pop("failurePolicy", None)
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    if changed:
        yield f"{', '.join(changed)} changed; whether it still meets the same requests, somebody has to read"


def _expressions(acts: Any) -> set[str]:
    """Without the messages, which decide nothing."""
    told = ("message", "messageExpression", "reason")
    return {json.dumps({k: v for k, v in one.items() if k not in told}, sort_keys=True) for one in acts or ()}


def _rules(value: Any) -> Iterator[str]:
    """The expressions of every `x-kubernetes-validations` of a definition."""
    if isinstance(value, dict):
        for rule in value.get("x-kubernetes-validations") or ():
            yield str(rule.get("rule"))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _rules(item)


def _level(namespace: Manifest) -> int:
    level = (namespace["metadata"].get("labels") or {}).get(_LEVEL, _LEVELS[0])
    return _LEVELS.index(level) if level in _LEVELS else 0
