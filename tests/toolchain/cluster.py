"""A running test cluster as tests and `make cluster` see it: start one, find it again, stop it, sweep dead ones."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lightkube
import yaml
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ServiceAccountToken

from tests.toolchain import cache, certificates, levels, tools
from tests.toolchain.supervisor import Failed

START_SECONDS = 180
STOP_SECONDS = 30
SPACE_MEGABYTES = 500
START_LOCKS = 64
"""Lock files stay, names are many: a name takes one of these."""
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    """Where a cluster is and how to use it."""

    name: str
    level: str
    url: str
    kubeconfig: Path
    """The administrator's."""
    directory: Path
    seconds: dict[str, float]
    """How long after the start each step was reached."""
    host_address: str = ""
    """Where pods reach a server that this machine runs, by address; bind it there or to 0.0.0.0. Node level only."""
    host_name: str = ""
    """The same by name."""
    inside: int = 0
    """A process in the node's namespaces, for `nsenter`; 0 where there is none."""

    @functools.cached_property
    def _config(self) -> lightkube.KubeConfig:
        return lightkube.KubeConfig.from_file(self.kubeconfig)

    def client(self, namespace: str = "default") -> lightkube.Client:
        """A client with the administrator's rights."""
        return lightkube.Client(config=self._config, namespace=namespace, field_manager="tests", trust_env=False)

    def async_client(self, namespace: str = "default") -> lightkube.AsyncClient:
        """The same for coroutines."""
        return lightkube.AsyncClient(config=self._config, namespace=namespace, field_manager="tests", trust_env=False)

    def kubeconfig_for(self, service_account: str, namespace: str, lifetime_seconds: int = 3600) -> Path:
        """A kubeconfig with a token of that ServiceAccount, so with its rights only; made again at each call."""
        request = ServiceAccountToken(
            metadata=ObjectMeta(), spec=TokenRequestSpec(audiences=[], expirationSeconds=lifetime_seconds)
        )
        answer = self.client(namespace).create(request, service_account)
        file = self.directory / f"{namespace}.{service_account}.kubeconfig"
        file.touch(mode=0o600)
        document = yaml.safe_load(self.kubeconfig.read_text())
        wanted = self._config.get().context.cluster
        (cluster,) = (one["cluster"] for one in document["clusters"] if one["name"] == wanted)
        if authority := cluster.get("certificate-authority"):
            cluster["certificate-authority"] = f"{self.kubeconfig.parent / authority}"
        file.write_text(certificates.kubeconfig_text(cluster, {"token": answer.status.token}, namespace))
        return file

    def processes(self) -> dict[str, int]:
        """The process id of each component, as it is now."""
        return json.loads((self.directory / "cluster.json").read_text())["components"]

    def run_inside(self, *command: str) -> str:
        """What a command prints that runs in the node's namespaces."""
        enter = ["nsenter", "--target", f"{self.inside}", "--net", "--mount", "--pid", "--uts", "--"]
        return subprocess.run([*enter, *command], check=True, capture_output=True, text=True).stdout

    def restart(self, component: str) -> None:
        """Start a component again that has ended."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECONDS)
            with contextlib.chdir(self.directory):
                connection.connect("control")
            with connection.makefile("rw") as stream:
                print(f"restart {component}", file=stream, flush=True)
                answer = stream.readline().strip()
        if answer != "done":
            raise RuntimeError(f"{component} was not started again: {answer or 'no answer'}")


def start(level: str, name: str, owner: int | None) -> Cluster:
    """The cluster of that name, brought up unless it runs; it ends with process `owner`, or only by `stop` without one.

    Concurrent callers get the same one. `Missing` says what this machine lacks, `Failed` what did not come up.
    """
    module = levels.LEVELS[level]
    module.demand()
    _demand_space()
    programs = {name: f"{path}" for name, path in tools.find_all(module.PROGRAMS).items()}
    with cache.locked(f"start-{zlib.crc32(name.encode()) % START_LOCKS}"):
        if running := find(name):
            return running
        sweep()
        request = {"level": level, "directory": f"{root() / name}", "owner": owner, "programs": programs}
        return _described(name, _launch(request))


def external(kubeconfig: Path, host_address: str, directory: Path) -> Cluster:
    """A cluster that somebody else keeps, for the node level; `directory` takes what tests write."""
    url = lightkube.KubeConfig.from_file(kubeconfig).get().cluster.server
    host = {"host_address": host_address, "host_name": host_address}
    return Cluster(
        name="external", level="node", url=url, kubeconfig=kubeconfig, directory=directory, seconds={}, **host
    )


def find(name: str) -> Cluster | None:
    """The running cluster of that name, if there is one; waits for one that is just coming up or going down."""
    directory = root() / name
    deadline = time.monotonic() + START_SECONDS
    while _supervised(directory):
        with contextlib.suppress(FileNotFoundError):
            return _described(name, json.loads((directory / "cluster.json").read_text()))
        if time.monotonic() > deadline:
            raise Failed(f"the cluster in {directory} neither comes up nor ends; kill the process in its lock file")
        time.sleep(0.05)
    return None


def stop(name: str) -> bool:
    """End the cluster of that name and wait until nothing is left of it; whether there was one."""
    directory = root() / name
    if not _supervised(directory):
        sweep()
        return False
    os.kill(int((directory / "lock").read_text()), signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _supervised(directory):
        if time.monotonic() > deadline:
            raise Failed(
                f"the cluster in {directory} does not end within {STOP_SECONDS} s; kill the process in its lock"
            )
        time.sleep(0.02)
    return True


def sweep() -> None:
    """Remove what clusters left behind whose supervisor was killed."""
    with cache.locked("clusters"):
        for directory in _directories():
            if not _supervised(directory):
                for level in levels.LEVELS.values():
                    level.clean(directory.name)
                shutil.rmtree(directory)
        with contextlib.suppress(OSError):
            root().rmdir()


def names() -> list[str]:
    """The clusters that run now."""
    return sorted(directory.name for directory in _directories() if _supervised(directory))


def root() -> Path:
    """Where this user's clusters are while they run."""
    return Path(tempfile.gettempdir()) / f"purpleflea-{os.getuid()}"


def checkout_name(level: str) -> str:
    """The name of the cluster `make cluster` keeps for this checkout: two checkouts do not meet."""
    return f"{level}-{hashlib.sha256(f'{REPOSITORY}'.encode()).hexdigest()[:8]}"


def _demand_space() -> None:
    free = shutil.disk_usage(root().parent).free >> 20
    if free < SPACE_MEGABYTES:
        raise tools.Missing(
            f"a cluster takes about {SPACE_MEGABYTES} MB on disk and {root().parent} has {free} MB left; "
            "free some space, or point TMPDIR at a larger disk"
        )


def _launch(request: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.toolchain.supervisor"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    try:
        print(json.dumps(request), file=process.stdin, flush=True)
        line = process.stdout.readline()
    except BaseException:
        process.terminate()  # Ctrl-C while it starts
        process.wait()
        raise
    finally:
        process.stdin.close()
        process.stdout.close()
    report = json.loads(line) if line else {"error": f"its supervisor ended with status {process.wait()}"}
    if "error" in report:
        process.wait()
        raise Failed(f"the {request['level']} cluster did not start: {report['error']}")
    return report


def _described(name: str, report: dict[str, Any]) -> Cluster:
    known = {field.name: report[field.name] for field in fields(Cluster) if field.name in report}
    return Cluster(**known | {"name": name, "directory": root() / name, "kubeconfig": Path(report["kubeconfig"])})


def _supervised(directory: Path) -> bool:
    """Whether a living supervisor holds this directory's lock."""
    try:
        with (directory / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _directories() -> list[Path]:
    """Each cluster's directory; refused when somebody else made the place, for it holds the keys."""
    place = root()
    if not place.exists():
        return []
    if place.stat().st_uid != os.getuid() or place.stat().st_mode & 0o077:
        raise tools.Missing(f"{place} belongs to somebody else or is open to others; remove it, or set TMPDIR")
    return [path for path in place.iterdir() if path.is_dir()]
