"""What the environment says of proxies and certificates, checked: a wrong one is a named setting, not a traceback.

The variables are those that every HTTP client knows: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` (in either
case), `SSL_CERT_FILE` and `SSL_CERT_DIR`. Beside a sandbox, where `http://` is allowed, none of them is used.
"""

import importlib.util
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from runtime.errors import BadInput
from runtime.redaction import excerpt, protect

VARIABLES: Final = {
    "HTTPS_PROXY": "Proxy for `https://` services, as `http://host:port`",
    "HTTP_PROXY": "Proxy for `http://` services",
    "ALL_PROXY": "Proxy for both",
    "NO_PROXY": "Hosts that are asked directly, separated by commas; IPv6 addresses without brackets",
    "SSL_CERT_FILE": "Certificates to trust instead of the public ones: a PEM file",
    "SSL_CERT_DIR": "The same as a folder prepared by `openssl rehash`",
}
"""Name → meaning, for the reference page."""


def trust_store(*, plain: bool) -> ssl.SSLContext:
    """The certificates that are trusted; `plain` ignores the environment.

    Raises:
        BadInput: `SSL_CERT_FILE` or `SSL_CERT_DIR` cannot be used.
    """
    file, folder = ("", "") if plain else (os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if file:
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:  # ssl.SSLError, too: no certificate in it
            raise BadInput(f"SSL_CERT_FILE is {file!r}: {error.strerror or error}") from None
    if folder:
        if not Path(folder).is_dir():  # which Python accepts, to trust nobody then
            raise BadInput(f"SSL_CERT_DIR is {folder!r}, which is no folder")
        return ssl.create_default_context(capath=folder)
    import certifi  # here: it brings half of importlib along

    return ssl.create_default_context(cafile=certifi.where())


def proxies() -> Mapping[str, str]:
    """The proxies of the environment by scheme (`https`, `http`, `all`), and `no`; empty where there are none.

    Raises:
        BadInput: One cannot be used. Its password is in no message, and protected from now on.
    """
    from urllib.request import getproxies_environment  # here: it brings http.client and email along, 3 MB

    found = {scheme: value for scheme, value in getproxies_environment().items() if scheme in _SCHEMES}
    for scheme, value in found.items():
        (_check_exceptions if scheme == "no" else _check_proxy)(f"{scheme.upper()}_PROXY", value)
    return found


def proxy_for(url: str) -> str | None:
    """The environment's proxy on the way to a URL, with its scheme; None: it is asked directly.

    Raises:
        BadInput: As `proxies`.
    """
    if not any(name in os.environ or name.lower() in os.environ for name in VARIABLES if name.endswith("_PROXY")):
        return None  # most processes; they need not load what the next line loads
    from urllib.request import proxy_bypass_environment  # ty: ignore[missing-module-member]

    found = proxies()
    parts = urlsplit(url)
    proxy = found.get(parts.scheme) or found.get("all")
    # Without a `no` of its own it would look at the whole environment, to the same effect.
    if not proxy or proxy_bypass_environment(parts.netloc, {"no": "", **found}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_SCHEMES: Final = ("https", "http", "all", "no")


def _check_proxy(name: str, value: str) -> None:
    expected = "expected something like http://proxy.example:3128"
    url = value if "://" in value else f"http://{value}"
    _protect_password(url)
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"[!-~]+", url)
    except ValueError:
        raise BadInput(f"{name} is no URL: {expected}") from None
    if not usable:
        raise BadInput(f"{name} is no URL: {expected}")
    if parts.scheme in ("socks5", "socks5h") and importlib.util.find_spec("socksio") is None:
        raise BadInput(f"{name} names a SOCKS proxy, for which the package socksio is missing: {expected}")
    if parts.scheme not in ("http", "https", "socks5", "socks5h"):
        raise BadInput(f"{name} has the scheme {parts.scheme!r}: {expected}")


def _protect_password(url: str) -> None:
    """Also one in a URL that is malformed behind it."""
    if found := re.match(r"[^/]*//[^/@:]*:([^/@]+)@", url):
        protect(found[1])
        protect(unquote(found[1]))


def _check_exceptions(name: str, value: str) -> None:
    for host in value.split(","):
        if "[" in host or "]" in host or (":" in host and "/" in host):
            shown = excerpt(host.strip(), 60)
            raise BadInput(f"{name} names {shown!r}: write an IPv6 address alone, as ::1, without brackets or length")
