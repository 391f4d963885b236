"""What a changed configuration of a provider means: a diff for everybody, or a replacement of all it made."""

from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
_IDENTIFIER = "clusterIdentifier"


def differences(old: Json, new: Json) -> tuple[list[str], list[str]]:
    """The keys that changed, and those of them for which the provider, and so each object of its, is replaced."""
    changed = sorted(key for key in {*old, *new} - {"version"} if old.get(key) != new.get(key))
    identified = old.get(_IDENTIFIER) and new.get(_IDENTIFIER)
    if identified:
        return changed, [key for key in changed if key == _IDENTIFIER]
    before, after = _cluster(old), _cluster(new)
    moved = before and after and before != after
    return changed, [key for key in changed if moved and key in ("kubeconfig", "context", "cluster")]


def _cluster(inputs: Json) -> Json | None:
    """The cluster that the kubeconfig's current context names; None where there is no kubeconfig to read."""
    given = inputs.get("kubeconfig") or ""
    if given and Path(given).is_file():
        given = Path(given).read_text()
    config = yaml.safe_load(given)
    if not isinstance(config, dict):
        return None
    context = inputs.get("context") or config.get("current-context")
    clusters = [each["context"]["cluster"] for each in config["contexts"] if each["name"] == context]
    return next((each["cluster"] for each in config["clusters"] if each["name"] in clusters), None)
