"""Names, keys, labels, addresses and URLs by Kubernetes' own rules.

Each function returns the value, or raises `ValueError` with what is allowed.
"""

import re
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
NAME_PATTERN: Final = rf"^{_LABEL}(\.{_LABEL})*$"
DATA_KEY_PATTERN: Final = r"^([-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}|\.[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,251})$"
VARIABLE_PATTERN: Final = r"^[ -<>-~]+$"
_NAME_OF_HOST = r"[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?)*\.?"
URL_PATTERN: Final = (
    rf"^[hH][tT][tT][pP][sS]?://({_NAME_OF_HOST}|\[[0-9a-fA-F:.]+\])(:0*[1-9][0-9]{{0,4}})?(/[!-\x22$->@-~]*)?$"
)
LABEL_KEY_PATTERN: Final = rf"^({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
LABEL_KEY_LENGTHS: Final = r"^([^/]{0,253}/)?[^/]*$"
LABEL_VALUE_PATTERN: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
_ZONE_PART = re.compile(r"[A-Za-z._0-9+][-A-Za-z._0-9+]{0,13}")
_CIDR = re.compile(r"[0-9a-fA-F:.]+/(0|[1-9][0-9]{0,2})")
_HOST = re.compile(_NAME_OF_HOST)


def dns_label(text: str) -> str:
    """An RFC 1123 label: names of namespaces and Services."""
    if len(text) > 63 or not re.fullmatch(_LABEL, text):
        raise ValueError(f"{text[:80]!r}: at most 63 of a-z, 0-9 and '-', starting and ending with a letter or digit")
    return text


def dns_name(text: str) -> str:
    """An RFC 1123 subdomain: names of most objects."""
    if len(text) > 253 or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text):
        raise ValueError(f"{text[:80]!r}: at most 253 of a-z, 0-9, '-' and '.', as in a DNS name")
    return text


def label_key(text: str) -> str:
    """Key of a label or an annotation: `team`, `example.com/team`."""
    prefix, slash, name = text.rpartition("/")
    if len(name) > 63 or not re.fullmatch(_QUALIFIED, name):
        raise ValueError(
            f"{text[:80]!r}: a label's key is at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', after 'prefix/'"
        )
    if slash:
        try:
            dns_name(prefix)
        except ValueError:
            raise ValueError(f"{text[:80]!r}: the part before '/' is no DNS name") from None
    return text


def label_value(text: str) -> str:
    """Value of a label; may be empty."""
    if len(text) > 63 or (text and not re.fullmatch(_QUALIFIED, text)):
        raise ValueError(f"{text[:80]!r}: a label's value is at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'")
    return text


def data_key(text: str) -> str:
    """Key in a Secret or ConfigMap."""
    if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", text) or text == "." or text.startswith(".."):
        raise ValueError(f"{text[:80]!r}: at most 253 of A-Z, a-z, 0-9, '-', '_' and '.', not starting with '..'")
    return text


def variable(text: str) -> str:
    """Name of an environment variable; nearly free since Kubernetes 1.34."""
    if not re.fullmatch(r"[ -<>-~]+", text):
        raise ValueError(f"{text[:80]!r}: a variable's name is printable ASCII without '='")
    return text


def watched_namespaces(text: str) -> str:
    """`a`, `a,b` or `selector:key=value` over the labels of namespaces."""
    if text.startswith("selector:"):
        key, equals, value = text.removeprefix("selector:").partition("=")
        if not equals:
            raise ValueError(f"{text!r}: a selector over namespaces reads 'selector:key=value'")
        return f"selector:{label_key(key)}={label_value(value)}"
    names = [dns_label(name) for name in text.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"{text!r} names a namespace twice")
    return text


@cache
def time_zones() -> frozenset[str]:
    """Every name of the IANA database."""
    # The IANA names and nothing else: a machine's own folder also has posix/..., right/... and localtime.
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


def time_zone(text: str) -> str:
    """An IANA time zone, by the database that the API server carries with it."""
    if text not in time_zones() or not all(map(_ZONE_PART.fullmatch, text.split("/"))):
        raise ValueError(f"{text[:80]!r} is no IANA time zone; write e.g. 'Etc/UTC' or 'Europe/Berlin'")
    return text


def cidr(text: str) -> str:
    """A network in its canonical form; no netmask, no leading zeros, no bits beyond the prefix, no IPv4 in IPv6."""
    try:
        if not _CIDR.fullmatch(text):
            raise ValueError(f"{text[:80]!r} is no network")
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; write e.g. '10.0.0.1/32' or '2001:db8::/32'") from None
    if isinstance(network.network_address, IPv6Address) and network.network_address.ipv4_mapped:
        raise ValueError(f"{text!r} is an IPv4 network written as IPv6; write it as IPv4")
    return str(network)


def url(text: str) -> str:
    """Base URL of a service, without a slash at its end, its scheme in lower case."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is no URL: {error}") from None
    if parts.scheme not in ("https", "http") or not (host and re.fullmatch(r"[!-~]+", text)):
        raise ValueError(f"{text[:80]!r}: a URL with scheme and host is needed, e.g. 'https://escrow.purpleflea.com'")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("a service URL carries no user, password, query or fragment; credentials belong in the Secret")
    if port == 0 or parts.netloc.endswith(":") or not _is_host(host, bracketed="[" in parts.netloc):
        raise ValueError(
            f"{text[:80]!r}: the host is a DNS name, an IPv4 address or an [IPv6 address]; a port is 1 to 65535"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def address(host: str) -> IPv4Address | IPv6Address | None:
    """The host as an IP address; None where it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_host(host: str, *, bracketed: bool) -> bool:
    found = address(host)
    if bracketed or ":" in host:
        return isinstance(found, IPv6Address) and bracketed and found.scope_id is None and not found.ipv4_mapped
    looks_like_an_address = bool(re.fullmatch(r"[0-9.]+", host))
    return found is not None if looks_like_an_address else bool(_HOST.fullmatch(host)) and len(host) <= 253
