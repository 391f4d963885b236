"""The statement of 100,000 accounts, held against the service's lists, beside the naive way: CPU, memory, bytes.

The accounts are pages of a list as a real API server gives them, managed fields and all, served from this process; the
payment service is a sandbox of its own. `python -m tests.bench.statement 10000` measures so many.

Naive is what a script does: the official client's whole list, `json()` of the service's whole list, sums by Decimal.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from aiohttp import web

from runtime.contract import Env
from runtime.sandbox.database import Database
from runtime.sandbox.rest import Service
from runtime.sandbox.testing import SandboxProcess
from tests.runtime.operator import crowd
from tests.runtime.operator.world import PAYEE, PAYER

COUNT = 100_000
NAIVE = Path(__file__).parent / "listings" / "naive_statement.py"
FORMS = ("table", "html", "csv")


def main(count: int = 0) -> None:
    """Print one line for each form, and the naive way's."""
    count = count or (int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else COUNT)
    with tempfile.TemporaryDirectory() as folder:
        escrows = _paid(Path(folder) / "ledger.db", count)
        accounts = [_account(number, escrow_id) for number, escrow_id in enumerate(escrows)]
        size = sum(map(len, accounts))
        print(f"  {count} accounts, {size / count:.0f} bytes each in a list, {size / 1e6:.0f} MB")
        pages, sandbox = Pages(accounts), SandboxProcess(Path(folder) / "ledger.db")
        try:
            environment = _environment(pages.url, sandbox, Path(folder) / "kubeconfig")
            for form in FORMS:
                words = ["-m", "runtime.statement", "-A", "--by", "agent", "-o", form, "--reconcile"]
                _measure(f"statement -o {form} --reconcile", words, environment)
            _measure("naive", [f"{NAIVE}"], environment)
        finally:
            sandbox.stop()
            pages.stop()


def _measure(what: str, words: list[str], environment: dict[str, str]) -> None:
    begun, peak, used = time.monotonic(), 0.0, psutil.Process().cpu_times()
    with tempfile.TemporaryFile() as out:
        process = psutil.Popen([sys.executable, *words], env=environment, stdout=out, stderr=subprocess.DEVNULL)
        # By itself: what `wait4` tells begins with the memory of whoever forked.
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                used = process.cpu_times()
            time.sleep(0.01)
        size = os.fstat(out.fileno()).st_size
    wall = time.monotonic() - begun
    print(
        f"  {what:<36} exit {process.returncode}  {used.user + used.system:6.2f} s CPU  {wall:6.2f} s  {peak:6.1f} MiB"
        f"  {size / 1e6:7.2f} MB written",
        flush=True,
    )


def _peak_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _environment(url: str, sandbox: SandboxProcess, file: Path) -> dict[str, str]:
    context = {"cluster": "c", "user": "u", "namespace": "agents"}
    config = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": context}],
        "current-context": "c",
    }
    file.write_text(yaml.safe_dump(config))
    service = {Env.ESCROW_URL: sandbox.url, Env.API_KEY: sandbox.issue_key(PAYER), Env.ALLOW_HTTP: "true"}
    return {"PATH": os.environ["PATH"], "KUBECONFIG": f"{file}", **service}


def _paid(database: Path, count: int) -> list[str]:
    """Escrows that were released, past HTTP."""
    escrows = crowd.lock(database, PAYER, PAYEE, count)
    service = Service(Database(database))
    try:
        with service.database.transaction():
            for escrow_id in escrows:
                service.escrows.release(escrow_id, PAYER)
    except sqlite3.Error:
        service.database.close()
        raise
    service.database.close()
    return escrows


def _account(number: int, escrow_id: str) -> bytes:
    """One paid account as a list has it."""
    uid = f"{uuid.UUID(int=number + 1)}"
    moment = f"2026-11-{1 + number % 28:02d}T12:00:00.000000Z"
    known = {"payee": PAYEE, "lockedUsdc": "0.10", "paidUsdc": "0.099", "feeUsdc": "0.001"}
    times = {"lockedAt": moment, "decidedAt": moment, "closedAt": moment, "autoReleaseAt": moment}
    status: dict[str, Any] = {
        "phase": "Settled", "intent": "release", "outcome": "Paid", "attempts": 1, "drift": False, **known, **times,
        "claim": f"claim-{uid}", "reason": "Job complete",
        "evidence": "Job complete: the service says released\nattempts: 1; read: status released",
        "lastAnswer": {"kind": "accepted", "time": moment, "status": 200, "code": "released", "digest": "0123456789ab"},
        "jobEnding": {"type": "Complete", "time": moment, "message": "Job has reached the number of succeeded pods"},
    }  # fmt: skip
    fields = {f"f:{name}": {} for name in status}
    managed = [
        {"manager": "purpleflea-operator", "operation": "Update", "apiVersion": "purpleflea.com/v1alpha1",
         "time": moment, "fieldsType": "FieldsV1", "fieldsV1": {"f:status": fields}, "subresource": "status"},
        {"manager": "purpleflea-operator", "operation": "Update", "apiVersion": "purpleflea.com/v1alpha1",
         "time": moment, "fieldsType": "FieldsV1",
         "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:purpleflea.com/agent": {}}}, "f:spec": {".": {}}}},
    ]  # fmt: skip
    job = {"name": f"job-{number}", "uid": uid}
    document = {
        "apiVersion": "purpleflea.com/v1alpha1",
        "kind": "Escrow",
        "metadata": {
            "name": f"job-{uid}", "namespace": f"team-{number % 20}", "uid": uid, "resourceVersion": f"{number + 1}",
            "creationTimestamp": "2026-11-01T00:00:00Z", "generation": 2, "managedFields": managed,
            "labels": {"purpleflea.com/agent": f"agent-{number % 200}"},
        },
        "spec": {"work": {"kind": "Job", **job}, "job": job, "dialect": "kubernetes", "token": f"pf-{uid}",
                 "escrowId": escrow_id, "payee": PAYEE, "amountUsdc": "0.10"},
        "status": status,
    }  # fmt: skip
    return json.dumps(document, separators=(",", ":")).encode()


class Pages:
    """Serves the accounts page by page, as an API server does."""

    def __init__(self, accounts: list[bytes]) -> None:
        self._accounts = accounts
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._started.wait()

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/apis/purpleflea.com/v1alpha1/escrows", self._page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._started.set()
        await self._stopped.wait()
        await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        begin = int(request.query.get("continue", 0))
        end = begin + int(request.query.get("limit", len(self._accounts)))
        token = f"{end}" if end < len(self._accounts) else ""
        metadata = json.dumps({"resourceVersion": "9", "continue": token})
        items = b",".join(self._accounts[begin:end])
        body = b'{"kind":"EscrowList","metadata":' + metadata.encode() + b',"items":[' + items + b"]}"
        return web.Response(body=body, content_type="application/json")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()


if __name__ == "__main__":
    main()
