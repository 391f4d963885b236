"""The agent as a process forked from one that has imported it: most of a start's processor time goes into imports.

It is a process all the same, to be killed and awaited. What starts by its command is in `tests/conformance`.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

from tests.conformance.world import World

_MODULES = ("runtime.agent.serving", "runtime.agent.sidecar", "runtime.service.sockets")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*_MODULES, __name__])


class Warm(World):
    """Starts programs in Python so, unless their environment is what the loader reads."""

    def spawn(self, environment, log):
        if self.command[0] != sys.executable or "LD_PRELOAD" in environment:
            return super().spawn(environment, log)
        return _Forked(self.command[2], environment, Path(log.name))


class _Forked:
    """What `World` needs of `subprocess.Popen`."""

    def __init__(self, module, environment, log):
        self._process = _context.Process(target=_run, args=(module, environment, log), daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    @property
    def returncode(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.pid, timeout)
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


def _run(module, environment, log):
    os.setsid()
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
