"""Holds what we render against the guides' listings, path by path."""

from typing import Any

_KEYS = ("containerPort", "name")
"""What tells the items of a list apart, where their order means nothing."""


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Path → value. Items of a list stand under their name, else their number; an empty part is a leaf itself."""
    if isinstance(tree, dict) and tree:
        parts = {f"{path}.{key}".lstrip("."): value for key, value in tree.items()}
    elif isinstance(tree, list) and tree:
        parts = {f"{path}[{_label(item, number)}]": item for number, item in enumerate(tree)}
    else:
        return {path: tree}
    return {leaf: value for place, part in parts.items() for leaf, value in leaves(part, place).items()}


def differences(listing: Any, rendered: Any) -> dict[str, str]:
    """Paths of the listing that we do not render, or render otherwise: path → how. `null` and `{}` ask for presence."""
    ours = leaves(rendered)
    found = {}
    for path, value in leaves(listing).items():
        if value in (None, {}):
            if not any(other == path or other.startswith((f"{path}.", f"{path}[")) for other in ours):
                found[path] = "not rendered"
        elif path not in ours:
            found[path] = "not rendered"
        elif ours[path] != value:
            found[path] = f"rendered as {ours[path]!r}, listed as {value!r}"
    return found


def unexplained(found: dict[str, str], reasons: dict[str, str]) -> list[str]:
    """Differences without a reason, and reasons without a difference. A reason covers all below its path."""
    told = [f"{path}: {how}" for path, how in found.items() if not any(_covers(reason, path) for reason in reasons)]
    idle = [reason for reason in reasons if not any(_covers(reason, path) for path in found)]
    return told + [f"{reason}: no longer differs; take it off the table" for reason in idle]


def _covers(reason: str, path: str) -> bool:
    return path == reason or path.startswith((f"{reason}.", f"{reason}["))


def _label(item: Any, number: int) -> Any:
    return next((item[key] for key in _KEYS if isinstance(item, dict) and key in item), number)
