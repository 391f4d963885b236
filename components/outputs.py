"""What a stack hands out: to agents' authors, to whoever pays, and to whoever takes it down."""

import json
from typing import Any

from components.manifests.agent_config import agent_config, budget
from components.manifests.escrow_crd import NAME as ESCROW_DEFINITION
from components.settings import Settings
from runtime.contract import ABANDONED_ANNOTATION, SETTLEMENT_FINALIZER

AGENT_CONFIG = "agentConfig"


def stack_outputs(settings: Settings) -> dict[str, Any]:
    """Name → value of every stack output; nothing secret is in them."""
    return {
        AGENT_CONFIG: agent_config(settings),
        "budget": budget(settings),
        "retained": _retained(settings),
        "lettingGo": _letting_go(settings),
    }


def _retained(settings: Settings) -> dict[str, Any]:
    """What `pulumi destroy` leaves, and how to remove it when the accounts are no longer needed."""
    if not settings.retention.keep_escrows:
        return {"objects": [], "note": "`pulumi destroy` deletes every Escrow account (retention.keepEscrows: false)"}
    namespace = [f"namespace/{settings.namespace}"] if settings.create_namespace else []
    objects = [f"crd/{ESCROW_DEFINITION}", *namespace]
    return {
        "objects": objects,
        "note": "these outlive `pulumi destroy`, because the Escrow accounts are in them (retention.keepEscrows: true)",
        "remove": f"kubectl delete {' '.join(objects)}",
    }


def _letting_go(settings: Settings) -> dict[str, str]:
    """A Job is held until its payment is recorded; this lets go of one that nobody will settle."""
    if not settings.operator.enabled:
        return {"note": "no operator in this stack: no Job is held"}
    job = f"kubectl -n {settings.namespace} patch job NAME --type=merge"
    edit = json.dumps({"metadata": {"finalizers": None, "annotations": {ABANDONED_ANNOTATION: "REASON"}}})
    return {
        "note": f"the finalizer {SETTLEMENT_FINALIZER} holds a Job until its payment is in `kubectl get escrows`",
        "command": f"{job} -p '{edit}'",
    }
