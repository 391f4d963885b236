"""Who asks, by the word of the front proxy: the API server's aggregator, which has checked them.

It shows a client certificate of the CA in `kube-system/extension-apiserver-authentication`, with one of the names that
stand there, and only then are its `X-Remote-` headers believed. What did not come through it is not answered.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.shape import Metadata, Shape
from runtime.kubernetes.watch import watch

AUTHENTICATED: Final = "system:authenticated"
CONFIG_MAP: Final = "extension-apiserver-authentication"
_PATH: Final = "/api/v1/namespaces/kube-system/configmaps"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class User:
    """Who asks, as the front proxy names them."""

    name: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uid: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equals."""
        return self.name, self.uid, self.groups, tuple(sorted(self.extra.items()))


@dataclass(frozen=True)
class FrontProxy:
    """Whom to believe, and which headers.

    Args:
        authority: Certificates in PEM that sign the front proxy's.
        names: Common names that it may have; empty for any.
    """

    authority: str
    names: frozenset[str]
    user_headers: tuple[str, ...] = ("x-remote-user",)
    group_headers: tuple[str, ...] = ("x-remote-group",)
    extra_prefixes: tuple[str, ...] = ("x-remote-extra-",)
    uid_headers: tuple[str, ...] = ()

    @classmethod
    def read(cls, data: Mapping[str, str]) -> "FrontProxy":
        """As the ConfigMap has it. Raises ValueError where it cannot be used."""
        authority = data.get("requestheader-client-ca-file", "")
        if "BEGIN CERTIFICATE" not in authority:
            raise ValueError("it has no requestheader-client-ca-file: the aggregation layer is not configured")
        ssl.create_default_context(cadata=authority)  # raises ssl.SSLError, a ValueError by its module's word, for junk

        def names(key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
            found = json.loads(data.get(f"requestheader-{key}") or "[]")
            if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
                raise ValueError(f"its requestheader-{key} is no list of texts")
            return tuple(found) or default

        return cls(
            authority,
            frozenset(names("allowed-names")),
            _lower(names("username-headers", cls.user_headers)),
            _lower(names("group-headers", cls.group_headers)),
            _lower(names("extra-headers-prefix", cls.extra_prefixes)),
            _lower(names("uid-headers")),
        )

    def user(self, certificate: Mapping[str, Any] | None, headers: Iterable[tuple[bytes, bytes]]) -> User | None:
        """Whom a request is from; None where it is not to be believed.

        Args:
            certificate: The client's, whose chain TLS has checked; None without one.
            headers: Of the request, with names in lower case.
        """
        if not certificate or not self._trusts(certificate):
            return None
        found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        name = _first(found, self.user_headers)
        if not name:
            return None
        extra: dict[str, tuple[str, ...]] = {}
        for header, value in found:
            for prefix in self.extra_prefixes:
                if header.startswith(prefix):
                    key = unquote(header.removeprefix(prefix)).lower()
                    extra[key] = (*extra.get(key, ()), value)
        groups = tuple(value for header, value in found if header in self.group_headers and value)
        if name != "system:anonymous" and AUTHENTICATED not in groups:  # as Kubernetes' own servers add it
            groups = (*groups, AUTHENTICATED)
        return User(name, groups, extra, _first(found, self.uid_headers))

    def _trusts(self, certificate: Mapping[str, Any]) -> bool:
        # TLS looks at the dates once, and a connection may be kept for longer than a certificate is valid.
        if ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
            return False
        common = [value for parts in certificate.get("subject", ()) for key, value in parts if key == "commonName"]
        return not self.names or bool(common and common[-1] in self.names)


def _lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def _first(headers: list[tuple[str, str]], names: tuple[str, ...]) -> str:
    """The first value under the first of the names that is there."""
    for wanted in names:
        for name, value in headers:
            if name == wanted:
                return value
    return ""


class _ConfigMap(msgspec.Struct, frozen=True):
    metadata: Metadata
    data: dict[str, str] = {}


async def follow(api: KubernetesApi, changed: Callable[[FrontProxy], None]) -> None:
    """Call `changed` with what the ConfigMap says, now and whenever it says something else, until cancelled."""
    known: FrontProxy | None = None

    def seen(found: _ConfigMap) -> None:
        nonlocal known
        try:
            proxy = FrontProxy.read(found.data)
        except (ValueError, ssl.SSLError) as error:
            _log.error("ConfigMap kube-system/%s: %s; what it said before still holds", CONFIG_MAP, error)
            return
        if proxy != known:
            known = proxy
            changed(proxy)

    def convert(found: _ConfigMap, gone: bool) -> _ConfigMap:
        if gone:
            raise ValueError("it was deleted; what it said still holds")
        return found

    shape = Shape.of("ConfigMap", _ConfigMap).then(convert)
    await watch(api, _PATH, shape, seen, fieldSelector=f"metadata.name={CONFIG_MAP}")


REVIEW_PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
REMEMBERED_SECONDS: Final = 10.0
"""How long an answer holds, yes or no; as in Kubernetes' own extension API servers."""
MOST_REMEMBERED: Final = 1000
REVIEW_SECONDS: Final = 5.0
"""Most that one question may take: a metrics server that hangs slows every autoscaler of the cluster."""


class _Decision(msgspec.Struct, frozen=True, rename="camel"):
    allowed: bool = False
    denied: bool = False
    reason: str = ""


class _Review(msgspec.Struct, frozen=True):
    status: _Decision = _Decision()


_REVIEW: Final[Shape[_Review]] = Shape.of("SubjectAccessReview", _Review)


class AccessReviews:
    """Asks the API server what somebody may do; many who ask the same at one time share the question."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._known: dict[Any, tuple[asyncio.Task[tuple[bool, str]], float]] = {}

    async def allowed(self, user: User, attributes: Mapping[str, Mapping[str, str]]) -> tuple[bool, str]:
        """Whether they may, and the API server's reason. Raises what the API raises, and `TimeoutError`.

        Args:
            attributes: `resourceAttributes` or `nonResourceAttributes`.
        """
        key = user.key, json.dumps(attributes)
        asking, until = self._known.get(key, (None, 0.0))
        failed = asking is not None and asking.done() and (asking.cancelled() or asking.exception() is not None)
        if asking is None or failed or time.monotonic() > until:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            asking = asyncio.create_task(self._ask(user, attributes))
            self._known[key] = asking, time.monotonic() + REMEMBERED_SECONDS
        return await asyncio.shield(asking)

    async def _ask(self, user: User, attributes: Mapping[str, Mapping[str, str]]) -> tuple[bool, str]:
        extra = {key: [*values] for key, values in user.extra.items()}
        spec = {"user": user.name, "uid": user.uid, "groups": [*user.groups], "extra": extra, **attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        async with asyncio.timeout(REVIEW_SECONDS):
            decision = (await self._api.create(REVIEW_PATH, body, _REVIEW)).status
        return decision.allowed and not decision.denied, decision.reason
