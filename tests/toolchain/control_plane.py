"""The control plane: etcd, the API server with its aggregation layer, the controller-manager. No root needed.

etcd listens on a Unix socket in the cluster's private directory, so it needs neither a port nor certificates; the
controller-manager serves nothing. One TCP port remains: the API server's.
"""

import http.client
import json
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil

from tests.toolchain import certificates
from tests.toolchain.supervisor import Supervisor
from tests.toolchain.tools import Missing

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
MEMORY_MEGABYTES = 700
ETCD = "unix://etcd:0"
"""A socket file named `etcd:0` in the directory where both etcd and the API server run; etcd insists on a port."""

# Rather memory than time: collecting garbage costs the API server a third of its start. The limit leaves room for the
# objects of 50,000 Jobs, over a GiB: with less it does little else than collect.
EAGER = {"GOGC": "400", "GOMEMLIMIT": "6GiB"}


@dataclass(frozen=True)
class ControlPlane:
    """Where the control plane lives and how it is reached."""

    directory: Path
    address: str
    port: int
    service_range: str = "10.96.0.0/16"
    hosts: tuple[str, ...] = ()
    """More names and addresses for the API server's certificate."""

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.address}:{self.port}"

    @property
    def pki(self) -> Path:
        """Where keys and certificates are."""
        return self.directory / "pki"

    def kubeconfig(self, name: str) -> Path:
        """Where the kubeconfig of a component or of `admin` is."""
        return self.directory / f"{name}.kubeconfig"

    def write_credentials(self) -> certificates.Authority:
        """All certificates and kubeconfigs the three components and the administrator need."""
        authority = certificates.Authority(self.pki, "ca")
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        authority.issue(
            "apiserver", "kube-apiserver", hosts=[*names, "localhost", "127.0.0.1", self.address, *self.hosts]
        )
        authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        certificates.Authority(self.pki, "front-proxy-ca").issue("front-proxy-client", "front-proxy-client")
        certificates.signing_key(self.pki, "service-account")
        self.write_kubeconfig(authority, "admin", "admin", "system:masters")
        self.write_kubeconfig(authority, "kube-controller-manager", "system:kube-controller-manager")
        return authority

    def write_kubeconfig(self, authority: certificates.Authority, name: str, user: str, group: str = "") -> None:
        """A kubeconfig for one user, with a certificate of its own."""
        file = self.kubeconfig(name)
        file.touch(mode=0o600)
        file.write_text(certificates.kubeconfig(self.url, authority.file, authority.issue(name, user, group)))

    def etcd(self, program: Path) -> list[str]:
        """The command of etcd."""
        return [
            f"{program}",
            "--name=test",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=unix://peer:0",
            "--initial-advertise-peer-urls=unix://peer:0",
            "--initial-cluster=test=unix://peer:0",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def api_server(self, program: Path) -> list[str]:
        """The command of the API server."""
        pki = self.pki
        return [
            f"{program}",
            f"--advertise-address={self.address}",
            *self._without_endpoints(),
            f"--bind-address={'127.0.0.1' if self.address == '127.0.0.1' else '0.0.0.0'}",
            f"--secure-port={self.port}",
            "--permit-port-sharing",
            f"--etcd-servers={ETCD}",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/service-account.pub",
            f"--service-account-signing-key-file={pki}/service-account.key",
            f"--service-cluster-ip-range={self.service_range}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            "--enable-aggregator-routing=true",
            "--enable-priority-and-fairness=false",
            "--profiling=false",
        ]

    def _without_endpoints(self) -> list[str]:
        """On loopback nothing but this machine reaches the API server, and it refuses to publish such an address."""
        return ["--endpoint-reconciler-type=none"] if ip_address(self.address).is_loopback else []

    def controller_manager(self, program: Path) -> list[str]:
        """The command of the controller-manager, with faster reactions than in production."""
        pki = self.pki
        return [
            f"{program}",
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            "--secure-port=0",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/service-account.key",
            "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            f"--client-ca-file={pki}/ca.crt",
            "--controllers=*",
            "--leader-elect=false",
            "--allocate-node-cidrs=false",
            f"--flex-volume-plugin-dir={self.directory / 'volume-plugins'}",
            "--horizontal-pod-autoscaler-sync-period=1500ms",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--profiling=false",
        ]


class Api:
    """What a supervisor itself has to ask of the API server, as the administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        tls = ssl.create_default_context(cafile=plane.pki / "ca.crt")
        tls.load_cert_chain(plane.pki / "admin.crt", plane.pki / "admin.key")
        self._connection = http.client.HTTPSConnection(plane.address, plane.port, context=tls, timeout=5)

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Status and text of the answer; `OSError` when nobody answers. One connection serves all: handshakes cost."""
        try:
            headers = {"Content-Type": "application/json"}
            self._connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ConnectionError(f"{error}") from error

    def answers(self) -> bool:
        """Whether the API server answers at all, even if only that it is not ready."""
        try:
            self.request("GET", "/readyz")
        except OSError:
            return False
        return True

    def ready(self) -> bool:
        """Whether the API server says it is ready."""
        try:
            return self.request("GET", "/readyz")[0] == http.HTTPStatus.OK
        except OSError:
            return False


def boot(supervisor: Supervisor, programs: dict[str, Path]) -> dict[str, Any]:
    """Bring up the control plane on loopback and say where it is."""
    plane = ControlPlane(supervisor.directory, "127.0.0.1", supervisor.reserve_port())
    plane.write_credentials()
    supervisor.start("etcd", plane.etcd(programs["etcd"]))
    supervisor.start("kube-apiserver", plane.api_server(programs["kube-apiserver"]), EAGER)
    supervisor.wait_until("the API server is ready", Api(plane).ready)
    supervisor.mark("API server ready")
    supervisor.start("kube-controller-manager", plane.controller_manager(programs["kube-controller-manager"]))
    return {"url": plane.url, "kubeconfig": f"{plane.kubeconfig('admin')}"}


def demand() -> None:
    """Refuse early what this machine cannot do."""
    demand_memory(MEMORY_MEGABYTES)


def demand_memory(megabytes: int) -> None:
    """Refuse to start what would make the machine swap or kill."""
    free = psutil.virtual_memory().available >> 20
    if free < megabytes:
        raise Missing(f"the cluster takes about {megabytes} MB of memory and {free} MB are free; close something")


def clean(name: str) -> None:
    """Nothing outside its directory belongs to a control plane."""
