"""The rendered dev stack on a cluster, by the commands of the README that lies beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.manifests import naming
from tests.e2e.kubectl import Kubectl
from tests.runtime.operator.world import PAYER
from tests.toolchain import waiting

OPERATOR = "app.kubernetes.io/component=operator"
PATIENCE = "--timeout=150s"


def sandboxed(namespace: str, image: str, service: str) -> dict[str, Any]:
    """Settings of a stack without agents, whose payment service is elsewhere and plays."""
    return {
        "namespace": namespace,
        "images": {"runtime": image},
        "sandbox": {"enabled": True},
        "services": {"faucetUrl": service, "escrowUrl": service},
        "faucet": {"claimOnStartup": False},
        "credentials": {"existingSecret": "", "agentWallet": PAYER},
        "agents": [],
    }


@dataclass(frozen=True)
class Stack:
    """The files in `folder`, applied through `kubectl`."""

    kubectl: Kubectl
    folder: Path

    def apply_foundation(self) -> None:
        """What stands before any Job, until the job gate acts: a binding takes a moment."""
        self.kubectl("apply", "--kustomize", f"{self.folder}/foundation")

        def acts() -> bool:
            check = ("create", "--filename", f"{self.folder}/gate-check.yaml", "--dry-run=server", "--output=yaml")
            try:
                return "suspend: true" in self.kubectl(*check)
            except AssertionError:  # refused: one of the two policies acts already
                return False

        waiting.until("the job gate acts", acts)

    def apply(self) -> None:
        """What runs."""
        self.kubectl("apply", "--kustomize", f"{self.folder}")

    def remove_jobs(self) -> None:
        """First the Jobs, while there is an operator to settle them; then what runs. A second time finds nothing."""
        self.kubectl("delete", "cronjobs,jobs", "--all", PATIENCE)
        self.kubectl("delete", "--kustomize", f"{self.folder}", "--ignore-not-found", PATIENCE)

    def remove_foundation(self) -> None:
        """Last the accounts: closed ones are held by nobody."""
        self.kubectl("delete", "--kustomize", f"{self.folder}/foundation", "--ignore-not-found", PATIENCE)

    def escrows(self) -> dict[str, dict[str, Any]]:
        """Each Escrow by its Job's name, as spec and status in one."""
        return {e["spec"]["job"]["name"]: {**e["spec"], **e.get("status", {})} for e in self.kubectl.get("escrows")}

    def await_escrow(self, job: str, phase: str) -> dict[str, Any]:
        """The Escrow of a Job, by the start of its name, once it is in a phase."""

        def found() -> list[dict[str, Any]]:
            return [e for name, e in self.escrows().items() if name.startswith(job) and e.get("phase") == phase]

        waiting.until(f"the Escrow of {job} is {phase}", found, seconds=150, state=self.state)
        return found()[0]

    def statement(self) -> dict[str, Any]:
        """The sandbox's own books."""
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/services/{naming.SANDBOX}:8080/proxy/statement"
        return json.loads(self.kubectl.raw(path))

    def conditions(self) -> Iterator[str]:
        """A line each for what is there now: programs, pods of Jobs, Escrows."""
        for deployment in self.kubectl.get("deployments"):
            status = deployment.get("status", {})
            ready, wanted = status.get("readyReplicas", 0), deployment["spec"]["replicas"]
            yield f"deployment {deployment['metadata']['name']}: {ready} of {wanted} ready"
        for job in self.kubectl.get("jobs"):
            true = {one["type"] for one in job.get("status", {}).get("conditions", []) if one["status"] == "True"}
            ended = [word.lower() for word in ("Complete", "Failed") if word in true]
            now = "waits for its money" if job["spec"].get("suspend") else "runs"
            yield f"job {job['metadata']['name']}: {ended[0] if ended else now}"
        for name, escrow in self.escrows().items():
            money = f"{escrow.get('lockedUsdc', '?')} USDC locked, {escrow.get('paidUsdc', 'nothing yet')} paid"
            yield f"escrow of {name}: {escrow.get('phase', 'new')}, {money}"

    def state(self) -> str:
        """What a person would look at when it does not go on."""
        log = self.kubectl("logs", "--selector", OPERATOR, "--tail=20")
        return self.kubectl("get", "pods,jobs,escrows,events") + log
