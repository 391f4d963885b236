"""A person's kubeconfig, read as kubectl reads it.

`kubernetes_asyncio` knows what may stand in one: tokens, certificates, exec plug-ins, proxies. Three things it does
otherwise than kubectl are done here, before it or in its place:

- of several files in `KUBECONFIG` the *first* that names a current context decides (the library takes the last, and so
  another cluster than kubectl does);
- a relative path counts from the file it stands in, tokens and plug-ins included;
- an OIDC id-token is sent as it is. The library's own renewal sends the client's secret to the identity provider
  without looking at its certificate; kubectl renews the token in the file.
"""

import asyncio
import binascii
import logging
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runtime.kubernetes.connection import Server, TokenFile
from runtime.kubernetes.errors import LoginError
from runtime.kubernetes_yaml import NotReadable, documents
from runtime.redaction import excerpt, protect

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration
else:
    # The library's packages import all of it: a client of 700 models, 0.2 s of CPU and 37 MiB for a file of ten lines.
    # So these two are folders alone here, and each module imports what it needs of them.
    if (found := find_spec("kubernetes_asyncio")) is None:
        raise ModuleNotFoundError("No module named 'kubernetes_asyncio'", name="kubernetes_asyncio")
    [root] = found.submodule_search_locations
    for name, folder in (("kubernetes_asyncio", root), ("kubernetes_asyncio.client", f"{root}/client")):
        package = ModuleType(name)
        package.__path__ = [folder]
        package = sys.modules.setdefault(name, package)
    from kubernetes_asyncio.client.configuration import Configuration

    package.__dict__.setdefault("Configuration", Configuration)
    package.__dict__.setdefault("ApiClient", object)  # its loader names it, and we do not use that function

from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.kube_config import KubeConfigLoader

DEFAULT: Final = "~/.kube/config"
LISTS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
TEXTS: Final = (
    *PATHS,
    *("server", "tls-server-name", "proxy-url", "cluster", "user", "namespace", "token", "username", "password"),
    *(f"{path}-data" for path in PATHS[:3]),
)
"""All that is text where it stands in a cluster, context or user."""
IMPERSONATION: Final = ("as", "as-uid", "as-groups", "as-user-extra")

Json = dict[str, Any]

logging.getLogger("kubernetes_asyncio").setLevel(logging.CRITICAL)  # it raises what it logs


class KubeconfigLogin:
    """The current context of one kubeconfig, merged from its files."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = ":".join(map(str, files))
        config = _merged(files)
        self._name = config.get("current-context")
        if not self._name:
            raise LoginError(f"kubeconfig {self._files}: no current context; kubectl config use-context NAME")
        self._context = _named(config, "contexts", self._name, self._files)
        cluster = _named(config, "clusters", self._context.get("cluster"), self._files)
        self._user = _named(config, "users", self._context["user"], self._files) if self._context.get("user") else {}
        _check(cluster, self._user, self._files)
        if self._user.get("token") or self._user.get("tokenFile"):
            self._user.pop("exec", None)  # kubectl asks a plug-in only where nothing else is given
        self._loader = _Loader(config_dict=config, config_base_path="")
        self._settings: Any = Configuration()
        self._loaded = False
        self._loading = asyncio.Lock()
        self._token_file = TokenFile(Path(self._user["tokenFile"])) if self._user.get("tokenFile") else None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> "KubeconfigLogin":
        """The files of `KUBECONFIG`, else the one in the home directory. Raises `LoginError`."""
        named = env.get("KUBECONFIG") or DEFAULT
        files = [Path(name).expanduser() for name in named.split(os.pathsep) if name]
        found = [file for file in files if file.exists()]  # some may be missing, as kubectl has it
        if not found:
            missing = ", ".join(map(str, files))
            raise LoginError(f"no cluster is configured: kubeconfig {missing} not found; set KUBECONFIG")
        return cls(found)

    async def server(self) -> Server:
        """The cluster of the current context."""
        await self._load()
        settings = self._settings
        return Server(
            url=settings.host.rstrip("/"),
            tls=self._tls() if settings.host.startswith("https") else None,
            namespace=self._context.get("namespace") or "default",
            proxy=settings.proxy,
            name=settings.tls_server_name,
        )

    async def headers(self) -> Mapping[str, str]:
        """The user's token or password; a plug-in's is asked for again once it is too old."""
        if self._token_file:
            return self._token_file.headers()
        if "exec" in self._user:
            await self._load()  # keeps what has not expired
        value = self._settings.api_key.get("BearerToken")
        return {"Authorization": value} if value else {}

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Ask the plug-in, or read the file, once more."""
        if self._token_file:
            return self._token_file.headers(anew=True) != refused
        if "exec" not in self._user:
            return False
        if await self.headers() == refused:
            await self._load(anew=True)
        return True

    async def _load(self, *, anew: bool = False) -> None:
        async with self._loading:
            if anew or not self._loaded or self._loader.stale:
                await self._ask()

    async def _ask(self) -> None:
        """Have the library find out the credentials. Whatever it raises comes from what the files say."""
        try:
            self._loader.forget()
            await self._loader.load_and_set(self._settings)
        except FileNotFoundError as error:
            raise LoginError(f"{self._where()}: {_missing(self._user, error)}") from error
        except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
            raise LoginError(f"{self._where()}: {_words(error)}") from error
        if "exec" in self._user and not (self._settings.api_key or self._settings.cert_file):
            raise LoginError(f"{self._where()}: the exec plug-in {self._user['exec']['command']} gave no credential")
        self._loaded = True
        for secret in str(self._settings.api_key.get("BearerToken", "")).split()[1:]:
            protect(secret)

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
            if not settings.verify_ssl:
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            if settings.cert_file:
                tls.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            raise LoginError(f"{self._where()}: certificates: {error}") from error
        return tls

    def _where(self) -> str:
        return f"kubeconfig {self._files}, context {self._name}"


class _Loader(KubeConfigLoader):
    """The library's loader, without what it does to OIDC tokens."""

    async def _load_oid_token(self) -> str:
        provider = self._user["auth-provider"].value if self._user else {}
        self.token = f"Bearer {provider['config']['id-token']}"
        return self.token

    @property
    def stale(self) -> bool:
        """Whether a plug-in said when its credential ends, and it is so far."""
        from kubernetes_asyncio.config.kube_config import _is_expired

        return hasattr(self, "exec_plugin_expiry") and _is_expired(self.exec_plugin_expiry)

    def forget(self) -> None:
        """Have the plug-in asked again."""
        for known in ("exec_plugin_expiry", "cert_file", "key_file"):
            self.__dict__.pop(known, None)


def _merged(files: Sequence[Path]) -> Json:
    """The files as one: of two entries of a name, and of two current contexts, the first counts."""
    merged: Json = {"apiVersion": "v1", "kind": "Config", **{name: [] for name in LISTS}}
    for file in files:
        try:
            read = next(iter(documents(file.read_text(encoding="utf-8-sig"))), None)  # kubectl takes the first, too
        except (OSError, UnicodeDecodeError) as error:
            raise LoginError(f"kubeconfig {file} cannot be read: {error}") from error
        except NotReadable as error:
            raise LoginError(f"kubeconfig {file} is not YAML: {error}") from error
        if read is None:
            continue
        if not isinstance(read, dict):
            raise LoginError(f"kubeconfig {file} is no mapping with clusters, contexts and users")
        if current := _texts(read, ("current-context",), f"kubeconfig {file}").get("current-context"):
            merged.setdefault("current-context", current)
        for name, inner in LISTS.items():
            _merge(merged[name], read.get(name) or [], inner, file)
    return merged


def _merge(known: list[Json], added: Any, inner: str, file: Path) -> None:
    for entry in added if isinstance(added, list) else [added]:
        if not isinstance(entry, dict) or not entry.get("name") or not isinstance(entry.get(inner) or {}, dict):
            raise LoginError(f"kubeconfig {file}: each of {inner}s has a name and a {inner}")
        where = f"kubeconfig {file}, {inner} {entry['name']}"
        _texts(entry, ("name",), where)
        _texts(entry.get(inner) or {}, TEXTS, where)
        if all(entry["name"] != other["name"] for other in known):
            known.append({"name": entry["name"], inner: _absolute(entry.get(inner) or {}, file.absolute().parent)})


def _texts(entry: Json, names: Sequence[str], where: str) -> Json:
    """The same, once these are texts: what YAML reads as a number is no token that somebody was given."""
    for name in names:
        if not isinstance(value := entry.get(name), str | None):
            raise LoginError(f"{where}: {name} must be text, not {value!r}; put it in quotes")
    return entry


def _absolute(entry: Json, folder: Path) -> Json:
    """A cluster or user whose relative paths count from the folder of its file."""
    found = entry | {key: str(folder / entry[key]) for key in PATHS if entry.get(key)}
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
        found["exec"] = plugin | {"command": str(folder / plugin["command"])}
    return found


def _named(config: Json, kind: str, name: Any, files: str) -> Json:
    found = next((entry[LISTS[kind]] for entry in config[kind] if entry["name"] == name), None)
    if found is None:
        raise LoginError(f"kubeconfig {files}: there is no {LISTS[kind]} named {name!r}")
    return found


def _is_url(text: str) -> bool:
    """Whether it can be connected to; a name beyond ASCII stands in its `xn--` form in a certificate, too."""
    try:
        parts = urlsplit(text)
        return text.isascii() and parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check(cluster: Json, user: Json, files: str) -> None:
    """What the library would let through, or explain to nobody."""
    server, proxy = str(cluster.get("server") or ""), str(cluster.get("proxy-url") or "")
    if not _is_url(server):
        raise LoginError(f"kubeconfig {files}: cluster.server is {server!r}: expected an https:// URL")
    if proxy and not _is_url(proxy):
        raise LoginError(f"kubeconfig {files}: proxy-url {proxy!r}: only http:// and https:// proxies are supported")
    for name in ("auth-provider", "exec"):
        if not isinstance(user.get(name), dict | None):
            raise LoginError(f"kubeconfig {files}: {name} must be a mapping of keys")
    if acting := [name for name in IMPERSONATION if user.get(name)]:
        # To go on as the user behind it would be with other rights than kubectl has.
        raise LoginError(f"kubeconfig {files}: {acting[0]}: impersonation is not supported; use that user's own login")
    provider = (user.get("auth-provider") or {}).get("name")
    if provider not in (None, "oidc"):
        raise LoginError(f"kubeconfig {files}: kubectl no longer knows auth-provider {provider}; use its exec plug-in")
    for entry, key in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key")):
        if f"{key}-data" not in entry and (path := entry.get(key)) and not Path(path).is_file():
            raise LoginError(f"kubeconfig {files}: {key} {path} not found")


def _missing(user: Json, error: FileNotFoundError) -> str:
    plugin = user.get("exec")
    if not isinstance(plugin, dict) or error.filename != plugin.get("command"):
        return f"{error.filename} not found"
    hint = f"; {' '.join(str(plugin['installHint']).split())}" if plugin.get("installHint") else ""
    return f"the exec plug-in {plugin['command']} is not installed (not found on the PATH){hint}"


def _words(error: Exception) -> str:
    """One line of what went wrong, without a secret."""
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, binascii.Error):
        return f"the ...-data of a certificate or key is not base64: {error}"
    return excerpt(" ".join((str(error) or type(error).__name__).split()), 500)
