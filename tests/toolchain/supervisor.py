"""One process per cluster: it starts the components, starts one again on request, and ends all of them when it is told
to or when its owner is gone, however that one died.

Single-threaded on purpose: a component is bound to the thread that started it, so that a kill -9 of this process ends
all of them too. What even that leaves behind, directories and cgroups, the next start sweeps (`cluster.py`).
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import psutil

from tests.toolchain import cache, kernel
from tests.toolchain.builder import bound_to_parent

POLL_SECONDS = 0.02
IDLE_SECONDS = 0.2
STOP_SECONDS = 5


class Stopped(Exception):
    """Somebody asked this supervisor to end, or its owner is gone."""


class Failed(Exception):
    """A cluster did not come up; the text says which part and ends with its log."""


class Supervisor:
    """The components of the cluster in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seconds: dict[str, float] = {}
        self._owner: psutil.Process | None = None
        self._begun = time.monotonic()
        self._inside: int | None = None
        self._commands: dict[str, tuple[list[str], dict[str, str]]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._reserved = socket.socket()
        self.description: dict[str, Any] = {}

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        """Start a component; its output goes to `log/<name>.log`."""
        self._commands[name] = command, environment or {}
        with (self.directory / "log" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*bound_to_parent(), *command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], **(environment or {})},  # no proxy or setting of yours reaches it
                preexec_fn=self._enter if self._inside else None,
            )

    def go_inside(self, process: int) -> None:
        """From now on components start in the namespaces of `process`, as children of this one all the same."""
        kernel.enter(process, ("pid",))
        self._inside = process

    @property
    def inside_root(self) -> Path:
        """The inside's root directory as seen from out here."""
        return Path(f"/proc/{self._inside}/root")

    def process(self, name: str) -> int:
        """The process id of a component."""
        return self._processes[name].pid

    def _enter(self) -> None:
        kernel.enter(self._inside)
        os.chdir(self.directory)  # entering a mount namespace leads to its root

    def reserve_port(self) -> int:
        """A free port on loopback that stays ours: bound but not listening, so only a shared bind of ours can join."""
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        return self._reserved.getsockname()[1]

    def finish(self, name: str, seconds: float = 60) -> None:
        """Wait for a command that ends by itself and forget it; its failure is one of the cluster."""
        self.wait_until(f"{name} is done", lambda: self._processes[name].poll() == 0, seconds)
        del self._processes[name], self._commands[name]

    def restart(self, name: str) -> None:
        """Start a component that has ended (a test killed it) with the command it had."""
        process = self._processes[name]
        if process.poll() is None:
            raise Failed(f"{name} still runs as process {process.pid}; stop it first")
        self.start(name, *self._commands[name])

    def wait_until(self, what: str, probe: Callable[[], bool], seconds: float = 60) -> None:
        """Poll `probe` until it is true; a component that ends meanwhile is a failure."""
        deadline = time.monotonic() + seconds
        while not probe():
            self.check_owner()
            for name, process in self._processes.items():
                if process.poll():
                    raise Failed(f"{name} ended with status {process.returncode} before {what}{self._log_tail(name)}")
            if time.monotonic() > deadline:
                logs = "".join(self._log_tail(name, 3) for name in self._processes)
                raise Failed(f"{what}: not within {seconds:.0f} s; is the machine overloaded?{logs}")
            time.sleep(POLL_SECONDS)

    def mark(self, event: str) -> None:
        """Remember how long after the start something happened."""
        self.seconds[event] = round(time.monotonic() - self._begun, 2)

    def watch(self, owner: int | None) -> None:
        """End when process `owner` does; None is for a cluster that only a request ends."""
        with _gone_is_stopped():
            self._owner = psutil.Process(owner) if owner else None

    def check_owner(self) -> None:
        """Raise `Stopped` when the owner is gone."""
        with _gone_is_stopped():
            if self._owner and (not self._owner.is_running() or self._owner.status() == psutil.STATUS_ZOMBIE):
                raise Stopped

    def publish(self) -> dict[str, Any]:
        """Write down for everyone where the cluster is and which processes it has now."""
        components = {name: process.pid for name, process in self._processes.items()}
        document = {**self.description, "seconds": self.seconds, "components": components}
        part = self.directory / "cluster.json.part"
        part.write_text(json.dumps(document, indent=1))
        part.rename(self.directory / "cluster.json")
        return document

    def serve(self) -> None:
        """Answer requests on `control` (a Unix socket) until it is over: one line `restart NAME`, one line back."""
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(self.directory)  # a short, relative name: the limit is 107 bytes
            listener.bind("control")
            listener.listen()
            listener.settimeout(IDLE_SECONDS)
            while True:
                self.check_owner()
                for process in self._processes.values():
                    process.poll()
                with contextlib.suppress(TimeoutError):
                    self._answer(listener.accept()[0])

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rw") as stream:
            connection.settimeout(STOP_SECONDS)
            try:
                verb, name = stream.readline().split()
                if verb != "restart":
                    raise Failed(f"{verb} is no request; restart NAME is")
                self.restart(name)
                self.publish()
                print("done", file=stream, flush=True)
            except (Failed, KeyError, ValueError, OSError) as error:
                with contextlib.suppress(OSError):
                    print(f"{type(error).__name__}: {error}", file=stream, flush=True)

    def end_all(self) -> None:
        """End every component, the last started first; nothing here is worth a slow farewell."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.kill()
        for process in self._processes.values():
            process.wait()

    def _log_tail(self, name: str, lines: int = 12) -> str:
        text = (self.directory / "log" / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return "".join(f"\n  {name}: {line}" for line in text[-lines:])


@contextlib.contextmanager
def _gone_is_stopped() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess as gone:
        raise Stopped from gone


@contextlib.contextmanager
def _claimed(directory: Path) -> Iterator[None]:
    """Make the directory and hold its lock: whoever can take that lock knows that the cluster is dead."""
    with cache.locked("clusters"):
        directory.parent.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(mode=0o700)
        for part in ("log", "pki"):
            (directory / part).mkdir()
        lock = (directory / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(os.getpid(), file=lock, flush=True)
    with lock:
        yield


def _remove(directory: Path) -> None:
    if kept := os.environ.get("TEST_CLUSTER_LOGS"):
        shutil.copytree(directory / "log", Path(kept) / directory.name, dirs_exist_ok=True)
    with cache.locked("clusters"):
        shutil.rmtree(directory)
        with contextlib.suppress(OSError):  # another cluster lives there
            directory.parent.rmdir()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def main() -> None:
    """Read the request from standard input, bring the cluster up, report one line, keep it until it is over."""
    from tests.toolchain import levels

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(sys.stdin.readline())
    directory, level = Path(request["directory"]), levels.LEVELS[request["level"]]
    with _claimed(directory):
        supervisor = Supervisor(directory)
        try:
            signal.signal(signal.SIGTERM, _stop)
            _redirect(sys.stderr, directory / "log" / "supervisor.log")  # who started us may wait for its end
            supervisor.watch(request["owner"])
            report = _boot(supervisor, level, request)
            print(json.dumps(report), flush=True)
            _redirect(sys.stdout, Path(os.devnull))
            if "error" not in report:
                supervisor.serve()
        except Stopped:
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (directory / "cluster.json").unlink(missing_ok=True)  # who looks for it waits from here on
            supervisor.end_all()
            level.clean(directory.name)
            _remove(directory)


def _boot(supervisor: Supervisor, level: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        programs = {name: Path(path) for name, path in request["programs"].items()}
        supervisor.description = {"level": request["level"], "pid": os.getpid(), "owner": request["owner"]}
        supervisor.description |= level.boot(supervisor, programs)
        return supervisor.publish()
    except (Failed, OSError) as error:
        return {"error": f"{error}"}
    except subprocess.CalledProcessError as error:
        return {"error": f"{error}: {error.stderr}"}
    except Stopped:
        raise
    except Exception:  # the log with the traceback goes with the directory
        return {"error": traceback.format_exc()}


def _redirect(stream: TextIO, file: Path) -> None:
    with file.open("a") as target:
        os.dup2(target.fileno(), stream.fileno())


if __name__ == "__main__":
    main()
