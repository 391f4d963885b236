"""Escrows by the thousand under random faults and kills; afterwards every one of them is accounted for.

The traders are deliberately not the project's client: whoever checks a thing should not be the thing.
"""

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from runtime.sandbox.testing import SandboxProcess

KEY = "pf_live_soak"
KINDS = ("reset", "half", "status", "html", "empty", "duplicate", "content_type")
ACTS = {"release": "released", "dispute": "disputed"}


@dataclass
class Soak:
    """What was done and promised, by the terms of each escrow."""

    wanted: int
    seed: int = 7
    calls: int = 0
    promised: dict[str, str] = field(default_factory=dict)
    intended: dict[str, str] = field(default_factory=dict)
    faults: int = 0
    kills: int = 0
    seconds: float = 0.0
    box: SandboxProcess | None = None
    up: threading.Event = field(default_factory=threading.Event)


def run(soak: Soak, database: Path, *, kills: int, traders: int = 4) -> dict:
    """Trade until all is done, killing the sandbox so often on the way. Returns the last statement."""
    started = time.monotonic()
    chance = random.Random(soak.seed)
    jobs = [f"job-{number:06d}" for number in range(soak.wanted)]
    restarts = sorted(chance.sample(range(1, soak.wanted), kills))
    start(soak, database)
    threads = [threading.Thread(target=trade, args=(soak, jobs[n::traders], soak.seed + n)) for n in range(traders)]
    for thread in threads:
        thread.start()
    for due in restarts:
        while len(soak.intended) < due and any(thread.is_alive() for thread in threads):
            threads[0].join(0.005)
        soak.faults += soak.box.faults()["injected"]
        soak.up.clear()
        soak.box.kill()
        soak.kills += 1
        start(soak, database)
    for thread in threads:
        thread.join()
    soak.faults += soak.box.faults()["injected"]
    soak.seconds = time.monotonic() - started
    document = soak.box.statement()
    soak.box.stop()
    return document


def start(soak: Soak, database: Path) -> None:
    box = SandboxProcess(database, start_key=KEY)
    box.deposit("sandbox-payer", "1000000")
    for number, kind in enumerate(KINDS):
        moment = "before" if number % 2 else "after"
        box.fault("*", kind, moment=moment, dialect="kubernetes", probability=0.02, seed=soak.seed + number)
    box.fault("release", moment="between", probability=0.01, seed=soak.seed)
    soak.box = box
    soak.up.set()


def trade(soak: Soak, jobs: list[str], seed: int) -> None:
    chance = random.Random(seed)
    # A connection for each call: after a duplicated answer the next one on a kept connection is somebody else's.
    headers = {"authorization": f"Bearer {KEY}", "connection": "close"}
    client = httpx.Client(verify=soak.box.tls, headers=headers, trust_env=False, timeout=10)
    with client:
        for job in jobs:
            act = chance.choices(list(ACTS), weights=[9, 1])[0]
            soak.intended[job] = act
            escrow_id = create(soak, client, job)
            settle(soak, client, job, escrow_id, act)


def create(soak: Soak, client: httpx.Client, job: str) -> str:
    """Never a second create before a list has shown that the first one came to nothing."""
    while True:
        body = {"payee_id": "worker", "amount": 0.1, "terms_hash": job}
        answer = call(soak, client, "POST", "/api/escrow", body)
        if answer and "escrow_id" in answer:
            return answer["escrow_id"]
        listed = None
        while listed is None or "escrows" not in listed:
            listed = call(soak, client, "GET", "/api/escrows?status=pending")
        found = [escrow["escrow_id"] for escrow in listed["escrows"] if escrow["terms_hash"] == job]
        if found:
            return found[0]


def settle(soak: Soak, client: httpx.Client, job: str, escrow_id: str, act: str) -> None:
    for _ in range(1000):
        answer = call(soak, client, "POST", f"/api/escrow/{escrow_id}/{act}", {"reason": "it failed"}) or {}
        if answer.get("status") == ACTS[act]:
            soak.promised[job] = ACTS[act]
        if answer.get("status") == ACTS[act] or answer.get("error") in ("invalid_status", "release_failed"):
            return


def call(soak: Soak, client: httpx.Client, method: str, path: str, body: dict | None = None) -> dict | None:
    """The answer's object, or None for anything that cannot be believed."""
    soak.up.wait(60)
    soak.calls += 1
    try:
        answer = client.request(method, soak.box.url + path, json=body)
        document = answer.json() if answer.headers.get("content-type") == "application/json" else None
    except (httpx.TransportError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def failings(soak: Soak, document: dict) -> list[str]:
    """Everything that should not be: unbalanced books, lost or doubled escrows, broken promises, half-done acts."""
    found = list(document["findings"])
    escrows = document["escrows"]
    jobs = [escrow["description"] for escrow in escrows]
    found += [f"{job} has no escrow" for job in soak.intended if job not in set(jobs)]
    found += (
        [f"{job} has two escrows" for job in set(jobs) if jobs.count(job) > 1] if len(set(jobs)) < len(jobs) else []
    )
    for escrow in escrows:
        job, status, settled_by = escrow["description"], escrow["status"], escrow["settled_by"]
        if soak.promised.get(job, status) != status:
            found.append(f"{job} was promised as {soak.promised[job]} and is {status}")
        ends = {("released", "release"), ("funded", "release"), ("disputed", None)}
        if (status, settled_by) not in ends:
            found.append(f"{job} ended {status}, settled by {settled_by}")
    return found
