"""The test adapter of Kubernetes' own library for such servers, as a process beside ours."""

import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port
from tests.toolchain import waiting
from tests.toolchain.certificates import Certificate
from tests.toolchain.cluster import Cluster


class Adapter:
    """Serves what it is told to, on a cluster's word about who may read.

    Args:
        folder: For its certificate and its log.
    """

    def __init__(self, program: Path, cluster: Cluster, folder: Path) -> None:
        self.port, self._write_port = free_port(), free_port()
        logins = [f"--{who}-kubeconfig={cluster.kubeconfig}" for who in ("authentication", "authorization", "lister")]
        places = [f"--secure-port={self.port}", f"--write-address=127.0.0.1:{self._write_port}"]
        command = [f"{program}", "--bind-address=127.0.0.1", f"--cert-dir={folder}", *places, *logins]
        self._log = (folder / "adapter.log").open("w")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        waiting.until("the adapter is ready", self._ready, state=(folder / "adapter.log").read_text)

    def _ready(self) -> bool:
        assert self.process.poll() is None, "the adapter ended"
        try:
            with self.client(None) as client:
                return client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def write(self, namespace: str, name: str, metric: str, value: str) -> None:
        """Have it serve a metric of a Service."""
        url = f"http://127.0.0.1:{self._write_port}/write-metrics/namespaces/{namespace}/services/{name}/{metric}"
        httpx.post(url, json=value, trust_env=False, verify=False).raise_for_status()

    def client(self, certificate: Certificate | None) -> httpx.Client:
        """A client that shows the certificate."""
        tls: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        if certificate:
            tls.load_cert_chain(certificate.file, certificate.key_file)
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=tls, trust_env=False, timeout=20)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
        self._log.close()
