"""Our programs, each as a process forked off a server which has imported it already.

An import takes a second of CPU, most of what a test of the operator, of payroll or of the Fly.io agent costs. What is
forked runs the same program from its first line on. Tests of the start itself begin a new Python instead.
"""

import json
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterable
from multiprocessing.context import ForkServerContext

_server: ForkServerContext = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "runtime.agent.serving",
        "runtime.agent.sidecar",
        "runtime.operator.process",
        *(f"runtime.payroll.{name}" for name in ("missed", "run", "settings", "summary")),
        *(f"runtime.agent_worker.{name}" for name in ("pages", "sample", "settings", "worker")),
        "runtime.kubernetes.failures",
        "runtime.payments.busy_http",
        "runtime.service.json_lines",
        "uvicorn",
        "uvicorn.protocols.http.h11_impl",
    ]
)


_ANEW = """
import json, sys
given = json.loads(sys.argv.pop(1))
sys.modules.update(dict.fromkeys(given["without"]))
from tests.runtime.forked import run_module
run_module(given["module"])
"""
_ROOT = pathlib.Path(__file__).parents[2]


def begin(
    environment: dict[str, str], log: str, module: str, *arguments: str, without: Iterable[str] = (), anew: bool = False
) -> "subprocess.Popen[bytes] | Forked":
    """Start `python -m MODULE` in a process group of its own; its output goes to the file `log`.

    A new Python is begun, one that has not imported anything yet, with `anew`, with modules that it shall not find, or
    where the environment asks the dynamic linker for a library (a clock): a fork is linked already.
    """
    if not (without or anew or "LD_PRELOAD" in environment):
        return Forked(environment, log, module, *arguments)
    given = json.dumps({"module": module, "without": [*without]})
    with pathlib.Path(log).open("ab") as output:
        command = [sys.executable, "-c", _ANEW, given, *arguments]
        return subprocess.Popen(
            command, env=environment, stderr=output, stdout=output, cwd=_ROOT, start_new_session=True
        )


def run(module: str, arguments: tuple[str, ...], environment: dict[str, str], log: str) -> None:
    """In the new process: be `python -m MODULE` with these arguments, that environment and that output."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [module, *arguments]
    run_module(module)


def run_module(module: str) -> None:
    """Be that program; where SERVICE_ACCOUNT names the folder that a pod finds mounted, with that."""
    if "SERVICE_ACCOUNT" in os.environ and "KUBECONFIG" not in os.environ:
        from runtime.kubernetes import connection

        connection.SERVICE_ACCOUNT = pathlib.Path(os.environ.pop("SERVICE_ACCOUNT"))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class Forked:
    """What `subprocess.Popen` is of a process that is forked."""

    def __init__(self, environment: dict[str, str], log: str, module: str, *arguments: str) -> None:
        self._process = _server.Process(target=run, args=(module, arguments, environment, log), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self.returncode

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code, when it has ended; raises `TimeoutError`."""
        self._process.join(seconds)
        if self.returncode is None:
            raise TimeoutError(f"it has not ended within {seconds} s")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)
