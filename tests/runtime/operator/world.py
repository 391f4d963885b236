"""Everything an operator test needs: a namespace with the rendered manifests, a funded sandbox, Jobs that end on
demand, and the operator as a real process with its own ServiceAccount's token."""

import asyncio
import base64
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx2
import lightkube
import yaml
from lightkube import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Event, Namespace, Pod, ServiceAccount
from lightkube.types import PatchType

from components.manifests import budget_crd, escrow_crd, naming, rbac
from components.settings import Settings
from runtime.contract import (
    ABANDONED_ANNOTATION,
    BUDGET_KIND,
    BUDGET_NAME,
    BUDGET_PLURAL,
    ESCROW_GROUP,
    ESCROW_ID_ANNOTATION,
    ESCROW_KIND,
    ESCROW_PLURAL,
    ESCROW_REQUEST_ANNOTATION,
    ESCROW_VERSION,
    SETTLEMENT_FINALIZER,
    Env,
    ProgramName,
)
from runtime.money import Usdc
from runtime.operator.work_ids import by_hand_token
from runtime.payments import Credentials, EscrowRequest, PaymentsClient
from runtime.sandbox.testing import RunningSandbox
from tests.ports import free_port
from tests.runtime.forked import begin
from tests.runtime.operator.changes import Changes
from tests.toolchain.cluster import Cluster

Escrow = create_namespaced_resource(ESCROW_GROUP, ESCROW_VERSION, ESCROW_KIND, ESCROW_PLURAL)
Budget = create_namespaced_resource(ESCROW_GROUP, ESCROW_VERSION, BUDGET_KIND, BUDGET_PLURAL)
DEADLINE_SECONDS = 40
START_SECONDS = 120
"""A start takes two seconds of CPU, of which a busy machine may give it few."""
STRICT = {Env.ALLOWED_ESCROWS: "[]"}
"""As it is by default: an escrow that a Job brings says in its terms which Job it is for."""
PAYER, PAYEE = "payer-agent", "worker-agent-007"


def install_definition(cluster: Cluster) -> None:
    """The CRDs, as rendered, once a cluster."""
    from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

    client = cluster.client()
    for definition, kind in ((escrow_crd, Escrow), (budget_crd, Budget)):
        rendered = CustomResourceDefinition.from_dict(definition.custom_resource_definition(Settings()))
        _install(client, rendered, kind)


def _install(client: lightkube.Client, rendered: Any, kind: Any) -> None:
    eventually(lambda: _applied(client, rendered), "the CRD is applied: another worker may be at it too")
    eventually(lambda: _established(client, rendered.metadata.name), "the CRD is established")
    eventually(lambda: _listable(client, kind), "objects can be listed: at first the API server answers 429")


def _listable(client: lightkube.Client, kind: Any) -> bool:
    try:
        return list(client.list(kind, namespace="default")) is not None
    except ApiError as error:
        if error.status.code != 429:
            raise
        return False


def _applied(client: lightkube.Client, rendered: Any) -> bool:
    try:
        return bool(client.apply(rendered, field_manager="tests", force=True))
    except ApiError as error:
        if error.status.code != 409:
            raise
        return False


def _established(client: lightkube.Client, name: str) -> bool:
    from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

    conditions = client.get(CustomResourceDefinition, name).status.conditions or []
    return any(c.type == "Established" and c.status == "True" for c in conditions)


def eventually(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true value of `condition`, asked every 50 ms: for what no watch tells of, see `World.eventually`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class OperatorProcess:
    """`python -m runtime.operator`, with its output kept; `without` are modules that it shall not find.

    It logs in as in a pod, with what the folder SERVICE_ACCOUNT has, unless KUBECONFIG is set. `anew`: as a Python that
    has not imported anything yet.
    """

    def __init__(
        self, environment: dict[str, str], wait: bool = True, without: Iterable[str] = (), *, anew: bool = False
    ) -> None:
        self.port = free_port()
        self._log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        environment = {"PATH": os.environ["PATH"], **environment, Env.HEALTH_PORT: str(self.port)}
        self.process = begin(environment, self._log.name, "runtime.operator", without=without, anew=anew)
        if wait:
            ready = "the operator is ready, or has ended"
            eventually(lambda: self.probe("/readyz") == 200 or self.process.poll() is not None, ready, START_SECONDS)
            assert self.process.poll() is None, self.log()

    def probe(self, path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, verify=False).status_code
        except httpx.TransportError:
            return 0

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False, verify=False).text

    def metric(self, name: str) -> float:
        """One without labels."""
        return next(float(line.split()[1]) for line in self.metrics().splitlines() if line.startswith(f"{name} "))

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        self.process.terminate()
        return self.process.wait(seconds)


def await_list(operator: OperatorProcess) -> None:
    """Until everything was listed once more."""

    def last() -> str:
        return next(line for line in operator.metrics().splitlines() if line.startswith("escrow_last_list"))

    before = last()
    eventually(lambda: last() != before, "another list")


@dataclass
class World:
    """One test's namespace, sandbox and Jobs."""

    cluster: Cluster
    namespace: str
    client: lightkube.Client
    sandbox: RunningSandbox
    dialect: str = "server"
    kubeconfig: Path | None = None
    account: Path | None = None
    """What a pod with the operator's ServiceAccount finds mounted."""
    key: str = field(default="", repr=False)
    operators: list[OperatorProcess] = field(default_factory=list)
    siblings: list["World"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changes = Changes(lambda: self.cluster.async_client(self.namespace), (Job, Pod, Escrow, Event, Budget))
        self.key = self.key or self.sandbox.issue_key(PAYER)
        self.sandbox.issue_key(PAYEE)
        self.sandbox.deposit(PAYER, "100.00")
        for manifest in self.manifests():
            _apply(self.client, manifest)
        self.kubeconfig = self.cluster.kubeconfig_for(naming.OPERATOR_ACCOUNT, self.namespace)
        self.account = _mounted(self.kubeconfig, self.namespace)

    def settings(self) -> Settings:
        return Settings.parse({"namespace": self.namespace, "createNamespace": False, "operator": {"replicas": 2}})

    def manifests(self) -> list[dict[str, Any]]:
        """The operator's identity and rights, exactly as a stack declares them."""
        settings = self.settings()
        return [
            rbac.service_account(settings, naming.OPERATOR_ACCOUNT, ProgramName.OPERATOR),
            rbac.operator_role(settings, self.namespace),
            rbac.operator_role_binding(settings, self.namespace),
            rbac.operator_lease_role(settings),
            rbac.operator_lease_role_binding(settings),
        ]

    def sibling(self, suffix: str) -> "World":
        """Another namespace beside this one, on the same sandbox, with the same payer and key."""
        name = f"{self.namespace}-{suffix}"
        client = self.cluster.client(name)
        client.create(Namespace(metadata=ObjectMeta(name=name)))
        other = World(self.cluster, name, client, self.sandbox, self.dialect, key=self.key)
        self.siblings.append(other)
        return other

    def let_serve(self, other: "World") -> None:
        """Give this world's operator its Role in another namespace too."""
        binding = rbac.operator_role_binding(self.settings(), other.namespace)
        binding["metadata"]["name"] = "survivor"
        _apply(other.client, binding)

    def survivor(self, worlds: list["World"], **changes: str) -> OperatorProcess:
        """One operator for all these namespaces, with the same Role in each, and a limit: without one it locks nothing
        outside its own."""
        for world in worlds:
            self.let_serve(world)
        watched = ",".join(world.namespace for world in worlds)
        return self.operator(**{Env.WATCH_NAMESPACE: watched, Env.NAMESPACE_BUDGET_USDC: "100.00", **changes})

    def grant_selector(self) -> None:
        """The ClusterRole that a stack with a selector declares, for this world's operator."""
        settings = self.settings()
        role, binding = rbac.operator_cluster_role(settings), rbac.operator_cluster_role_binding(settings)
        for manifest in (role, binding):
            _apply(self.client, manifest)

    @classmethod
    @contextmanager
    def alone(cls, cluster: Cluster, sandbox: RunningSandbox) -> Iterator["World"]:
        """A world in a cluster of its own."""
        install_definition(cluster)
        client = cluster.client("alone")
        client.create(Namespace(metadata=ObjectMeta(name="alone")))
        eventually(lambda: _exists(client, ServiceAccount, "default"), "the namespace is ready")
        with world(cluster, "alone", client, sandbox, "server") as built:
            yield built

    def reachable(self) -> bool:
        """Whether the API server answers."""
        try:
            return bool(self.client.get(Namespace, self.namespace))
        except (httpx2.TransportError, ApiError):
            return False

    def exists(self) -> bool:
        """Whether the namespace is there, or still ends."""
        return _exists(self.client, Namespace, self.namespace)

    def sandbox_pause(self, work: Callable[[], None]) -> None:
        """Do `work` on a healthy sandbox, then put its faults back in force."""
        rules = self.sandbox.service.faults.rules[:]
        self.sandbox.clear_faults()
        work()
        for rule in rules:
            self.sandbox.service.faults.add(rule)

    # --- the operator

    def environment(self, **changes: str) -> dict[str, str]:
        url = urlsplit(self.cluster.url)
        as_pod = {
            "SERVICE_ACCOUNT": str(self.account),
            "KUBERNETES_SERVICE_HOST": str(url.hostname),
            "KUBERNETES_SERVICE_PORT": str(url.port),
        }
        environment = {
            **({} if "KUBECONFIG" in changes else as_pod),
            Env.API_KEY: self.key,
            Env.API_DIALECT: self.dialect,
            Env.ESCROW_URL: self.sandbox.url,
            Env.CASINO_URL: self.sandbox.url,
            Env.ALLOW_HTTP: "true",
            Env.WATCH_NAMESPACE: self.namespace,
            Env.RESYNC_SECONDS: "2",
            Env.POD_NAMESPACE: self.namespace,
            Env.ALLOWED_ESCROWS: '["*"]',  # most tests lock the money before they know the Job; STRICT takes it back
            Env.FORMER_URLS: '["http://127.0.0.1:*"]',  # the sandbox may be behind a proxy in one operator's way
        }
        return environment | changes

    def operator(
        self, wait: bool = True, without: Iterable[str] = (), *, anew: bool = False, **changes: str
    ) -> OperatorProcess:
        started = OperatorProcess(self.environment(**changes), wait, without, anew=anew)
        self.operators.append(started)
        return started

    def close(self) -> None:
        self.changes.stop()
        for operator in self.operators:
            if operator.process.poll() is None:
                operator.kill()
        for sibling in self.siblings:
            if sibling.exists():
                sibling.close()
                self.client.delete(Namespace, sibling.namespace)
        self._let_everything_go()

    def remove_accounts(self) -> None:
        """End its operators and take its accounts away, so that nobody who looks at all accounts sees them."""
        for operator in self.operators:
            operator.kill()
        self._let_everything_go()
        self.client.deletecollection(Escrow, namespace=self.namespace)

    def _let_everything_go(self) -> None:
        """So that the namespace can end: finalizers of Jobs and Escrows whose operator was killed."""
        body = {"metadata": {"finalizers": None, "annotations": {ABANDONED_ANNOTATION: "the test is over"}}}
        for kind in (Job, Escrow):
            for found in self.client.list(kind, namespace=self.namespace):
                self.client.patch(kind, found.metadata.name, body, patch_type=PatchType.MERGE)

    # --- waiting

    def eventually(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
        """The first true value of `condition`, asked whenever a Job, Pod, Escrow or Event of the namespace changes."""
        return self.changes.eventually(condition, what, seconds)

    def await_phase(self, job: str, *phases: str, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        """The Escrow of a Job once it is in one of the phases."""

        def reached() -> dict[str, Any] | None:
            escrow = self.escrow(job)
            return escrow if escrow and escrow.get("status", {}).get("phase") in phases else None

        try:
            return self.eventually(reached, f"Escrow of {job} in {phases}", seconds)
        except AssertionError as error:
            logs = "\n".join(operator.log()[-3000:] for operator in self.operators)
            raise AssertionError(f"{error}\n{self.escrow(job)}\n{logs}") from None

    def await_resumed(self, job: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Until the Job is funded and the operator has let it run."""
        self.eventually(lambda: not self.get_job(job).spec.suspend, f"{job} is funded and resumed", seconds)

    def await_gone(self, job: str) -> None:
        """Until nothing holds a Job that was deleted."""
        self.eventually(lambda: self.get_job(job) is None, f"{job} is gone")

    # --- Jobs

    def fund(self, amount: str = "1.00", payee: str = PAYEE, token: str = "", *, job: str = "") -> str:
        """An escrow made by hand, as the guide does; its id.

        With `job` it says for which Job, as `escrowctl fund` does. Without, an operator has to allow it, as those of
        `environment` do.
        """
        token = token or (by_hand_token(self.namespace, job, payee, Usdc.parse(amount)) if job else "by-hand-0001")

        async def create() -> str:
            credentials = Credentials(self.key)
            async with PaymentsClient(self.dialect, self.sandbox.url, credentials, allow_http=True) as client:
                payer = PAYER if self.dialect == "fly" else None
                request = EscrowRequest(payee=payee, amount=Usdc.parse(amount), token=token, payer=payer)
                return (await client.create_escrow(request)).id

        return asyncio.run(create())

    def job(self, name: str, escrow_id: str | None = None, *, finalizer: bool = True, **changes: Any) -> Any:
        """A Job of one container; `request` and `suspend` may be given."""
        annotations = dict(changes.pop("annotations", {}))
        if escrow_id is not None:
            annotations[ESCROW_ID_ANNOTATION] = escrow_id
        if request := changes.pop("request", None):
            annotations[ESCROW_REQUEST_ANNOTATION] = request
        container = {"name": "main", "image": "agent:1", "command": ["true"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        metadata: dict[str, Any] = {"name": name, "annotations": annotations, "labels": changes.pop("labels", {})}
        if finalizer:
            metadata["finalizers"] = [SETTLEMENT_FINALIZER]
        spec = {"backoffLimit": 0, "template": template, **changes}
        return self.client.create(Job.from_dict({"metadata": metadata, "spec": spec}))

    def finish(self, name: str, *, succeeded: bool = True, message: str = "out of cheese", code: int = 3) -> None:
        """End the Job's pod as the kubelet would; the real Job controller then sets the terminal condition."""
        pod = self.eventually(lambda: self._pod(name), f"Job {name} has a pod")
        terminated = {"exitCode": 0 if succeeded else code, "message": "" if succeeded else message}
        terminated |= {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
        state = {"name": "main", "image": "agent:1", "imageID": "", "ready": False, "restartCount": 0}
        status = {
            "phase": "Succeeded" if succeeded else "Failed",
            "containerStatuses": [{**state, "state": {"terminated": terminated}}],
        }
        self.client.patch(Pod.Status, pod.metadata.name, {"status": status}, patch_type=PatchType.MERGE)

    def pod_of(self, job: str) -> str:
        """The name of the Job's pod, once it has one."""
        return self.eventually(lambda: self._pod(job), f"Job {job} has a pod").metadata.name

    def unfinished(self, job: str) -> bool:
        """Whether the Job has a pod that has not ended."""
        pod = self._pod(job)
        return pod is not None and pod.status.phase not in ("Succeeded", "Failed")

    def _pod(self, job: str) -> Any:
        labels = {"batch.kubernetes.io/controller-uid": self.client.get(Job, job).metadata.uid}
        pods = self.client.list(Pod, namespace=self.namespace, labels=labels)
        return next((pod for pod in pods if not pod.metadata.deletionTimestamp), None)

    def get_job(self, name: str) -> Any:
        try:
            return self.client.get(Job, name)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    # --- what came of it

    def escrows(self) -> list[dict[str, Any]]:
        return [escrow.to_dict() for escrow in self.client.list(Escrow, namespace=self.namespace)]

    def escrow(self, job: str) -> dict[str, Any] | None:
        """The Escrow of the newest Job of that name."""
        found = [escrow for escrow in self.escrows() if escrow["spec"].get("job", {}).get("name") == job]
        return max(found, key=lambda e: e["metadata"]["creationTimestamp"], default=None)

    def budget(self) -> dict[str, Any]:
        """What the namespace's Budget says."""
        return self.client.get(Budget, BUDGET_NAME).to_dict().get("status", {})

    def await_event(self, about: str, reason: str) -> list[str]:
        """The messages of that reason about the object of that name, once there is one.

        An event is written after what it tells of: to look without waiting is a race.
        """

        def messages() -> list[str]:
            events = self.client.list(Event, namespace=self.namespace)
            return [e.message for e in events if e.involvedObject.name == about and e.reason == reason]

        return self.eventually(messages, f"an event {reason} about {about}")

    def payments(self) -> dict[str, str]:
        """The status of each escrow, by the sandbox's ledger."""
        statement = self.sandbox.statement()
        assert statement["balanced"]
        return {e["escrow_id"]: e["status"] for e in statement["escrows"]}


def _mounted(kubeconfig: Path, namespace: str) -> Path:
    """The same as a kubeconfig with a token, in the files that a kubelet makes of it."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    data = cluster.get("certificate-authority-data")
    folder = kubeconfig.with_suffix(".account")
    folder.mkdir(mode=0o700, exist_ok=True)
    authority = base64.b64decode(data) if data else Path(cluster["certificate-authority"]).read_bytes()
    (folder / "ca.crt").write_bytes(authority)
    (folder / "token").write_text(user["token"])
    (folder / "namespace").write_text(namespace)
    return folder


def _exists(client: lightkube.Client, kind: Any, name: str) -> bool:
    try:
        return bool(client.get(kind, name))
    except ApiError as error:
        if error.status.code != 404:
            raise
        return False


def _apply(client: lightkube.Client, manifest: dict[str, Any]) -> None:
    from lightkube import codecs

    client.apply(codecs.from_dict(manifest), field_manager="tests", force=True)


@contextmanager
def world(
    cluster: Cluster, namespace: str, client: lightkube.Client, sandbox: RunningSandbox, dialect: str
) -> Iterator[World]:
    built = World(cluster, namespace, client, sandbox, dialect)
    try:
        yield built
    finally:
        built.close()
