"""Money under way on a real node, and what became of it: the ground of every day 2 trial.

The payment service is on this machine, so that its ledger is read directly and nothing that is sent to it is missed.
Jobs are small real pods that wait at a gate; a trial opens it when it wants them to end.
"""

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.manifests import naming
from components.stack_values import ROOT
from runtime.contract import ESCROW_REQUEST_ANNOTATION, WORK_ID_ANNOTATION
from runtime.sandbox.testing import RunningSandbox
from tests.e2e.books import Books
from tests.e2e.kubectl import Kubectl
from tests.e2e.stack import sandboxed
from tests.runtime.operator.proof import sent_once
from tests.toolchain import images, pods, waiting
from tests.toolchain.cluster import Cluster

AMOUNT = "0.10"
SETTLE_SECONDS = 240
_RENDER = """
import json, sys
from components.manifests import stack
from components.settings import Settings
given = json.load(sys.stdin)
parts = stack.parts(Settings.parse(given["settings"]), given["key"])
print(json.dumps([one for name, part in parts.items() if name != "Sandbox" for one in part]))
"""


class Gate(socketserver.ThreadingTCPServer):
    """Whoever connects waits until it is opened; then its connection ends, and so does that of all who come later."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        self._opened = threading.Event()
        super().__init__((address, 0), _Visitor)

    def open(self) -> None:
        self._opened.set()

    def shut(self) -> None:
        """For those who come from now on."""
        self._opened = threading.Event()

    def wait(self) -> None:
        """Until it is opened for whoever is here now."""
        self._opened.wait()

    def script(self) -> str:
        """For a shell in a pod: it ends once the gate is open, also if it was cut off meanwhile."""
        address, port = self.server_address
        return f"until busybox nc {address} {port} < /dev/null; do busybox sleep 1; done"


class _Visitor(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        self.server.wait()


@contextmanager
def gate(address: str) -> Iterator[Gate]:
    with Gate(address) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.open()
            server.shutdown()


@dataclass
class Trial:
    """The Jobs of one trial, each with a payee of its own."""

    name: str
    cluster: Cluster
    kubectl: Kubectl
    sandbox: RunningSandbox
    gate: Gate
    jobs: list[str] = field(default_factory=list)

    def begin(self, count: int = 1) -> list[str]:
        """So many more Jobs that ask for their money."""
        names = [f"{self.name}-{len(self.jobs) + number}" for number in range(count)]
        for name in names:
            self.create(name)
        self.jobs += names
        return names

    def create(self, name: str) -> None:
        """The Job of that name, by the same manifest at every call."""
        template = pods.template(pods.container("agent", self.gate.script())).to_dict()
        request = {"payee": f"payee-{name}", "amountUsdc": AMOUNT}
        annotations = {ESCROW_REQUEST_ANNOTATION: json.dumps(request), WORK_ID_ANNOTATION: name}
        spec = {"backoffLimit": 4, "template": template}
        self.kubectl.create(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": name, "annotations": annotations},
                "spec": spec,
            }
        )

    def await_running(self, names: list[str]) -> None:
        """Until their money is locked and their pods run."""
        for name in names:
            self.kubectl("wait", f"job/{name}", "--for=jsonpath={.status.ready}=1", "--timeout=150s")

    def phases(self) -> dict[str, str]:
        """Where the account of each Job stands."""
        return self._statuses("phase")

    def outcomes(self) -> dict[str, str]:
        """How each was settled, as its account says."""
        return self._statuses("outcome")

    def _statuses(self, part: str) -> dict[str, str]:
        found = {e["spec"]["job"]["name"]: e.get("status", {}) for e in self.kubectl.get("escrows")}
        return {name: found.get(name, {}).get(part, "none") for name in self.jobs}

    def await_settled(self) -> None:
        """Until every account is settled; fails at once with one that asks for a person."""

        def settled() -> bool:
            now = self.phases()
            assert "NeedsReview" not in now.values(), f"{now}\n{self.state()}"
            return {*now.values()} == {"Settled"}

        waiting.until(f"{self.name}: all is settled", settled, SETTLE_SECONDS, self.state)

    def state(self) -> str:
        """What a person would look at."""
        log = self.kubectl("logs", "--selector", "app.kubernetes.io/component=operator", "--tail=30")
        return f"{self.phases()}\n{self.kubectl('get', 'pods,jobs,escrows')}\n{log}"

    def await_operator(self) -> None:
        """Until the operator that its Deployment describes serves, and no other one."""
        self.kubectl("rollout", "status", f"deployment/{naming.OPERATOR}", "--timeout=180s")

    def books(self) -> Books:
        """Each Job paid once, by the ledger, by the accounts and by what was sent; else it says what is not."""
        found = Books.of(self.sandbox.statement(), {f"payee-{name}": AMOUNT for name in self.jobs})
        sent_once(self.sandbox)
        return found


def objects(settings: Mapping[str, Any], key: str, project: Path = ROOT) -> list[dict[str, Any]]:
    """A stack's objects but for its sandbox, by the code of a checkout."""
    given = json.dumps({"settings": settings, "key": key})
    done = subprocess.run(
        [sys.executable, "-c", _RENDER], cwd=project, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stack_settings(namespace: str, image: str, service: str) -> dict[str, Any]:
    """The operator and what it needs; it looks again every ten seconds."""
    off = ("worker", "payroll", "hpa", "mcp", "networkPolicy")
    return {
        **{part: {"enabled": False} for part in off},
        **sandboxed(namespace, image, service),
        "funding": {"mode": "request"},
        "operator": {"resyncSeconds": 10},
    }


def apply(kubectl: Kubectl, manifests: list[dict[str, Any]]) -> None:
    """As a pipeline does: server-side, the definitions first."""
    apply = ("apply", "--server-side", "--force-conflicts", "--filename", "-")
    definitions = [one for one in manifests if one["kind"] in {"CustomResourceDefinition", "Namespace"}]
    for some in filter(None, (definitions, [one for one in manifests if one not in definitions])):
        kubectl(*apply, stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": some}))


def await_gate(kubectl: Kubectl) -> None:
    """Until the API server suspends a Job that asks for money: a policy's binding takes a moment."""
    spec = {"template": pods.template(pods.container("agent", "true")).to_dict()}
    metadata = {"name": "probe", "annotations": {ESCROW_REQUEST_ANNOTATION: "{}"}}
    probe = json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})

    def acts() -> bool:
        check = ("create", "--filename", "-", "--dry-run=server", "--output=yaml")
        try:
            return "suspend: true" in kubectl(*check, stdin=probe)
        except AssertionError:  # refused: one of the two policies acts already
            return False

    waiting.until("the job gate acts", acts)


def previous_revision() -> str:
    """The commit before the last one that changed the image, or E2E_PREVIOUS; empty where git has none."""
    changed = _git("diff", "--name-only", "HEAD", "--", *images.SOURCES)
    last = _git("log", "-1", "--format=%H", "--", *images.SOURCES)
    before = "HEAD" if changed else _git("rev-parse", "--verify", "--quiet", f"{last}^")
    return os.environ.get("E2E_PREVIOUS") or before


def _git(*words: str) -> str:
    command = ["git", "-C", f"{ROOT}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
