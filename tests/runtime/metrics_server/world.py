"""A namespace with the metrics server's rendered rights, the server as a real process with its ServiceAccount's token,
and clients that come as the front proxy does."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from components.manifests import naming, rbac
from runtime.contract import Env, ProgramName
from tests.ports import free_port
from tests.runtime.operator.world import START_SECONDS, _mounted, eventually
from tests.runtime.payroll.world import WALLET, PayrollWorld, RuntimeProcess
from tests.toolchain.certificates import Authority, Certificate

GROUP = "/apis/custom.metrics.k8s.io"
DEPTH = "escrow_queue_depth"


class MetricsServer(RuntimeProcess):
    """`python -m runtime.metrics_server`, its plain pages on `port` and its API on `api_port`."""

    def __init__(self, environment: dict[str, str], authority: Path | None) -> None:
        self.port, self.api_port = free_port(), free_port()
        self.authority = authority
        own = {Env.HEALTH_PORT: f"{self.port}", Env.CUSTOM_METRICS_PORT: f"{self.api_port}"}
        super().__init__({**own, **environment}, "runtime.metrics_server")
        eventually(lambda: self.page("/readyz") or self.process.poll() is not None, "it is ready", START_SECONDS)
        assert self.process.poll() is None, self.log()

    def page(self, path: str, token: str = "") -> httpx.Response | None:
        """A plain page; None while nobody answers, or not yet with a yes from `/readyz`."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            found = httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False, verify=False)
        except httpx.TransportError:
            return None
        return None if path == "/readyz" and found.status_code != 200 else found

    def metric(self, name: str = DEPTH) -> float | None:
        """One of its figures; None where it has no line."""
        page = self.page("/metrics")
        lines = page.text.splitlines() if page else []
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)

    def client(self, certificate: Certificate | None, host: str = "127.0.0.1") -> httpx.Client:
        """A client that shows the certificate."""
        tls = ssl.create_default_context(cafile=self.authority)
        tls.check_hostname = False
        if certificate:
            tls.load_cert_chain(certificate.file, certificate.key_file)
        return httpx.Client(base_url=f"https://{host}:{self.api_port}", verify=tls, trust_env=False, timeout=20)


@dataclass
class MetricsWorld(PayrollWorld):
    """One test's namespace, sandbox and metrics server."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kubeconfig = self.cluster.kubeconfig_for(naming.METRICS_ACCOUNT, self.namespace)
        self.accounts[naming.METRICS_ACCOUNT] = _mounted(kubeconfig, self.namespace)
        self.authority = Authority(self.folder, "serving-ca")
        (self.folder / "tls").mkdir()
        pair = self.authority.issue("serving", "metrics", hosts=["localhost", "127.0.0.1"])
        (self.folder / "tls" / "tls.crt").write_bytes(pair.file.read_bytes())
        (self.folder / "tls" / "tls.key").write_bytes(pair.key_file.read_bytes())

    def manifests(self) -> list[dict[str, Any]]:
        settings = self.settings()
        return [
            *super().manifests(),
            rbac.service_account(settings, naming.METRICS_ACCOUNT, ProgramName.METRICS),
            rbac.service_account(settings, naming.QUEUE_READER, ProgramName.METRICS),
            rbac.metrics_role(settings),
            rbac.metrics_role_binding(settings),
            *self._cluster_wide(),
        ]

    def _cluster_wide(self) -> list[dict[str, Any]]:
        settings = self.settings()
        return [
            rbac.metrics_auth_delegator(settings),
            rbac.metrics_auth_reader(settings),
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": f"reads-metrics.{self.namespace}"},
                "rules": [{"apiGroups": ["custom.metrics.k8s.io"], "resources": ["*"], "verbs": ["get"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"reads-metrics.{self.namespace}"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": f"reads-metrics.{self.namespace}",
                },
                "subjects": [{"kind": "User", "name": "reader"}],
            },
        ]

    def close(self) -> None:
        from lightkube import codecs

        super().close()
        for manifest in self._cluster_wide():
            found = codecs.from_dict(manifest)
            where = {"namespace": manifest["metadata"]["namespace"]} if "namespace" in manifest["metadata"] else {}
            self.client.delete(type(found), manifest["metadata"]["name"], **where)

    def metrics_environment(self, **changes: str) -> dict[str, str]:
        """The server's."""
        return {
            **self._as_pod(naming.METRICS_ACCOUNT),
            Env.API_KEY: self.key,
            Env.POLL_SECONDS: "1",
            Env.TLS_DIRECTORY: f"{self.folder / 'tls'}",
            Env.QUEUE_READERS: f"system:serviceaccount:{self.namespace}:{naming.QUEUE_READER}",
            **changes,
        }

    def metrics_server(self, **changes: str) -> MetricsServer:
        """The server, started."""
        started = MetricsServer(self.metrics_environment(**changes), self.authority.file)
        self.processes.append(started)
        return started

    def front_proxy(self) -> Certificate:
        """The API server's own certificate towards extension API servers."""
        pki = self.cluster.directory / "pki"
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        file, key_file = pki / "front-proxy-client.crt", pki / "front-proxy-client.key"
        key: Any = load_pem_private_key(key_file.read_bytes(), None)
        return Certificate(key_file, file, key, x509.load_pem_x509_certificate(file.read_bytes()))

    def metric_path(self, version: str = "v1beta2", metric: str = DEPTH, name: str = "pf-metrics-server") -> str:
        """Of a metric, as an HPA asks for it."""
        return f"{GROUP}/{version}/namespaces/{self.namespace}/services/{name}/{metric}"


__all__ = ["DEPTH", "GROUP", "WALLET", "MetricsServer", "MetricsWorld"]
