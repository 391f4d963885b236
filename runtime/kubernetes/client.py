"""The few calls that the operator itself makes to the Kubernetes API.

kopf is no client library, and the well-kept ones cost 2 ms of CPU (lightkube on httpx) or 70 MiB (kubernetes_asyncio)
where aiohttp, which kopf brings along, costs 0.2 ms: at the operator's limit of 200m and 128Mi that decides. So this
is aiohttp with kopf's own login (in-cluster, else kubeconfig): requests, lists and watches, and nothing else.
"""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, Generic, TypeVar

import aiohttp
import kopf
import msgspec

Json = dict[str, Any]
T = TypeVar("T")

PAGE: Final = 100
"""Objects a list request asks for at once: 100 Jobs are half a megabyte of JSON, and ten times that if read whole."""

ONLY_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""An answer without spec and status: a Job is 10 kB to read, its metadata a third of that."""

LOGIN_SECONDS: Final = 60.0
"""A mounted ServiceAccount token is read again after this time; the kubelet rotates it hourly."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=90)
"""The API server sends a bookmark about every minute, so a watch that is silent for longer is dead."""

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

    @property
    def terminating(self) -> bool:
        """Whether the namespace is being deleted: nothing can be created in it any more."""
        return "being terminated" in str(self)


class Unreachable(Exception):
    """The API server could not be reached or broke off; whether a write arrived is unknown, so read again."""


def passing(error: Exception) -> bool:
    """Whether asking again may help: out of reach, overloaded, or only just starting."""
    return isinstance(error, Unreachable) or (isinstance(error, KubernetesError) and error.status in (429, 500, 503))


class _Cursor(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    token: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, Generic[T]):
    metadata: _Cursor
    items: list[T] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_read_event = msgspec.json.Decoder(_Event).decode


@functools.cache
def _reader(shape: type) -> Callable[[bytes | msgspec.Raw], Any]:
    return msgspec.json.Decoder(shape).decode


@functools.cache
def _page_reader(shape: type) -> Callable[[bytes], Any]:
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
        # No limit of its own: a watch keeps its connection, and the workers of the queue bound the rest.
        connector = aiohttp.TCPConnector(ssl=self._connection.as_ssl_context(), limit=0)
        cookies = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, cookie_jar=cookies)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def _headers(self, content_type: str, accept: str) -> dict[str, str]:
        if time.monotonic() - self._logged_in_at > LOGIN_SECONDS:
            self._connection, self._logged_in_at = login(), time.monotonic()
        return {**self._connection.as_http_headers(), "Content-Type": content_type, "Accept": accept}

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        decode: Callable[[bytes], Any] = msgspec.json.decode,
    ) -> Any:
        """One request; the answer's object, as `decode` reads it if it is a yes.

        Raises `KubernetesError` by status, `Unreachable` when it broke off.
        """
        headers = self._headers(content_type, accept)
        data = None if body is None else msgspec.json.encode(body)
        with _breaks_off(method, path):
            async with self._open(method, path, data=data, params=params, headers=headers) as response:
                content = await response.read()
            answer = (decode if response.status < 400 else msgspec.json.decode)(content)
        if response.status >= 400:
            raise _error(method, path, response.status, answer if isinstance(answer, dict) else {})
        return answer

    def _open(self, method: str, path: str, **arguments: Any) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        assert self._session is not None, "use `async with`"  # noqa: S101 - a programming error
        return self._session.request(method, self._connection.server.rstrip("/") + path, **arguments)

    async def get(self, path: str) -> Json:
        """Read one object."""
        return await self.request("GET", path)

    def list(self, path: str, shape: type = Json, **selectors: str) -> "Listing":
        """Every object of a collection, page by page.

        `shape` is a TypedDict of what is needed of each; whatever it does not name is never built.
        """
        return Listing(self, path, shape, selectors)

    async def watch(self, path: str, version: str, shape: type = Json) -> AsyncIterator[tuple[str, Json]]:
        """What changed in a collection after `version`, as it happens: types and objects, bookmarks among them.

        Ends when the API server ends it, which it does within the hour; go on from the last version seen. Raises
        `KubernetesError`, with status 410 when the version is too old, and `Unreachable`.
        """
        params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        headers, read = self._headers("application/json", "application/json"), _reader(shape)
        with _breaks_off("WATCH", path):
            async with self._open("GET", path, params=params, headers=headers, timeout=WATCH_TIMEOUT) as response:
                if response.status >= 400:
                    raise _error("WATCH", path, response.status, msgspec.json.decode(await response.read()))
                async for line in _lines(response.content):
                    event = _read_event(line)
                    if event.type == "ERROR":
                        status = msgspec.json.decode(event.object)
                        raise _error("WATCH", path, status.get("code", 500), status)
                    yield event.type, read(event.object)

    async def create(self, path: str, body: Json) -> Json:
        """Create; raises `AlreadyExists`."""
        return await self.request("POST", path, body)

    async def rehearse(self, path: str, body: Json) -> None:
        """Have a create checked and not done; raises what it would raise."""
        await self.request("POST", path, body, params={"dryRun": "All"})

    async def merge_patch(self, path: str, body: Json) -> Json:
        """Merge; with `metadata.resourceVersion` in the body it is tested and raises `WriteConflict`."""
        return await self.request("PATCH", path, body, content_type="application/merge-patch+json")

    async def delete(self, path: str, uid: str) -> None:
        """Delete the object of that UID; raises `NotFound`, and `WriteConflict` when another has its name by now."""
        await self.request("DELETE", path, {"preconditions": {"uid": uid}})

    async def edit_metadata(self, path: str, metadata: Json) -> Json:
        """Merge into the metadata, as `merge_patch` does; the metadata as written."""
        content_type, body = "application/merge-patch+json", {"metadata": metadata}
        written = await self.request("PATCH", path, body, content_type=content_type, accept=ONLY_METADATA)
        return written["metadata"]


def leases_path(namespace: str) -> str:
    """Path of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class Listing:
    """The objects of a collection, read page by page; a page token that expires starts over from the first page."""

    def __init__(self, api: KubernetesApi, path: str, shape: type, selectors: Mapping[str, str]) -> None:
        self._api = api
        self._path = path
        self._decode = _page_reader(shape)
        self._selectors = selectors
        self.version = ""
        """The collection's resource version once the first page was read: a watch goes on from there."""

    async def __aiter__(self) -> AsyncIterator[Json]:
        params = {"limit": str(PAGE), **self._selectors}
        while True:
            try:
                page = await self._api.request("GET", self._path, params=params, decode=self._decode)
            except KubernetesError as error:
                if error.status != 410 or "continue" not in params:
                    raise
                params.pop("continue")
                continue
            self.version = page.metadata.version
            for item in page.items or ():
                yield item
            if not page.metadata.token:
                return
            params["continue"] = page.metadata.token
            await asyncio.sleep(0)


@contextmanager
def _breaks_off(method: str, path: str) -> Generator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unreachable(f"{method} {path}: {type(error).__name__}: {error}") from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own reading ends at 128 kB, and a Job may be a megabyte."""
    begun: list[bytes] = []
    async for piece in content.iter_any():
        first, *others = piece.split(b"\n")
        begun.append(first)
        for other in others:
            yield b"".join(begun)
            begun = [other]
