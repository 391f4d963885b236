"""What a cluster could leave on the machine, looked up on the machine itself."""

import ipaddress
import subprocess
from pathlib import Path

import psutil

from tests.toolchain import cgroups, cluster
from tests.toolchain.inside import SYSCTLS

STRAYS = (
    *("/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/log/containers", "/var/log/pods"),
    *("/run/containerd", "/run/cni", "/opt/containerd", "/opt/cni", "/etc/cni", "/usr/libexec/kubernetes"),
)


def settings() -> dict[str, str]:
    """The machine-wide settings a kubelet changes."""
    files = {name: Path("/proc/sys") / name for name in SYSCTLS}
    return {name: file.read_text() for name, file in files.items() if file.exists()}


def strays() -> set[str]:
    """Which of the usual directories of Kubernetes are here."""
    return {place for place in STRAYS if Path(place).exists()}


def left_of(name: str, address: str = "") -> dict[str, list[str]]:
    """What is here of the cluster of that name, whose network, if any, had `address` on this machine."""
    directory = f"{cluster.root() / name}"
    found = {
        "processes": [f"{process.pid}" for process in psutil.process_iter() if _belongs(process, name, directory)],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if directory in line],
        "cgroups": [f"{top / name}" for top in cgroups.hierarchies() if (top / name).exists()],
        "directory": [directory] if Path(directory).exists() else [],
    }
    if address:
        node_address = ipaddress.ip_address(address) + 1
        found["addresses"] = [line for line in _ip("address") if f" {address}/" in line]
        found["routes"] = [line for line in _ip("route") if f" via {node_address} " in f"{line} "]
    return {kind: things for kind, things in found.items() if things}


def _belongs(process: psutil.Process, name: str, directory: str) -> bool:
    try:
        in_group = f"/{name}/" in Path(f"/proc/{process.pid}/cgroup").read_text()
        return in_group or any(directory in argument for argument in process.cmdline())
    except (psutil.Error, OSError):
        return False  # it has just ended


def _ip(what: str) -> list[str]:
    answer = subprocess.run(["ip", "-oneline", what], check=True, capture_output=True, text=True)
    return answer.stdout.splitlines()
