"""The stack's outputs: for agents' authors, for the payer, and for whoever removes the stack."""

import json
from typing import Any

from components.manifests import kustomization, naming, stack
from components.manifests.agent_config import agent_config, budget
from components.manifests.budget_crd import NAME as BUDGET_DEFINITION
from components.manifests.escrow_crd import NAME as ESCROW_DEFINITION
from components.manifests.fly_deploy import NOTE, deploy_commands
from components.settings import Settings
from runtime.contract import ABANDONED_ANNOTATION, SETTLEMENT_FINALIZER, Port

AGENT_CONFIG = "agentConfig"
RETAINED = "retained"
LETTING_GO = "lettingGo"
NEXT = "next"
FLY = "fly"


def stack_outputs(settings: Settings, folder: str) -> dict[str, Any]:
    """Name → value of every stack output; nothing secret is in them. `folder` has the artifacts, e.g. `dist/dev`."""
    return {
        AGENT_CONFIG: agent_config(settings),
        "budget": budget(settings),
        RETAINED: _retained(settings),
        LETTING_GO: _letting_go(settings),
        NEXT: _next(settings),
        FLY: _fly(settings, folder),
    }


def _next(settings: Settings) -> dict[str, str]:
    """The commands to run after `up`: they show the Jobs, the Escrows, and the sandbox's ledger where there is one."""
    if settings.target == "artifacts":
        return {"files": "README.md in the stack's folder below dist/ says what each is for and how to apply them"}
    if not settings.enabled:
        return {}
    in_namespace = f"kubectl -n {settings.namespace}"
    look = {"work": f"{in_namespace} get jobs,cronjobs,pods", "money": f"{in_namespace} get escrows"}
    if stack.left_to_others(settings):
        look["administrator"] = (
            "`make render`, then in the stack's folder below dist/, by somebody with rights to the whole cluster: "
            f"kubectl apply -k {kustomization.ADMINISTRATOR}"
        )
    if settings.sandbox.enabled:
        port = Port.SANDBOX.value
        look["ledger"] = f"{in_namespace} port-forward service/{naming.SANDBOX} {port}, then http://127.0.0.1:{port}/"
    return look


def _fly(settings: Settings, folder: str) -> dict[str, Any]:
    """How the Fly app is deployed from its files."""
    commands = deploy_commands(settings, folder)
    return {"note": NOTE, "commands": commands} if commands else {}


def _retained(settings: Settings) -> dict[str, Any]:
    """What `pulumi destroy` leaves, and how to remove it when the accounts are no longer needed."""
    if settings.target == "artifacts":
        return {"objects": [], "note": "`pulumi destroy` removes the generated files, but for those edited since"}
    if not settings.retention.keep_escrows:
        return {"objects": [], "note": "`pulumi destroy` deletes every Escrow account (retention.keepEscrows: false)"}
    namespace = [f"namespace/{settings.namespace}"] if settings.create_namespace else []
    definitions = [f"crd/{ESCROW_DEFINITION}", f"crd/{BUDGET_DEFINITION}"] if settings.create_crd else []
    objects = [*definitions, *namespace]
    if not objects:
        return {"objects": [], "note": "definition and namespace are somebody else's, and with them the accounts"}
    return {
        "objects": objects,
        "note": "these outlive `pulumi destroy`, because the Escrow accounts are in them (retention.keepEscrows: true)",
        "remove": f"kubectl delete {' '.join(objects)}",
    }


def _letting_go(settings: Settings) -> dict[str, str]:
    """How to remove the finalizer of a Job that no operator will settle."""
    if not settings.operator.enabled:
        return {"note": "no operator in this stack: no Job is held"}
    job = f"kubectl -n {settings.namespace} patch job NAME --type=merge"
    edit = json.dumps({"metadata": {"finalizers": None, "annotations": {ABANDONED_ANNOTATION: "REASON"}}})
    return {
        "note": f"the finalizer {SETTLEMENT_FINALIZER} holds a Job until its payment is in `kubectl get escrows`",
        "command": f"{job} -p '{edit}'",
    }
