"""The node level: the control plane, and a kubelet with real pods, Services and DNS, all in namespaces of their own.

Root on Linux is needed. Its end is the end of one process (`inside.py`); outside its directory only a network
interface, which goes with it, and empty cgroups belong to it.
"""

import http
import json
import os
import platform
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from tests.toolchain import cache, cgroups, control_plane, kernel, network, oci
from tests.toolchain.control_plane import Api, ControlPlane
from tests.toolchain.node_files import (
    BUSYBOX_IMAGE,
    CONTAINERD_SOCKET,
    NODE_NAME,
    PAUSE_IMAGE,
    STORAGE_CLASS,
    NodeFiles,
)
from tests.toolchain.supervisor import Failed, Supervisor
from tests.toolchain.tools import Missing

PROGRAMS = (
    *control_plane.PROGRAMS,
    *("kube-scheduler", "kubelet", "kube-proxy"),
    *("containerd", "runc", "nft", "bridge", "coredns", "volumes", "pause", "busybox"),
)
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
DNS_PORT = 53
MEMORY_MEGABYTES = 1300
"""Without the pods."""


def demand() -> None:
    """Refuse early, with the remedy, what this machine cannot do."""
    elsewhere = "or set E2E_KUBECONFIG to the kubeconfig of a cluster of yours"
    if platform.system() != "Linux":
        raise Missing(f"a node needs Linux and this is {platform.system()}; run it in a Linux machine, {elsewhere}")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    capabilities = int(status["CapEff"], 16)
    if not all(capabilities >> bit & 1 for bit in (CAP_NET_ADMIN, CAP_SYS_ADMIN)):
        raise Missing(f"a node needs root, with the rights to namespaces and networks; run it as root, {elsewhere}")
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise Missing(f"a node needs overlayfs in the kernel; load it with `modprobe overlay`, {elsewhere}")
    if lacking := [name for name in ("unshare", "nsenter", "setpriv", "ip") if not shutil.which(name)]:
        raise Missing(f"a node needs {', '.join(lacking)} on the PATH; install util-linux and iproute2, {elsewhere}")
    cgroups.demand()
    control_plane.demand_memory(MEMORY_MEGABYTES)


def boot(supervisor: Supervisor, programs: dict[str, Path]) -> dict[str, Any]:
    """Bring up the node; done when it is ready for pods and answers names."""
    cgroups.create(supervisor.directory.name)
    inside = _unshare(supervisor)
    with cache.locked("network"):
        net = network.free_network()
        net.connect(inside)
    supervisor.go_inside(inside)
    supervisor.mark("network joined")
    plane = ControlPlane(supervisor.directory, net.node_address, 6443, net.services, (_first(net.services),))
    NodeFiles(plane, net, programs, supervisor.directory.name).write()
    _start_components(supervisor, plane, net, programs)
    return {
        "url": plane.url,
        "kubeconfig": f"{plane.kubeconfig('admin')}",
        "host_address": net.host_address,
        "host_name": network.HOST_NAME,
        "inside": inside,
    }


def clean(name: str) -> None:
    """Remove what is left outside the directory when all processes are gone."""
    cgroups.remove(name)


def _unshare(supervisor: Supervisor) -> int:
    """Start the first process of the node's namespaces; its process id out here."""
    flags = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    script = Path(__file__).with_name("inside.py")
    command = ["unshare", *flags, "--propagation", "private", sys.executable, "-I", "-S", f"{script}"]
    supervisor.start("inside", [*command, f"{supervisor.directory}", NODE_NAME])
    ready = supervisor.directory / "inside-ready"
    supervisor.wait_until("the namespaces are prepared", ready.exists, 20)
    child = kernel.first_child(supervisor.process("inside"))
    assert child, "unshare waits for its child"
    return child


def _start_components(
    supervisor: Supervisor, plane: ControlPlane, net: network.Network, programs: dict[str, Path]
) -> None:
    directory = supervisor.directory
    path = {"PATH": _search_path(programs)}
    supervisor.start("containerd", [f"{programs['containerd']}", "--config", f"{directory}/containerd.toml"], path)
    supervisor.start("etcd", plane.etcd(programs["etcd"]))
    supervisor.start("kube-apiserver", plane.api_server(programs["kube-apiserver"]), control_plane.EAGER)
    _import_images(supervisor, programs)
    api = Api(plane)
    supervisor.wait_until("the API server answers", api.answers)
    # These two need no role to be there yet.
    supervisor.start("kubelet", _kubelet(plane, net, programs["kubelet"]), path)
    supervisor.start("coredns", [f"{programs['coredns']}", "-conf", f"{directory}/Corefile"])
    supervisor.wait_until("the API server is ready", api.ready)
    supervisor.mark("API server ready")
    supervisor.start("kube-controller-manager", plane.controller_manager(programs["kube-controller-manager"]))
    supervisor.start("kube-scheduler", _scheduler(plane, programs["kube-scheduler"]))
    proxy = [f"--config={directory}/kube-proxy.json", f"--hostname-override={NODE_NAME}"]
    supervisor.start("kube-proxy", [f"{programs['kube-proxy']}", *proxy], path)
    supervisor.start("volumes", _volumes(plane, api, programs["volumes"]))
    supervisor.wait_until("the node is ready", lambda: _node_ready(api))
    supervisor.mark("node ready")
    supervisor.wait_until("DNS answers", lambda: _accepts(net.node_address, DNS_PORT))
    supervisor.mark("DNS ready")


def _kubelet(plane: ControlPlane, net: network.Network, program: Path) -> list[str]:
    return [
        f"{program}",
        f"--config={plane.directory}/kubelet.json",
        f"--kubeconfig={plane.kubeconfig('kubelet')}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={net.node_address}",
    ]


def _scheduler(plane: ControlPlane, program: Path) -> list[str]:
    kubeconfig = plane.kubeconfig("kube-scheduler")
    flags = [
        "--secure-port=0",
        "--leader-elect=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]
    return [f"{program}", f"--kubeconfig={kubeconfig}", *flags]


def _volumes(plane: ControlPlane, api: Api, program: Path) -> list[str]:
    """What gives each claim a directory of the node, and the default StorageClass that names it."""
    storage_class = {
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "test.local/volumes",  # as `addons/volumes` calls itself
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    status, text = api.request("POST", "/apis/storage.k8s.io/v1/storageclasses", storage_class)
    if status != http.HTTPStatus.CREATED:
        raise Failed(f"the API server refuses the StorageClass: {text}")
    directory = plane.directory / "volumes"
    directory.mkdir()
    return [f"{program}", f"{plane.kubeconfig('volumes')}", f"{directory}", NODE_NAME]


def _import_images(supervisor: Supervisor, programs: dict[str, Path]) -> None:
    """Bring in the sandbox image and a small one, while the API server starts."""
    supervisor.wait_until("containerd listens", (supervisor.inside_root / CONTAINERD_SOCKET.lstrip("/")).is_socket)
    for name, image in (("pause", PAUSE_IMAGE), ("busybox", BUSYBOX_IMAGE)):
        archive = supervisor.directory / f"{name}.tar"
        oci.write_archive(archive, image, {f"bin/{name}": programs[name]}, [f"/bin/{name}"])
        ctr = f"{programs['containerd'].with_name('ctr')}"
        supervisor.start(f"import-{name}", [ctr, "--namespace", "k8s.io", "images", "import", f"{archive}"])
    for name in ("pause", "busybox"):
        supervisor.finish(f"import-{name}")
        (supervisor.directory / f"{name}.tar").unlink()
    supervisor.mark("images imported")


def _node_ready(api: Api) -> bool:
    status, text = api.request("GET", f"/api/v1/nodes/{NODE_NAME}")
    conditions = json.loads(text)["status"].get("conditions", []) if status == 200 else []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _search_path(programs: dict[str, Path]) -> str:
    places = [f"{programs[name].parent}" for name in ("containerd", "runc", "nft")]
    return ":".join([*places, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _first(range_: str) -> str:
    return range_.rsplit(".", 1)[0] + ".1"
