"""`python -m runtime.agent.demo`: the Fly.io agents bill a few inferences on a local Purple Flea.

The Python agent, and with `--also PROGRAM` another one (`make fly-demo` builds the one in Go), run as on two Machines
in two regions, each with a volume of its own. Each is killed and started again, and has its ledger still.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from runtime.contract import Env, ExitCode, FlyEnv, Route
from runtime.demo import heading, say
from runtime.sandbox.testing import SandboxProcess
from runtime.service import Failure, Kind, NoSettings, Program, Start

WALLET: Final = "my-fly-agent"
_START_SECONDS: Final = 30


@dataclass
class Machine:
    """One agent with its volume, as Fly would run it.

    Args:
        command: Starts the agent.
        region: Where it would be.
        environment: What Fly would tell it.
    """

    command: Sequence[str]
    region: str
    environment: dict[str, str]

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.environment[FlyEnv.PORT]}", timeout=60, trust_env=False
        )

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        for _ in range(_START_SECONDS * 20):
            if self.process.poll() is not None:
                raise Failure(f"the agent in {self.region} did not start: {self.command[0]}")
            try:
                await self.http.get(Route.HEALTH)
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        raise Failure(f"the agent in {self.region} does not serve within {_START_SECONDS} s")

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, and wait until it has ended."""
        self.process.send_signal(number)
        self.process.wait()

    async def infer(self, prompt: str, key: str) -> dict[str, Any]:
        """Ask for one inference."""
        body = {"payer_wallet": "0xCaller", "prompt": prompt}
        return (await self.http.post(Route.INFERENCE, json=body, headers={"Idempotency-Key": key})).json()


async def run(start: Start[NoSettings]) -> ExitCode:
    """Run it. Returns OK only if every inference was billed once and the books balance."""
    sandbox = SandboxProcess()
    machines: list[Machine] = []
    try:
        with tempfile.TemporaryDirectory(prefix="purpleflea-fly-") as scratch:
            sandbox.deposit(WALLET, "1.00")
            print(f"A local Purple Flea on {sandbox.url}, spoken to in the fly dialect.")
            commands = [
                [sys.executable, "-m", "runtime.agent"],
                *([[start.arguments.also]] * bool(start.arguments.also)),
            ]
            for command, region in zip(commands, ("iad", "lhr"), strict=False):
                machine = Machine(command, region, _environment(sandbox, region, Path(scratch)))
                await machine.start()
                machines.append(machine)
                await _bill(machine)
            expected = 3 * len(machines)
            return ExitCode.OK if _statement(sandbox, expected) else ExitCode.FAILED
    finally:
        for machine in machines:
            machine.end()
            await machine.http.aclose()
        sandbox.stop()


def _environment(sandbox: SandboxProcess, region: str, scratch: Path) -> dict[str, str]:
    volume = scratch / region
    volume.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        FlyEnv.ESCROW_BASE: sandbox.url,
        FlyEnv.AGENT_WALLET: WALLET,
        FlyEnv.FLY_REGION: region,
        FlyEnv.FLY_MACHINE_ID: f"machine-{region}",
        FlyEnv.FLY_APP_NAME: "demo",
        FlyEnv.DATA_DIRECTORY: str(volume),
        FlyEnv.PORT: str(_free_port()),
        FlyEnv.METRICS_PORT: str(_free_port()),
        Env.API_KEY: sandbox.issue_key(WALLET),
        Env.ALLOW_HTTP: "true",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def _bill(machine: Machine) -> None:
    heading(f"{machine.region}: {Path(machine.command[-1]).name}")
    for number, prompt in enumerate(("hello", "a longer prompt " * 20, "once more"), 1):
        answer = await machine.infer(prompt, f"request-{number}")
        say(f"{answer['status']}: {answer['cost_usdc']} USDC, escrow {answer['escrow_id']}: {answer['result'][:40]}...")
    again = await machine.infer("hello", "request-1")
    say(f"the same key again: {again['escrow_id']}, replayed from the ledger, nothing locked")
    machine.end(signal.SIGKILL)
    await machine.start()
    earnings = (await machine.http.get(Route.EARNINGS)).json()
    say(f"killed and started again; the ledger has {earnings['regions'][machine.region]}")


def _statement(sandbox: SandboxProcess, expected: int) -> bool:
    heading("What the payment service has")
    statement = sandbox.statement()
    statuses = [escrow["status"] for escrow in statement["escrows"]]
    for escrow in statement["escrows"]:
        say(f"{escrow['escrow_id']}  {escrow['status']:<10} {escrow['locked_usdc']:>9}  {escrow['description']}")
    say("the books balance" if statement["balanced"] else f"the books do not balance: {statement['findings']}")
    return statement["balanced"] and statuses == ["released"] * expected


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--also", metavar="PROGRAM", help="another agent, on a second Machine")


PROGRAM = Program(
    "python -m runtime.agent.demo",
    "Bills a few inferences through the Fly.io agents on a local Purple Flea.",
    NoSettings,
    run,
    Kind.COMMAND,
    add_arguments=_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
