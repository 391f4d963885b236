"""The programs that a cluster runs, each as a process forked off a server which has imported it already.

An import takes a second of CPU, most of what a test of the operator or of payroll costs. What is forked runs the same
program from its first line on. Tests of the start itself begin a new Python instead.
"""

import multiprocessing
import os
import pathlib
import runpy
import signal
import sys
from multiprocessing.context import ForkServerContext

_server: ForkServerContext = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "runtime.operator.process",
        *(f"runtime.payroll.{name}" for name in ("__main__", "missed", "run", "summary")),
        *(f"runtime.agent_worker.{name}" for name in ("__main__", "pages", "sample", "worker")),
        "runtime.kubernetes.failures",
        "runtime.payments.busy_http",
        "runtime.service.json_lines",
        "uvicorn",
        "uvicorn.protocols.http.h11_impl",
    ]
)


def run(module: str, arguments: tuple[str, ...], environment: dict[str, str], log: str) -> None:
    """In the new process: be `python -m MODULE` with these arguments, that environment and that output."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [module, *arguments]
    run_module(module)


def run_module(module: str) -> None:
    """Be that program, with what a pod finds mounted in the folder SERVICE_ACCOUNT, unless KUBECONFIG is set."""
    if "KUBECONFIG" not in os.environ:
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
