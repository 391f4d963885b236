"""An agent under test, with the sandbox that it is paid at and the model that does its work."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx

from runtime.sandbox.testing import RunningSandbox, running_sandbox
from tests.conformance.model import Model
from tests.ports import free_port

SECONDS = 30
"""How long a state may take to come about on a busy machine."""
REGION, WALLET, PAYER = "lhr", "agent-wallet", "caller-wallet"


class World:
    """One agent, started by a command; see `environment` for what it is told.

    Args:
        command: Starts the agent.
        sandbox: Where it is paid.
        folder: Its volume.
        dialect: What it speaks.
    """

    def __init__(self, command: Sequence[str], sandbox: RunningSandbox, folder: Path, dialect: str = "fly") -> None:
        self.command = command
        self.sandbox = sandbox
        self.folder = folder
        self.model = Model()
        self.port, self.metrics_port = free_port(), free_port()
        sandbox.deposit(WALLET, "100")
        self.environment = {
            "PATH": os.environ["PATH"],
            "ESCROW_BASE": sandbox.url,
            "PF_ALLOW_HTTP": "true",
            "PF_API_DIALECT": dialect,
            "PF_API_KEY": sandbox.issue_key(WALLET),
            "AGENT_WALLET": WALLET,
            "FLY_REGION": REGION,
            "FLY_MACHINE_ID": "machine-1",
            "FLY_APP_NAME": "conformance",
            "DATA_DIR": str(folder),
            "PORT": str(self.port),
            "PF_METRICS_PORT": str(self.metrics_port),
            "OPENAI_BASE_URL": self.model.url,
            "OPENAI_MODEL": "m",
            "PF_TASK_SECONDS": "20",
            "PF_CONCURRENCY": "2",
            "PF_QUEUE_LENGTH": "1",
            "PF_PATIENCE_SECONDS": "1",
            "PF_GRACEFUL_SHUTDOWN_SECONDS": "20",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=SECONDS, trust_env=False)

    # --- the agent's life

    def start(self, **changed: str) -> None:
        """Start it, and wait until it serves."""
        self.launch(**changed)
        self.until(self._serves, "the agent serves")

    def launch(self, **changed: str) -> subprocess.Popen[bytes]:
        """Start it, and do not wait."""
        with (self.folder / "agent.log").open("ab") as log:
            self.process = self.spawn(self.environment | changed, log)
        return self.process

    def spawn(self, environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """The process, in a group of its own."""
        return subprocess.Popen([*self.command], env=environment, stdout=log, stderr=log, start_new_session=True)

    def refused(self, *changed: dict[str, str]) -> list[str]:
        """Start it in each of these ways, all at once: each ends by itself; returns the last line of each."""
        begun = []
        for each in changed:
            environment = self.environment | {"PORT": str(free_port()), "PF_METRICS_PORT": str(free_port())} | each
            begun.append(
                subprocess.Popen(
                    [*self.command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
            )
        told = [process.communicate(timeout=SECONDS)[0] for process in begun]
        for process, text in zip(begun, told, strict=True):
            assert process.returncode == 2, text[-2000:]
            assert self.environment["PF_API_KEY"] not in text
        return [text.splitlines()[-1] for text in told]

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the agent ended: {self.log()[-2000:]}"
        with suppress(httpx.HTTPError):
            return self.http.get("/health").status_code == 200
        return False

    def kill(self) -> None:
        """SIGKILL it with all its processes, and wait."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and wait; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(SECONDS)

    def log(self) -> str:
        """What it printed."""
        return (self.folder / "agent.log").read_text(errors="replace")

    # --- what a caller does and sees

    def infer(self, prompt: str = "hello", key: str | None = None, **body: Any) -> httpx.Response:
        """Ask for one inference."""
        headers = {"idempotency-key": key} if key else {}
        body = {"payer_wallet": PAYER, "prompt": prompt} | body
        return self.http.post("/inference", json={k: v for k, v in body.items() if v is not None}, headers=headers)

    def states(self) -> Counter[str]:
        """How many escrows the agent's ledger has in each state."""
        found: Counter[str] = Counter()
        for states in self.http.get("/earnings").json()["regions"].values():
            found.update({state: told["escrows"] for state, told in states.items()})
        return found

    def settled(self) -> Counter[str]:
        """The same, once nothing is open any more."""
        self.until(lambda: not {"creating", "locked", "settling"} & {*self.states()}, "nothing is open")
        return self.states()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a state."""
        end = time.monotonic() + SECONDS
        while not (found := condition()):
            assert time.monotonic() < end, f"{what}: not within {SECONDS} s; the agent's log: {self.log()[-2000:]}"
            time.sleep(0.02)
        return found

    def working(self) -> None:
        """Wait until the model is asked and what is locked for it is on record, in whichever order."""
        self.model.arrived.acquire()
        self.until(lambda: self.states()["locked"], "what is locked is on record")

    # --- what the payment service saw

    def escrows(self) -> dict[str, str]:
        """Status of each escrow by its id."""
        return {escrow["escrow_id"]: escrow["status"] for escrow in self.sandbox.statement()["escrows"]}

    def acts(self) -> Counter[str]:
        """How often each kind of act arrived."""
        return Counter(call.act for call in self.sandbox.received)

    def balanced(self) -> None:
        """Nothing was sent twice, and the books balance."""
        assert self.sandbox.statement()["balanced"]
        sent = Counter((call.act, call.subject) for call in self.sandbox.received if call.carried_out)
        assert [call for call, times in sent.items() if times > 1] == []

    def close(self) -> None:
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.model.close()


@contextmanager
def world(command: Sequence[str], folder: Path, dialect: str = "fly") -> Generator[World]:
    """A fresh sandbox, an empty volume, and the agent, not started yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_sandbox() as sandbox:
        built = World(command, sandbox, folder, dialect)
        try:
            yield built
        finally:
            built.close()
