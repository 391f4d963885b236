"""A namespace with the rendered rights of workers, payroll and operator, a funded sandbox, and each program as a real
process with its own ServiceAccount's token."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import lightkube
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Pod, ServiceAccountToken
from lightkube.types import PatchType

from components.manifests import naming, payroll, rbac
from components.settings import Settings
from runtime.contract import RUN_ONCE, WORK_DONE_ANNOTATION, WORK_LOG_AUDIENCE, Env, ProgramName
from runtime.kubernetes.new_escrow import task_account
from runtime.sandbox.testing import RunningSandbox
from runtime.work_log import Entry, WorkLog, read_lines
from tests.runtime.forked import begin
from tests.runtime.operator.proof import sent_once
from tests.runtime.operator.world import DEADLINE_SECONDS, START_SECONDS, Escrow, World, _mounted, eventually, free_port
from tests.toolchain.cluster import Cluster

WALLET = "worker-wallet-001"


class RuntimeProcess:
    """One program of the runtime, with its output kept; `without` are modules that it shall not find."""

    def __init__(self, environment: dict[str, str], module: str, *arguments: str, without: Iterable[str] = ()) -> None:
        self._log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        environment = {"PATH": os.environ["PATH"], **environment}
        self.process = begin(environment, self._log.name, module, *arguments, without=without)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def said(self) -> list[dict[str, Any]]:
        """What it logged, line by line."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        self.process.terminate()
        return self.process.wait(seconds)

    def wait(self, seconds: float = START_SECONDS) -> int:
        return self.process.wait(seconds)


class WorkerProcess(RuntimeProcess):
    """`python -m runtime.agent_worker`, which serves on `port`."""

    def __init__(self, environment: dict[str, str], port: int, *arguments: str) -> None:
        self.port = port
        self.workspace = Path(environment[Env.WORKSPACE])
        super().__init__(environment | {Env.HEALTH_PORT: f"{port}"}, "runtime.agent_worker", *arguments)
        eventually(lambda: self.get("/readyz") == 200 or self.process.poll() is not None, "it is ready", START_SECONDS)
        assert self.process.poll() is None, self.log()

    def get(self, path: str, token: str = "") -> int:
        try:
            return self.read(path, token).status_code
        except httpx.TransportError:
            return 0

    def read(self, path: str, token: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False, verify=False)

    def entries(self) -> list[Entry]:
        """What its log has."""
        return [*WorkLog(self.workspace / "work-log.jsonl").entries()]

    def done(self) -> list[str]:
        """Escrows of the tasks that it has ended."""
        return [entry.escrow or "" for entry in self.entries() if entry.outcome]


@dataclass
class PayrollWorld(World):
    """One test's namespace, sandbox, workers and runs of payroll."""

    folder: Path = Path()
    processes: list[RuntimeProcess] = field(default_factory=list)
    accounts: dict[str, Path] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    """Payroll's, for the work logs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sandbox.issue_key(WALLET)
        for account in (naming.WORKER_ACCOUNT, naming.PAYROLL_ACCOUNT):
            self.accounts[account] = _mounted(self.cluster.kubeconfig_for(account, self.namespace), self.namespace)
        self.token = self.token_of(naming.PAYROLL_ACCOUNT)
        (self.folder / "token").write_text(self.token)

    def token_of(self, account: str, *audiences: str) -> str:
        """A token of a ServiceAccount, for the work logs unless it is for others."""
        spec = TokenRequestSpec(audiences=[*(audiences or (WORK_LOG_AUDIENCE,))], expirationSeconds=3600)
        request = ServiceAccountToken(metadata=ObjectMeta(), spec=spec)
        return self.client.create(request, account, namespace=self.namespace).status.token

    def settings(self) -> Settings:
        return Settings.parse({"namespace": self.namespace, "createNamespace": False, "worker": {"payee": WALLET}})

    def manifests(self) -> list[dict[str, Any]]:
        settings = self.settings()
        return [
            *super().manifests(),
            rbac.service_account(settings, naming.WORKER_ACCOUNT, ProgramName.WORKER),
            rbac.worker_role(settings),
            rbac.worker_role_binding(settings),
            rbac.worker_auth_delegator(settings),
            rbac.service_account(settings, naming.PAYROLL_ACCOUNT, ProgramName.PAYROLL),
            rbac.payroll_role(settings),
            rbac.payroll_role_binding(settings),
        ]

    def close(self) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.kill()
        super().close()
        from lightkube.resources.rbac_authorization_v1 import ClusterRoleBinding

        self.client.delete(ClusterRoleBinding, rbac.worker_auth_delegator(self.settings())["metadata"]["name"])

    def _as_pod(self, account: str) -> dict[str, str]:
        url = urlsplit(self.cluster.url)
        return {
            "SERVICE_ACCOUNT": str(self.accounts[account]),
            "KUBERNETES_SERVICE_HOST": str(url.hostname),
            "KUBERNETES_SERVICE_PORT": str(url.port),
            Env.API_DIALECT: self.dialect,
            Env.ESCROW_URL: self.sandbox.url,
            Env.ALLOW_HTTP: "true",
            Env.WORKER_WALLET: WALLET,
            Env.POD_NAMESPACE: self.namespace,
        }

    def await_(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
        """The first true value of `condition`; else what every process has said."""
        try:
            return eventually(condition, what, seconds)
        except AssertionError as error:
            logs = "\n".join(process.log()[-3000:] for process in self.processes)
            raise AssertionError(f"{error}\n{self.kept()} {self.holders()}\n{logs}") from None

    # --- workers

    def worker(self, name: str, *arguments: str, port: int | None = None, **changes: str) -> WorkerProcess:
        """A worker as a pod of that name has it; started again under the name it finds its workspace."""
        workspace = self.folder / name
        workspace.mkdir(exist_ok=True)
        environment = {
            **self._as_pod(naming.WORKER_ACCOUNT),
            Env.WORKSPACE: f"{workspace}",
            Env.TASK_DESCRIPTION: "add up the prices",
            Env.WORK_LOG_READER: f"system:serviceaccount:{self.namespace}:{naming.PAYROLL_ACCOUNT}",
            Env.POLL_SECONDS: "1",
            Env.POD_NAME: name,
            **changes,
        }
        started = WorkerProcess(environment, port or free_port(), *arguments)
        self.processes.append(started)
        return started

    def pod(self, name: str, port: int, address: str = "127.0.0.1", phase: str = "Running") -> None:
        """The pod of a worker, at an address on which a test's process answers."""
        labels = naming.selector(ProgramName.WORKER)
        ports = [{"name": "worker", "containerPort": port}]
        containers = [{"name": "agent", "image": "agent:1", "ports": ports}]
        manifest = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": containers}}
        self.client.create(Pod.from_dict(manifest))
        self.set_pod(name, address, phase)

    def set_pod(self, name: str, address: str = "127.0.0.1", phase: str = "Running") -> None:
        status = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}]}
        self.client.patch(Pod.Status, name, {"status": status}, patch_type=PatchType.MERGE)

    def worker_with_pod(self, name: str, *arguments: str, **changes: str) -> WorkerProcess:
        """Both."""
        started = self.worker(name, *arguments, **changes)
        self.pod(name, started.port)
        return started

    def kept(self) -> list[str]:
        """Escrows of what the claims keep."""
        leases = self.client.list(Lease, namespace=self.namespace)
        texts = [(lease.metadata.annotations or {}).get(WORK_DONE_ANNOTATION, "") for lease in leases]
        return [entry.escrow or "" for text in texts for entry in read_lines(text.encode())[0]]

    def holders(self) -> set[str]:
        """Workers that hold a claim."""
        leases = self.client.list(Lease, namespace=self.namespace)
        return {lease.spec.holderIdentity for lease in leases if lease.metadata.name.startswith("pf-task-")} - {
            "",
            None,
        }

    # --- escrows

    def task(self, number: int, amount: str = "0.50", payee: str = WALLET) -> str:
        """The payer locks money for a task, as the guide does with curl; the escrow's id."""
        return self.fund(amount, payee, f"task-by-hand-{number:04d}")

    def handed(self, escrow_id: str, amount: str = "0.50", payee: str = WALLET, *, pending: bool = False) -> None:
        """Its account, as payroll hands it out; or still pending, as a person makes it where the service lists none."""
        from runtime.kubernetes.new_escrow import new_task_escrow
        from runtime.money import Usdc

        body = new_task_escrow(self.namespace, escrow_id, dialect=self.dialect, payee=payee, amount=Usdc.parse(amount))
        self.client.create(Escrow.from_dict(body))
        if pending:
            return
        status = {"phase": "Funded", "lockedUsdc": amount, "payee": payee}
        name = task_account(escrow_id)
        self.client.patch(Escrow.Status, name, {"status": status}, patch_type=PatchType.MERGE)

    # --- payroll

    def payroll_environment(self, **changes: str) -> dict[str, str]:
        """Payroll's, with the values that a stack renders."""
        rendered = {one["name"]: one["value"] for one in payroll.container(self.settings())["env"] if "value" in one}
        return {
            **rendered,
            **self._as_pod(naming.PAYROLL_ACCOUNT),
            Env.API_KEY: self.key,
            Env.POD_NAME: "payroll-1",
            Env.WORK_LOG_TOKEN_FILE: f"{self.folder / 'token'}",
            **changes,
        }

    def payroll(self, *arguments: str, without: Iterable[str] = (), **changes: str) -> RuntimeProcess:
        """A run, begun."""
        environment = self.payroll_environment(**changes)
        started = RuntimeProcess(environment, "runtime.payroll", *arguments, without=without)
        self.processes.append(started)
        return started

    def pay(self, *arguments: str, code: int = 0, **changes: str) -> RuntimeProcess:
        """A run, to its end."""
        run = self.payroll(*arguments, **changes)
        assert run.wait() == code, run.log()
        return run

    def task_status(self, escrow_id: str) -> dict[str, Any]:
        """What the account of an escrow's task says."""
        return self.client.get(Escrow, task_account(escrow_id)).to_dict()["status"]

    def outcomes(self) -> dict[str, str]:
        """Phase or outcome of each task's account, by its escrow; empty where neither is written yet."""
        tasks = [e for e in self.escrows() if e["spec"]["work"]["kind"] == "Task"]
        states = {e["spec"].get("escrowId", ""): e.get("status", {}) for e in tasks}
        return {escrow: state.get("outcome") or state.get("phase", "") for escrow, state in states.items()}

    def ledger(self) -> dict[str, str]:
        """Status of each escrow, by the sandbox's ledger, which balances and got nothing twice."""
        sent_once(self.sandbox)
        return self.payments()


@contextmanager
def payroll_world(
    cluster: Cluster, namespace: str, client: lightkube.Client, sandbox: RunningSandbox, dialect: str, folder: Path
) -> Iterator[PayrollWorld]:
    built = PayrollWorld(cluster, namespace, client, sandbox, dialect, folder=folder)
    try:
        yield built
    finally:
        built.close()


__all__ = ["RUN_ONCE", "WALLET", "PayrollWorld", "RuntimeProcess", "WorkerProcess", "payroll_world"]
