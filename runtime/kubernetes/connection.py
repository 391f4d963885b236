"""Where the API server is and who we are to it: the pod's ServiceAccount, else the kubeconfig.

In a pod this is a mounted token and nothing more. The libraries that know kubeconfigs cost 35 MiB and half a second of
CPU, so one is loaded only outside of a pod; see `kubeconfig`.
"""

import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from runtime.kubernetes.errors import LoginError
from runtime.redaction import protect

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

TOKEN_SECONDS: Final = 60.0
"""A token in a file is read again after this time; the kubelet rotates the pod's hourly."""


@dataclass(frozen=True)
class Server:
    """An API server and how to reach it.

    Args:
        url: Without a slash at its end.
        tls: How to know it, and our client certificate where there is one; None for `http://`.
        namespace: The default one.
        proxy: URL of an HTTP proxy on the way.
        name: What its certificate says, where that is not the URL's host.
    """

    url: str
    tls: ssl.SSLContext | None
    namespace: str
    proxy: str | None = None
    name: str | None = None


class Login(Protocol):
    """One way to find both out."""

    async def server(self) -> Server:
        """The server. Raises `LoginError`."""
        ...

    async def headers(self) -> Mapping[str, str]:
        """Who we are, for one request; empty where the client certificate says it. Raises `LoginError`."""
        ...

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """After a 401: whether there is another credential now than the headers that were refused."""
        ...


class TokenFile:
    """A bearer token in a file that somebody else keeps fresh."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._headers: Mapping[str, str] = {}
        self._read_at = -TOKEN_SECONDS

    def headers(self, *, anew: bool = False) -> Mapping[str, str]:
        """The `Authorization` header. Raises `LoginError`."""
        now = time.monotonic()
        if anew or not self._headers or now - self._read_at > TOKEN_SECONDS:
            try:
                token = self._file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise LoginError(f"the token file {self._file} cannot be read: {error}") from error
            self._headers, self._read_at = bearer(token), now
        return self._headers


class PodLogin:
    """A pod's own ServiceAccount, as the kubelet mounts it."""

    def __init__(self, folder: Path, env: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._env = env
        self._token = TokenFile(folder / "token")

    async def server(self) -> Server:
        """The API server's own Service."""
        host, port = self._env.get("KUBERNETES_SERVICE_HOST"), self._env.get("KUBERNETES_SERVICE_PORT", "443")
        address = f"[{host}]" if host and ":" in host else host
        namespace = self._folder / "namespace"
        try:
            tls = ssl.create_default_context(cafile=self._folder / "ca.crt")
        except (OSError, ssl.SSLError) as error:
            raise LoginError(f"the cluster's certificate authority {self._folder / 'ca.crt'}: {error}") from error
        return Server(
            url=f"https://{address}:{port}" if address else "https://kubernetes.default.svc",
            tls=tls,
            namespace=namespace.read_text().strip() if namespace.exists() else "default",
        )

    async def headers(self) -> Mapping[str, str]:
        """The mounted token, as it is now."""
        return self._token.headers()

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Read it again."""
        return self._token.headers(anew=True) != refused


def bearer(token: str) -> Mapping[str, str]:
    """The header of a token, which from now on no log shows."""
    protect(token)
    return {"Authorization": f"Bearer {token}"}


def login() -> Login:
    """The pod's ServiceAccount where one is mounted, else the kubeconfig. Raises `LoginError`."""
    if (SERVICE_ACCOUNT / "token").exists():
        return PodLogin(SERVICE_ACCOUNT)
    try:
        from runtime.kubernetes.kubeconfig import KubeconfigLogin
    except ModuleNotFoundError as error:
        words = "no ServiceAccount is mounted, and the images read no kubeconfig"
        raise LoginError(f"{words}: run this in a pod, or `pip install` it where the kubeconfig is") from error
    return KubeconfigLogin.from_environment()
