"""What a preview begins with: how many objects, how much money, which rights."""

from collections import Counter
from collections.abc import Iterator

from components.manifests import stack
from components.manifests.naming import Manifest
from components.settings import Settings
from components.settings.budget import exposure

_RIGHTS = ("Role", "ClusterRole")


def summary(settings: Settings) -> str:
    """Three short paragraphs of a stack as its settings stand; nothing is asked of a cluster."""
    objects = stack.objects(settings)
    if not objects:
        return "Objects: none (purpleflea.enabled is false)"
    kinds = Counter(manifest["kind"] for manifest in objects)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    lines = [
        f"Objects: {len(objects)} ({counted})",
        f"Money:   {_money(settings)}",
        "Rights:",
        *(f"  {line}" for line in _rights(objects)),
    ]
    return "\n".join(lines)


def _money(settings: Settings) -> str:
    most, cap = exposure(settings), settings.budget.cap_usdc
    source = "play money: the stack has a sandbox" if settings.sandbox.enabled else "real money"
    locked = f"at most {most}" if most.lines else "nothing that runs locks any"
    return f"{locked} ({source}; {'no cap' if cap is None else f'cap: {cap} USDC, budget.capUsdc'})"


def _rights(objects: list[Manifest]) -> Iterator[str]:
    """A line for each role: who has it, where, and what it permits."""
    roles = {_named(manifest): manifest for manifest in objects if manifest["kind"] in _RIGHTS}
    bound = [manifest for manifest in objects if manifest["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    for binding in bound:
        who = ", ".join(subject["name"] for subject in binding["subjects"])
        reference = binding["roleRef"]
        namespace = binding["metadata"].get("namespace", "")
        where = f"in {namespace}" if namespace else "in the whole cluster"
        role = roles.get((reference["kind"], namespace if reference["kind"] == "Role" else "", reference["name"]))
        permitted = "; ".join(map(_permitted, role["rules"])) if role else f"what {reference['name']} permits"
        yield f"{who}, {where}: {permitted}"


def _permitted(rule: Manifest) -> str:
    things = rule.get("resources") or rule.get("nonResourceURLs", [])
    only = f" ({', '.join(rule['resourceNames'])})" if rule.get("resourceNames") else ""
    return f"{'/'.join(rule['verbs'])} {', '.join(things)}{only}"


def _named(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
