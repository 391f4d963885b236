"""`python -m runtime.sandbox` as a process: what it says, how it ends, and what a kill leaves behind."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest

from runtime.contract import Env, ExitCode
from runtime.sandbox.testing import SandboxProcess


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "runtime.sandbox", *arguments],
        env=os.environ | environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@contextmanager
def started(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ready_url(process):
    return json.loads(process.stdout.readline())["url"]


def test_it_says_one_line_when_it_is_ready_and_ends_gracefully(tmp_path):
    with SandboxProcess(tmp_path / "ledger.db", start_key="pf_live_start") as sandbox:
        with httpx.Client(base_url=sandbox.url, verify=sandbox.tls, trust_env=False) as client:
            client.headers["authorization"] = "Bearer pf_live_start"
            body = {"payee_id": "w", "amount": 1, "terms_hash": "t"}
            assert client.post("/api/escrow", json=body).status_code == 200
        assert sandbox.stop() == ExitCode.OK
    assert not (tmp_path / "ledger.db-wal").exists()  # closed, not abandoned
    assert b"pf_live_start" not in (tmp_path / "ledger.db").read_bytes()


def test_it_puts_off_sigterm_until_what_is_locked_is_settled_and_read_back(tmp_path):
    """A namespace that is deleted ends payer and sandbox at the same moment."""
    with SandboxProcess(tmp_path / "ledger.db", "--linger", "3600", start_key="pf_live_start") as sandbox:
        with httpx.Client(base_url=sandbox.url, verify=sandbox.tls, trust_env=False) as client:
            client.headers["authorization"] = "Bearer pf_live_start"
            body = {"payee_id": "w", "amount": 1, "terms_hash": "t"}
            escrow = client.post("/api/escrow", json=body).json()
            sandbox.process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                sandbox.process.wait(1)
            disputed = client.post(f"/api/escrow/{escrow['escrow_id']}/dispute", json={"reason": "it ends"})
            assert disputed.status_code == 200
            assert client.get("/api/escrows", params={"status": "disputed"}).json()["escrows"]
        assert sandbox.process.wait(60) == ExitCode.OK


def test_sigterm_ends_it_as_the_first_process_of_a_container_too(tmp_path):
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare(1) for a PID namespace of its own; run the suite as root to un-skip")
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "runtime.sandbox", "--port", "0"]
    with started(command) as outer:
        assert ready_url(outer)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(outer.pid)], capture_output=True, text=True)
        os.kill(int(children.stdout), signal.SIGTERM)
        assert outer.wait(30) == ExitCode.OK


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "http"], ["--oops"]])
def test_a_wrong_argument_is_named(arguments):
    ended = run(*arguments)
    assert ended.returncode == ExitCode.BAD_INPUT
    assert arguments[-1] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_log_level_is_named():
    ended = run(**{Env.LOG_LEVEL: "chatty"})
    assert ended.returncode == ExitCode.BAD_INPUT
    assert "PF_LOG_LEVEL is 'chatty'" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("--port", port, "--database", str(tmp_path / "ledger.db"))
    assert ended.returncode == ExitCode.BAD_INPUT
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_an_unusable_database_is_named(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"not a database, " * 500)
    ended = run("--port", "0", **{Env.SANDBOX_DATABASE: str(tmp_path / "ledger.db")})
    assert ended.returncode == ExitCode.BAD_INPUT
    assert "is not a usable sandbox ledger" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_without_a_token_there_is_no_admin(tmp_path):
    command = [sys.executable, "-m", "runtime.sandbox", "--port", "0", "--database", str(tmp_path / "ledger.db")]
    with started(command) as process:
        url = ready_url(process)
        assert httpx.get(f"{url}/admin/faults", headers={"authorization": "Bearer None"}).status_code == 404
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == ExitCode.INTERRUPTED


def trade(url, tls, key, seen):
    """Create and settle until the server is gone; note every 200 as the promise that it is."""
    with httpx.Client(base_url=url, verify=tls, trust_env=False, headers={"authorization": f"Bearer {key}"}) as client:
        try:
            while True:
                body = {"payee_id": "w", "amount": 0.1, "terms_hash": "t"}
                escrow_id = client.post("/api/escrow", json=body).json()["escrow_id"]
                seen["created"].add(escrow_id)
                if client.post(f"/api/escrow/{escrow_id}/release").status_code == 200:
                    seen["released"].add(escrow_id)
        except httpx.TransportError:
            return


def test_killed_at_any_point_it_comes_back_with_balanced_books_and_every_promise_kept(tmp_path):
    chance = random.Random(7)
    seen = {"created": set(), "released": set()}
    for _ in range(4):
        with SandboxProcess(tmp_path / "ledger.db", start_key="pf_live_start") as sandbox:
            arguments = (sandbox.url, sandbox.tls, "pf_live_start", seen)
            traders = [threading.Thread(target=trade, args=arguments) for _ in range(3)]
            goal = len(seen["released"]) + chance.randint(5, 25)
            for trader in traders:
                trader.start()
            while len(seen["released"]) < goal and any(trader.is_alive() for trader in traders):
                traders[0].join(chance.random() / 50)
            sandbox.kill()
            for trader in traders:
                trader.join()
    with SandboxProcess(tmp_path / "ledger.db") as sandbox:
        document = sandbox.statement()
    assert document["findings"] == []
    status = {escrow["escrow_id"]: escrow["status"] for escrow in document["escrows"]}
    assert seen["created"] <= set(status)
    assert all(status[escrow_id] == "released" for escrow_id in seen["released"])
    assert len(seen["released"]) >= 20
