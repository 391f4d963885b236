"""The few calls that the operator itself makes to the Kubernetes API.

kopf is no client library, and the well-kept ones cost 2 ms of CPU (lightkube on httpx) or 70 MiB (kubernetes_asyncio)
where aiohttp, which kopf brings along, costs 0.2 ms: at the operator's limit of 200m and 128Mi that decides. So this
is aiohttp with kopf's own login (in-cluster, else kubeconfig), about a hundred lines, and nothing else.
"""

import asyncio
import functools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import aiohttp
import kopf
import msgspec

Json = dict[str, Any]
T = TypeVar("T")

PAGE: Final = 100
"""Objects a list request asks for at once: 100 Jobs are half a megabyte of JSON, and ten times that if read whole."""

LOGIN_SECONDS: Final = 60.0
"""A mounted ServiceAccount token is read again after this time; the kubelet rotates it hourly."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)

_log = logging.getLogger(__name__)


class KubernetesError(Exception):
    """The API server refused: HTTP `status`, its `reason` word and its message."""

    def __init__(self, method: str, path: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason


class NotFound(KubernetesError):
    """There is no such object, or no such kind."""


class WriteConflict(KubernetesError):
    """Somebody else wrote first (409 Conflict); read again."""


class AlreadyExists(KubernetesError):
    """An object of that name exists (409 AlreadyExists)."""


class Forbidden(KubernetesError):
    """RBAC, admission or a terminating namespace (403); the message names the missing verb."""


class Unreachable(Exception):
    """The API server could not be reached or broke off; whether a write arrived is unknown, so read again."""


def passing(error: Exception) -> bool:
    """Whether asking again may help: out of reach, overloaded, or only just starting."""
    return isinstance(error, Unreachable) or (isinstance(error, KubernetesError) and error.status in (429, 500, 503))


class _Cursor(msgspec.Struct):
    token: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _Cursor
    items: list[T] | None = None


@functools.cache
def _pages(shape: type) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(_Page[shape]).decode  # ty: ignore[invalid-type-form] - chosen by the caller


def _error(method: str, path: str, status: int, body: Json) -> KubernetesError:
    reason = str(body.get("reason", ""))
    kind: type[KubernetesError] = {404: NotFound, 403: Forbidden}.get(status, KubernetesError)
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else WriteConflict
    return kind(method, path, status, reason, str(body.get("message", ""))[:500])


def login() -> kopf.ConnectionInfo:
    """Who we are: the pod's ServiceAccount, else the kubeconfig of `KUBECONFIG`. Raises `kopf.LoginError`."""
    settings = kopf.OperatorSettings()
    try:
        found = kopf.login_with_service_account(logger=_log, settings=settings) or (
            kopf.login_with_kubeconfig(logger=_log, settings=settings)
        )
    except (OSError, ValueError) as error:
        raise kopf.LoginError(f"the kubeconfig cannot be used: {error}") from error
    if not isinstance(found, kopf.ConnectionInfo):
        raise kopf.LoginError("neither a mounted ServiceAccount nor a kubeconfig (KUBECONFIG) was found")
    return found


class KubernetesApi:
    """A JSON client for one API server. Use as an async context manager."""

    def __init__(self) -> None:
        self._connection = login()
        self._logged_in_at = time.monotonic()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "KubernetesApi":
        connector = aiohttp.TCPConnector(ssl=self._connection.as_ssl_context(), limit=32)
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def _headers(self, content_type: str) -> dict[str, str]:
        if time.monotonic() - self._logged_in_at > LOGIN_SECONDS:
            self._connection, self._logged_in_at = login(), time.monotonic()
        return {**self._connection.as_http_headers(), "Content-Type": content_type, "Accept": "application/json"}

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        decode: Callable[[bytes], Any] = json.loads,
    ) -> Any:
        """One request; the answer's object, as `decode` reads it if it is a yes.

        Raises `KubernetesError` by status, `Unreachable` when it broke off.
        """
        assert self._session is not None, "use `async with`"  # noqa: S101 - a programming error
        url = self._connection.server.rstrip("/") + path
        try:
            async with self._session.request(
                method, url, json=body, params=params, headers=self._headers(content_type)
            ) as response:
                content = await response.read()
            answer = (decode if response.status < 400 else json.loads)(content)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise _error(method, path, response.status, answer if isinstance(answer, dict) else {})
        return answer

    async def get(self, path: str) -> Json:
        """Read one object."""
        return await self.request("GET", path)

    async def list(self, path: str, shape: type = Json, **selectors: str) -> AsyncIterator[Json]:
        """Every object of a collection, page by page; an expired page token starts over from the first page.

        `shape` is a TypedDict of what is needed of each; whatever it does not name is never built.
        """
        decode = _pages(shape)
        params = {"limit": str(PAGE), **selectors}
        while True:
            try:
                page = await self.request("GET", path, params=params, decode=decode)
            except KubernetesError as error:
                if error.status != 410 or "continue" not in params:
                    raise
                params.pop("continue")
                continue
            for item in page.items or ():
                yield item
            if not page.metadata.token:
                return
            params["continue"] = page.metadata.token
            await asyncio.sleep(0)

    async def create(self, path: str, body: Json) -> Json:
        """Create; raises `AlreadyExists`."""
        return await self.request("POST", path, body)

    async def merge_patch(self, path: str, body: Json) -> Json:
        """Merge; with `metadata.resourceVersion` in the body it is tested and raises `WriteConflict`."""
        return await self.request("PATCH", path, body, content_type="application/merge-patch+json")

    async def replace(self, path: str, body: Json) -> Json:
        """Replace the whole object, tested by its `metadata.resourceVersion`."""
        return await self.request("PUT", path, body)
