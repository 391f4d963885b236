"""The configuration files of a node's components."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.toolchain.control_plane import ControlPlane
from tests.toolchain.network import HOST_NAME, Network

NODE_NAME = "test-node"
PAUSE_IMAGE = "test.local/pause:1"
BUSYBOX_IMAGE = "test.local/busybox:1"
STORAGE_CLASS = "standard"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE no process may lower its score, and no pod would start.
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
"""

COREFILE = """\
.:53 {{
    bind {node_address}
    errors
    hosts {{
        {host_address} {host_name}
        ttl 5
        fallthrough
    }}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 1
    }}
    cache 1
    loadbalance
}}
"""


@dataclass(frozen=True)
class NodeFiles:
    """Writes all of them into the cluster's directory."""

    plane: ControlPlane
    network: Network
    programs: dict[str, Path]
    cgroup: str

    @property
    def directory(self) -> Path:
        """The cluster's directory."""
        return self.plane.directory

    def write(self) -> None:
        """Certificates, kubeconfigs and one configuration file a component."""
        authority = self.plane.write_credentials()
        self.plane.write_kubeconfig(authority, "kubelet", f"system:node:{NODE_NAME}", "system:nodes")
        self.plane.write_kubeconfig(authority, "kube-scheduler", "system:kube-scheduler")
        self.plane.write_kubeconfig(authority, "kube-proxy", "system:kube-proxy")
        # No role for these exists at first; as administrators they need none, and no pod can reach their keys.
        for addon in ("coredns", "volumes"):
            self.plane.write_kubeconfig(authority, addon, addon, "system:masters")
        authority.issue("kubelet-serving", f"system:node:{NODE_NAME}", hosts=[NODE_NAME, self.network.node_address])
        (self.directory / "resolv.conf").touch()
        (self.directory / "cni").mkdir()
        self._write("cni/10-test.conflist", json.dumps(self._cni()))
        self._write("kubelet.json", json.dumps(self._kubelet()))
        self._write("kube-proxy.json", json.dumps(self._kube_proxy()))
        self._write("containerd.toml", self._containerd())
        self._write("Corefile", self._corefile())

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def _containerd(self) -> str:
        return CONTAINERD.format(
            directory=self.directory,
            socket=CONTAINERD_SOCKET,
            pause=PAUSE_IMAGE,
            cni=self.programs["bridge"].parent,
            runc=self.programs["runc"],
        )

    def _corefile(self) -> str:
        return COREFILE.format(
            node_address=self.network.node_address,
            host_address=self.network.host_address,
            host_name=HOST_NAME,
            kubeconfig=self.plane.kubeconfig("coredns"),
        )

    def _cni(self) -> dict[str, Any]:
        ipam = {
            "type": "host-local",
            "dataDir": "/run/cni/networks",
            "ranges": [[{"subnet": self.network.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipMasq": False}
        return {"cniVersion": "1.0.0", "name": "test", "plugins": [{**bridge, "ipam": ipam}]}

    def _kubelet(self) -> dict[str, Any]:
        pki = self.plane.pki
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet-serving.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet-serving.key",
            "address": self.network.node_address,
            "healthzBindAddress": "127.0.0.1",
            "clusterDomain": "cluster.local",
            "clusterDNS": [self.network.node_address],
            "resolvConf": f"{self.directory}/resolv.conf",
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "nodeStatusUpdateFrequency": "5s",
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
        }

    def _kube_proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": f"{self.plane.kubeconfig('kube-proxy')}"},
            "mode": "nftables",
            "clusterCIDR": self.network.pods,
            "bindAddress": "0.0.0.0",
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # The machine's connection tracking is not for a namespace to change.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"syncPeriod": "30s", "minSyncPeriod": "100ms"},
        }
