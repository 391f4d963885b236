"""Thousands of Jobs and escrows at once, made and ended by the fastest way there is; and what a process costs."""

import asyncio
import base64
import os
import secrets
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import aiohttp
import psutil

from components.manifests import agent_job
from components.settings import Settings
from runtime.contract import (
    ESCROW_GROUP,
    ESCROW_ID_ANNOTATION,
    ESCROW_PLURAL,
    ESCROW_VERSION,
    SETTLEMENT_FINALIZER,
    Phase,
)
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import AlreadyExists, ApiUnreachable, KubernetesError, is_transient
from runtime.kubernetes.new_escrow import new_escrow
from runtime.kubernetes.shape import WHOLE, Json, stamp
from runtime.money import Usdc
from runtime.payments import escrow_token
from runtime.sandbox.database import Database
from runtime.sandbox.escrows import Terms
from runtime.sandbox.rest import Service
from tests.toolchain import cgroups
from tests.toolchain.cluster import Cluster

AT_ONCE = 24
ETCD_AT_ONCE = 100
"""Writes in one transaction; etcd takes 128."""
AMOUNT = Usdc.parse("0.10")
T = TypeVar("T")


@dataclass(frozen=True)
class CrowdJob:
    """One Job of many."""

    name: str
    uid: str
    escrow_id: str


def lock(database: Path, payer: str, payee: str, count: int) -> list[str]:
    """Escrow ids in a sandbox's ledger that no sandbox has open: in one transaction, past HTTP."""
    service = Service(Database(database))
    try:
        with service.database.transaction():
            service.deposit(payer, AMOUNT.micro * count)
            terms = (Terms(payee, AMOUNT.micro, f"crowd-{number}", timeout_hours=720) for number in range(count))
            return [service.escrows.create(payer, one, payee_must_exist=False)["id"] for one in terms]
    finally:
        service.database.close()


def job_manifest(name: str, escrow_id: str) -> Json:
    """An agent's Job as a stack renders it, which the built-in Job controller leaves alone."""
    settings = Settings.parse({"agents": [{"name": "crowd", "escrowId": escrow_id}]})
    manifest = agent_job.build(settings, settings.agents[0])
    manifest["metadata"] |= {"name": name, "finalizers": [SETTLEMENT_FINALIZER]}
    del manifest["metadata"]["namespace"]
    manifest["spec"] |= {"managedBy": "example.com/crowd"}
    return manifest


async def create_jobs(api: KubernetesApi, namespace: str, escrow_ids: Iterable[str]) -> list[CrowdJob]:
    """A Job for each escrow."""
    template = job_manifest("crowd", "esc_0")

    async def create(escrow_id: str) -> CrowdJob:
        metadata = template["metadata"] | {
            "name": f"crowd-{secrets.token_hex(6)}",
            "annotations": {ESCROW_ID_ANNOTATION: escrow_id},
        }
        made = await _create(api, f"/apis/batch/v1/namespaces/{namespace}/jobs", template | {"metadata": metadata})
        return CrowdJob(made["metadata"]["name"], made["metadata"]["uid"], escrow_id)

    return await many(create, escrow_ids)


async def create_escrows(api: KubernetesApi, namespace: str, dialect: str, jobs: Iterable[CrowdJob]) -> None:
    """The funded Escrow object of each Job, as the operator would have made it."""
    path = f"/apis/{ESCROW_GROUP}/{ESCROW_VERSION}/namespaces/{namespace}/{ESCROW_PLURAL}"
    status = {"phase": Phase.FUNDED.value, "lockedAt": stamp(datetime.now(UTC)), "lockedUsdc": str(AMOUNT)}

    async def create(job: CrowdJob) -> None:
        escrow = new_escrow(
            namespace,
            job.name,
            job.uid,
            dialect=dialect,
            token=escrow_token(job.uid),
            escrow_id=job.escrow_id,
            payee=None,
            amount=None,
        )
        made = await _create(api, path, escrow)
        await api.merge_patch(f"{path}/{made['metadata']['name']}/status", {"status": status})

    await many(create, jobs)


async def settle_works(api: KubernetesApi, cluster: Cluster, namespace: str, numbers: range) -> None:
    """Settled Escrows of so many works: one by the API server, the others copied in etcd, which takes seconds."""
    if not numbers:
        return
    uid = f"settled-{numbers[0]}"
    path = f"/apis/{ESCROW_GROUP}/{ESCROW_VERSION}/namespaces/{namespace}/{ESCROW_PLURAL}"
    agreed: Json = {"dialect": "server", "token": uid, "escrow_id": f"esc_{uid}", "payee": "payee", "amount": AMOUNT}
    escrow = new_escrow(namespace, "work", uid, work_id=uid, **agreed)
    escrow["metadata"].pop("finalizers", None)
    made = await _create(api, path, escrow)
    name, now = made["metadata"]["name"], stamp(datetime.now(UTC))
    status = {"phase": Phase.SETTLED.value, "outcome": "Paid", "closedAt": now, "lockedUsdc": str(AMOUNT)}
    await api.merge_patch(f"{path}/{name}/status", {"status": status})
    folder = f"/registry/{ESCROW_GROUP}/{ESCROW_PLURAL}/{namespace}"
    connector = aiohttp.UnixConnector(f"{cluster.directory / 'etcd:0'}")
    async with aiohttp.ClientSession("http://etcd", connector=connector) as etcd:
        whole = await _etcd(etcd, "range", {"key": _base64(f"{folder}/{name}")})
        text = base64.b64decode(whole["kvs"][0]["value"]).decode()
        for first in range(1, len(numbers), ETCD_AT_ONCE):
            puts = []
            for number in numbers[first : first + ETCD_AT_ONCE]:
                copy = text.replace(name, f"{name}-{number}").replace(uid, f"settled-{number}")
                copy = copy.replace(made["metadata"]["uid"], str(uuid.uuid4()))
                puts.append({"requestPut": {"key": _base64(f"{folder}/{name}-{number}"), "value": _base64(copy)}})
            await _etcd(etcd, "txn", {"success": puts})
    listed = await api.get(f"{path}?limit=1", WHOLE)
    assert listed["metadata"].get("remainingItemCount", 0) + 1 == numbers.stop


async def _etcd(session: aiohttp.ClientSession, what: str, body: Json) -> Json:
    async with session.post(f"/v3/kv/{what}", json=body) as response:
        response.raise_for_status()
        return await response.json()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def _create(api: KubernetesApi, path: str, body: Json) -> Json:
    """Create once, however often a busy API server has to be asked."""
    while True:
        try:
            return await api.create(path, body)
        except AlreadyExists:
            return await api.get(f"{path}/{body['metadata']['name']}", WHOLE)
        except (KubernetesError, ApiUnreachable) as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(1)


async def complete(api: KubernetesApi, namespace: str, jobs: Iterable[CrowdJob]) -> dict[str, float]:
    """End every Job well, as the Job controller would write it; when each was, by escrow id (`time.monotonic`)."""
    now = stamp(datetime.now(UTC))  # an older end, and the Job's time to live would have it deleted at once
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}
    ended: dict[str, float] = {}

    async def end(job: CrowdJob) -> None:
        await api.merge_patch(f"/apis/batch/v1/namespaces/{namespace}/jobs/{job.name}/status", {"status": status})
        ended[job.escrow_id] = time.monotonic()

    await many(end, jobs)
    return ended


async def many(work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> list:
    """The work on all items, a few at once, in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> object:
        async with slots:
            return await work(item)

    return await asyncio.gather(*(one(item) for item in items))


class Payments:
    """When the sandbox's ledger shows each escrow as paid out: read past HTTP, so that watching costs it nothing."""

    def __init__(self, database: Path) -> None:
        self._ledger = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        self._last = 0
        self.paid: dict[str, float] = {}
        self.look()

    def look(self) -> None:
        """Note what was paid since the last look."""
        sql = "SELECT id, escrow_id FROM entries WHERE id > ? AND kind = 'release' ORDER BY id"
        for number, escrow_id in self._ledger.execute(sql, (self._last,)).fetchall():
            assert escrow_id not in self.paid, "paid twice"
            self.paid[escrow_id], self._last = time.monotonic(), number

    async def await_all(self, escrow_ids: Iterable[str], seconds: float) -> None:
        """Until all are paid, or the time is over."""
        waiting, deadline = set(escrow_ids), time.monotonic() + seconds
        while (waiting := waiting - self.paid.keys()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            self.look()


class Cost:
    """Memory and processor time of one process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        times = self._process.cpu_times()
        return times.user + times.system

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory now, and the most that it was."""
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
        return self._process.memory_info().rss / 2**20, int(peak) / 2**10

    async def quiet(self, most_seconds: float = 300) -> bool:
        """Until it has hardly used the processor for two seconds; False when it never did."""
        deadline = time.monotonic() + most_seconds
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            await asyncio.sleep(2)
            if self.cpu_seconds() - before < 0.06:
                return True
        return False


def foreign_modules() -> list[str]:
    """Modules that are installed here but not where the operator runs, so that it loads what its image has."""
    requirements = Path(__file__).parents[3] / "requirements" / "runtime.txt"
    shipped = {line.partition("==")[0] for line in requirements.read_text().splitlines() if "==" in line}
    found = metadata.packages_distributions().items()
    return sorted(m for m, names in found if not any(n.lower().replace("_", "-") in shipped for n in names))


@contextmanager
def cpu_limit(pid: int, millicores: int | None) -> Iterator[None]:
    """Within the block the process gets so much of a core, as a container with that limit does; needs root."""
    if millicores is None:
        yield
        return
    name = f"purpleflea-bench-{os.getpid()}"
    cgroups.create(name)
    try:
        for top in cgroups.hierarchies():
            if (quota := top / name / "cpu.cfs_quota_us").exists():
                (top / name / "cpu.cfs_period_us").write_text("100000")
                quota.write_text(f"{millicores * 100}")
            elif (quota := top / name / "cpu.max").exists():
                quota.write_text(f"{millicores * 100} 100000")
            else:
                continue
            (top / name / "cgroup.procs").write_text(f"{pid}")
        yield
    finally:
        for top in cgroups.hierarchies():
            if pid in map(int, (top / name / "cgroup.procs").read_text().split()):
                (top / "cgroup.procs").write_text(f"{pid}")
        cgroups.remove(name)
