"""A sandbox for tests, as a public API: in this process for direct access, or as a process of its own to kill.

    with running_sandbox() as sandbox:
        key = sandbox.issue_key("payer")
        sandbox.deposit("payer", "5.00")
        sandbox.fault("release", "reset", moment="after", nth=1)
        ...
        assert sandbox.statement()["balanced"]

Rate limits are off here unless asked for; everything else is as `python -m runtime.sandbox` serves it. What moves money
is recorded as it arrives, see `RunningSandbox.received`: the service's own guards hide a payer that sends twice.
"""

import asyncio
import json
import os
import queue
import secrets
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import httpx
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from runtime.contract import Env
from runtime.sandbox import mcp
from runtime.sandbox.app import OPERATIONS
from runtime.sandbox.rest import Service
from runtime.sandbox.server import Options, SandboxServer
from runtime.service.http import App

_START_SECONDS: Final = 30
_MOVE_MONEY: Final = ("create", "release", "dispute", "cancel")


class _Control:
    """What a test may do to a sandbox from outside, over its admin endpoint."""

    def __init__(self, url: str, admin_token: str) -> None:
        self.url = url
        self.admin_token = admin_token
        # A bare context: loading the machine's certificates would take most of a test's time, and the URL is loopback.
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {admin_token}"},
            timeout=30,
            verify=self.tls,
            trust_env=False,
        )

    def fault(self, operation: str, kind: str = "status", **rule: Any) -> dict[str, Any]:
        """Put a fault in force; the fields are `runtime.sandbox.faults.Fault`'s."""
        return self._call("POST", "/admin/faults", {"operation": operation, "kind": kind} | rule)

    def faults(self) -> dict[str, Any]:
        """The rules in force with their counts, and what was injected last."""
        return self._call("GET", "/admin/faults")

    def clear_faults(self) -> None:
        """Be healthy again."""
        self._call("DELETE", "/admin/faults")

    def issue_key(self, agent_id: str) -> str:
        """A key for the agent, who is made if needed."""
        return self._call("POST", "/admin/keys", {"agent_id": agent_id})["api_key"]

    def revoke_key(self, key: str) -> None:
        """Stop accepting a key."""
        self._call("POST", "/admin/keys/revoke", {"api_key": key})

    def deposit(self, agent_id: str, amount_usdc: str) -> None:
        """Money from outside into the agent's wallet."""
        self._call("POST", "/admin/deposits", {"agent_id": agent_id, "amount_usdc": amount_usdc})

    def advance(self, *, seconds: int = 0, hours: int = 0, sweep: bool = True) -> int:
        """Move the sandbox's clock forward; returns its epoch seconds.

        What falls due is refunded, unless `sweep` is false: it then stays as it is until the next sweep.
        """
        return self._call("POST", "/admin/clock", {"advance_seconds": seconds + 3600 * hours, "sweep": sweep})["now"]

    def resolve(self, escrow_id: str, outcome: str) -> str:
        """Decide as the service's support would: `release` or `refund`. Returns the new status."""
        return self._call("POST", f"/admin/escrows/{escrow_id}/resolve", {"outcome": outcome})["status"]

    def statement(self) -> dict[str, Any]:
        """The whole ledger, see `runtime.sandbox.statement`."""
        return self._call("GET", "/statement")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        response = self._http.request(method, path, json=body)
        if response.is_error:
            raise ValueError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    def _close(self) -> None:
        self._http.close()


@dataclass
class Received:
    """One call that moves money, as it arrived.

    Args:
        act: `create`, `release`, `dispute` or `cancel`.
        subject: What may be done once: the escrow's id, or for a create the token that it carries.
        carried_out: Whether the ledger has it, whatever became of the answer.
    """

    act: str
    subject: str
    carried_out: bool = False


_current: ContextVar[Received | None] = ContextVar("current", default=None)


class _Recorder:
    """The application, with each call that moves money noted before it is served."""

    def __init__(self, app: App, service: Service, received: list[Received]) -> None:
        self._app = app
        self._received = received
        self._acts = [(compile_path(op.path)[0], op.name) for op in OPERATIONS if op.name in _MOVE_MONEY]
        self._tools = {path: server.tools for path, server in mcp.servers(service).items()}
        for act in _MOVE_MONEY:
            setattr(service.escrows, act, _noting_success(getattr(service.escrows, act)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = [(act, match) for path, act in self._acts if (match := path.match(scope.get("path", "")))]
        tools = self._tools.get(scope.get("path", ""))
        if not (found or tools) or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        messages = await mcp.read_whole(receive)
        document = mcp.parsed(messages)
        if tools:
            document = document.get("params", {}) if document.get("method") == "tools/call" else {}
            act = tools[document["name"]].operation if document.get("name") in tools else ""
            document, escrow_id = document.get("arguments") or {}, None
        else:
            act, match = found[0]
            escrow_id = match.groupdict().get("id")
        call = Received(act, escrow_id or _subject(act, document))
        if act in _MOVE_MONEY:
            self._received.append(call)

        async def again() -> Message:
            return messages.popleft() if messages else await receive()

        token = _current.set(call)
        try:
            await self._app(scope, again, send)
        finally:
            _current.reset(token)


def _noting_success(act: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(act)
    def noting(*args: Any, **named: Any) -> Any:
        done = act(*args, **named)
        if call := _current.get():  # else the test itself acts
            call.carried_out = True
        return done

    return noting


def _subject(act: str, document: dict[str, Any]) -> str:
    """The token of a create or the escrow of an act in the body; empty where the body is no such thing."""
    if act != "create":
        return str(document.get("escrow_id", ""))
    text = str(document.get("terms_hash") or document.get("description", ""))
    return text.rpartition("[")[2].removesuffix("]")


class RunningSandbox(_Control):
    """A sandbox served by a thread of this process; `service` and what it holds may be used directly."""

    def __init__(self, server: SandboxServer, admin_token: str) -> None:
        super().__init__(server.url, admin_token)
        self.received: list[Received] = []
        """Every call that moves money, in the order of arrival, whatever became of it or of its answer."""
        self.service: Service = server.service
        server.http.config.app = _Recorder(cast(App, server.http.config.app), server.service, self.received)
        self.clock = server.service.clock
        self.ledger = server.service.ledger
        self.agents = server.service.agents
        self.escrows = server.service.escrows


@contextmanager
def running_sandbox(
    database: Path | None = None, *, rate_limits: bool = False, **options: Any
) -> Generator[RunningSandbox]:
    """A sandbox on a free loopback port for the length of the block; its database is temporary unless given.

    Further arguments are `runtime.sandbox.server.Options`'.
    """
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="purpleflea-sandbox-") as scratch:
        chosen = Options(database or Path(scratch) / "ledger.db", admin_token=token, rate_limits=rate_limits, **options)
        ready = threading.Event()
        server = SandboxServer(chosen, asyncio.Event(), lambda _server: ready.set())
        sandbox = RunningSandbox(server, token)
        thread = threading.Thread(target=lambda: asyncio.run(server.run_until_stopped()), name="sandbox", daemon=True)
        thread.start()
        if not ready.wait(_START_SECONDS):
            raise TimeoutError("the sandbox did not start")
        try:
            yield sandbox
        finally:
            sandbox._close()
            server.stop_soon()
            thread.join()


class SandboxProcess(_Control):
    """A sandbox in a process of its own, `python -m runtime.sandbox`: to kill it, or to leave it running.

    Its database is temporary, and ends with the process, unless one is given. A detached one outlives this process
    and the terminal: it holds on to neither, and is silent.
    """

    def __init__(
        self, database: Path | None = None, *options: str, start_key: str | None = None, detached: bool = False
    ) -> None:
        token = secrets.token_hex(8)
        environment = os.environ | {Env.SANDBOX_ADMIN_TOKEN: token, Env.LOG_LEVEL: "INFO"}
        environment |= {Env.SANDBOX_API_KEY: start_key} if start_key else {}
        command = [sys.executable, "-m", "runtime.sandbox", "--port", "0", "--no-rate-limits"]
        command += ["--database", str(database)] if database else []
        self.process = subprocess.Popen(
            [*command, *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if detached else None,
            start_new_session=detached,
            text=True,
        )
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read_log, name="sandbox log", daemon=True)
        self._reader.start()
        url = self._ready.get()
        if url is None:
            raise RuntimeError(f"the sandbox did not start, exit code {self.process.wait()}")
        super().__init__(url, token)

    def _read_log(self) -> None:
        """Hand over the URL, and to whoever watches this process what is wrong; an unread pipe would block."""
        assert self.process.stdout is not None  # noqa: S101 - asked for
        for line in self.process.stdout:
            entry = json.loads(line) if line.startswith("{") else {}
            if "url" in entry:
                self._ready.put(entry["url"])
            elif entry.get("level") != "INFO":
                sys.stderr.write(line)
        self._ready.put(None)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        self._close()
        code = self.process.wait(_START_SECONDS)
        self._reader.join(_START_SECONDS)
        assert self.process.stdout is not None  # noqa: S101
        self.process.stdout.close()
        return code

    def __enter__(self) -> "SandboxProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
