"""What can go wrong with a cluster, as context managers that always undo themselves.

Components are named as in `Cluster.processes()`: `kube-apiserver`, `etcd`, `kubelet`, `containerd` ... Every test of a
run shares them, so a test that breaks one asks for a cluster of its own (`spare_control_plane`, `spare_node`); cutting
off one pod's address harms nobody else. Between a client and a server on loopback, without root: `faulty_link.py`; a
process's clock: `clock.py`.
"""

import contextlib
import secrets
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.toolchain import tools, waiting
from tests.toolchain.cluster import Cluster
from tests.toolchain.control_plane import Api, ControlPlane

STOPPABLE_FIRST = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "kube-apiserver")
"""Who must not see etcd go back in time: they remember resource versions of a future that is no more."""


@contextlib.contextmanager
def paused(cluster: Cluster, component: str) -> Iterator[None]:
    """Freeze a component: its connections stay open and nothing answers, as on a machine that swaps itself to death."""
    process = psutil.Process(cluster.processes()[component])
    process.send_signal(signal.SIGSTOP)
    try:
        waiting.until(f"{component} stands still", lambda: process.status() == psutil.STATUS_STOPPED)
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def killed(cluster: Cluster, *components: str, how: signal.Signals = signal.SIGKILL) -> Iterator[None]:
    """End components, in this order, and start them again at the end in the opposite one; `SIGTERM` asks politely.

    What else has died of it meanwhile (a controller-manager without an API server gives up) is started again too.
    """
    ended: list[str] = []
    try:
        for component in components:
            ended.append(component)
            _end(cluster, component, how)
        yield
    finally:
        for component in reversed(ended):
            cluster.restart(component)
        await_api(cluster)
        for component, process in cluster.processes().items():
            if not psutil.pid_exists(process):
                cluster.restart(component)


def restart(cluster: Cluster, component: str, how: signal.Signals = signal.SIGKILL) -> None:
    """End a component and start it again at once; done when the API server answers again."""
    with killed(cluster, component, how=how):
        pass


@contextlib.contextmanager
def cut(cluster: Cluster, one: str, other: str) -> Iterator[None]:
    """Drop, in silence, every packet between two addresses of the node's network, of open connections too.

    Addresses are those behind a Service: a pod's, `cluster.host_address` for this machine, the node's for the API
    server.
    """
    table = f"cut-{secrets.token_hex(4)}"
    drops = f"ip saddr {one} ip daddr {other} drop; ip saddr {other} ip daddr {one} drop;"
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -10; {drops} }}\n" for hook in ("input", "forward", "output")
    )
    cluster.run_inside(nft(), f"table inet {table} {{\n{chains}}}\n")
    try:
        yield
    finally:
        cluster.run_inside(nft(), f"delete table inet {table}")


def nft() -> str:
    """The program that sets packet filters, to be run inside a node."""
    return f"{tools.find('nft').path}"


def restart_node(cluster: Cluster) -> int:
    """The machine under the node loses its power and gets it back: all on it ends, what is on disk stays.

    Returns how many processes of pods ended; the kubelet starts their pods anew where their policies say so.
    """
    present = cluster.processes()
    others = [component for component in STOPPABLE_FIRST if component in present]
    with killed(cluster, *others, "containerd", "etcd"):
        shims = [one for one in psutil.process_iter(["name"]) if one.name().startswith("containerd-shim")]
        ours = [one for one in shims if _namespace(one.pid) == _namespace(cluster.inside)]
        processes = [*ours, *(child for one in ours for child in one.children(recursive=True))]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        waiting.until("the pods' processes have ended", lambda: not any(map(_lives, processes)))
    return len(processes)


def _namespace(process: int) -> str:
    """Of processes: each node has its own."""
    return f"{Path(f'/proc/{process}/ns/pid').readlink()}"


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class EtcdSnapshot:
    """The cluster's whole state at one moment; `restore` brings it back, as after a disaster."""

    def __init__(self, cluster: Cluster, copy: Path) -> None:
        self._cluster = cluster
        self._copy = copy

    def restore(self) -> None:
        """Put the old state in place of the present one, which is lost; every component starts again."""
        present = self._cluster.processes()
        others = [component for component in STOPPABLE_FIRST if component in present]
        with killed(self._cluster, *others, "etcd"):
            data = self._cluster.directory / "etcd"
            shutil.rmtree(data)
            shutil.copytree(self._copy, data)


@contextlib.contextmanager
def etcd_snapshot(cluster: Cluster) -> Iterator[EtcdSnapshot]:
    """Take a snapshot, with etcd away for a moment so that it is whole; the copy is removed at the end."""
    copy = cluster.directory / f"etcd-snapshot-{secrets.token_hex(4)}"
    try:
        with killed(cluster, "etcd"):
            shutil.copytree(cluster.directory / "etcd", copy)
        yield EtcdSnapshot(cluster, copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def await_api(cluster: Cluster) -> None:
    """Wait until the API server says that it, and etcd behind it, is ready."""
    where = urlsplit(cluster.url)
    api = Api(ControlPlane(cluster.directory, f"{where.hostname}", where.port or 443))
    waiting.until("the API server is ready", api.ready)


def _end(cluster: Cluster, component: str, how: signal.Signals) -> None:
    try:
        process = psutil.Process(cluster.processes()[component])
        process.send_signal(how)
    except psutil.NoSuchProcess:  # it gave up by itself
        return
    waiting.until(f"{component} has ended, and its supervisor knows", lambda: not process.is_running())
