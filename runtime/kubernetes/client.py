"""A client for one Kubernetes API server: requests, lists and watches, and nothing else.

The well-kept client libraries cost 2 ms of CPU a request (lightkube, on httpx) or 70 MiB (kubernetes_asyncio) where
`runtime.http1` costs 0.15 ms: at the operator's limit of 200m and 128Mi that decides.
"""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from runtime.http1.client import Answer, HttpClient, NotSent, Silent, TooLong, Untrusted
from runtime.http1.connection import Broken
from runtime.http1.tunnel import parsed
from runtime.kubernetes.connection import Login, Server, login
from runtime.kubernetes.errors import (
    AlreadyExists,
    ApiUnreachable,
    ApiUntrusted,
    Forbidden,
    KubernetesError,
    LoginError,
    ObjectNotFound,
    TooLarge,
    WriteConflict,
)
from runtime.kubernetes.shape import NAMED, WHOLE, Json, Malformed, Metadata, Shape
from runtime.redaction import excerpt
from runtime.trace import outgoing

T = TypeVar("T")

ANSWER_BYTES: Final = 16 << 20
"""Most that is read of one answer, or of one event of a watch. etcd takes objects of 1.5 MB; as JSON they may be six
times as long."""

ONLY_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""An answer without spec and status: a Job is 10 kB to read, its metadata a third of that."""

ONLY_METADATA_LIST: Final = ONLY_METADATA.replace("Metadata;", "MetadataList;")

MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

REQUEST_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 90.0
"""The API server sends a bookmark about every minute, so a watch that is silent for longer is dead."""


_KEPT: Final = 64
"""Idle connections, where there is no bound."""

_SAFE: Final = "/?&=%:,+~@!$'()*;"
"""What a path keeps as it is; all else beyond ASCII's letters and digits is written by its number."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_read_event = msgspec.json.Decoder(_Event).decode


class KubernetesApi:
    """A JSON client. Use as an async context manager; entering raises `LoginError`.

    Args:
        manager: Our name: the field manager of every write, and the user agent.
        way: How to log in; by default as a pod, else by the kubeconfig.
        connections: How many requests there may be at one time; 0 for a program that bounds them itself.
    """

    def __init__(self, manager: str, way: Login | None = None, *, connections: int = 0) -> None:
        self._manager = manager
        self._connections = connections
        self._login = way or login()
        self._server: Server | None = None
        self._http: HttpClient | None = None
        self.malformed = Malformed()
        self.page_sizes: dict[str, int] = {}
        """How many objects a page may have where that is fewer than usual, by the collection's path."""

    @property
    def namespace(self) -> str:
        """The default namespace of whoever we are."""
        assert self._server is not None, "use `async with`"  # noqa: S101 - a programming error
        return self._server.namespace

    async def __aenter__(self) -> "KubernetesApi":
        await self._find_server()
        await self._login.headers()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()

    async def _find_server(self) -> None:
        server = self._server = await self._login.server()
        if self._http is not None:
            self._http.close()
        proxy = parsed(server.proxy, server.tls) if server.proxy else None
        most = self._connections
        self._http = HttpClient(server.url, server.tls, proxy, name=server.name, most=most, kept=most or _KEPT)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        most_bytes: int = ANSWER_BYTES,
    ) -> bytes | bytearray:
        """One request; the bytes of a yes. Raises `KubernetesError` by status, `ApiUnreachable` when it broke off."""
        if method in ("POST", "PATCH"):
            params = {"fieldManager": self._manager, **(params or {})}
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {"content-type": content_type, "accept": accept, **outgoing()}
        renewed = False
        while True:
            who = await self._who(method, path)
            with _breaks_off(method, path):
                async with asyncio.timeout(REQUEST_SECONDS):
                    with closing(await self._send(method, path, params, {**headers, **who}, data)) as answer:
                        content = await _content(answer, method, path, most_bytes)
            # What was refused for its credential was not done: a fresh one may have it done.
            if answer.status == 401 and not renewed and await self._renewed(method, path, who):
                renewed = True
                continue
            if answer.status >= 300:
                raise _refusal(method, path, answer, content)
            return content

    async def _who(self, method: str, path: str) -> Mapping[str, str]:
        """Our credential. It was found at start, so a failure to renew it now may be temporary."""
        try:
            return await self._login.headers()
        except LoginError as error:
            raise ApiUnreachable(f"{method} {path}: {error}") from error

    async def _renewed(self, method: str, path: str, refused: Mapping[str, str]) -> bool:
        try:
            if not await self._login.renew(refused):
                return False
            await self._find_server()
        except LoginError as error:
            raise ApiUnreachable(f"{method} {path}: {error}") from error
        return True

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: bytes = b"",
        seconds: float | None = None,
    ) -> Answer:
        assert self._http is not None, "use `async with`"  # noqa: S101 - a programming error
        target = quote(path, safe=_SAFE) + (f"?{urlencode(params)}" if params else "")
        # Compressed answers are not asked for: of a megabyte of blanks they would hide how much is to come.
        head = {"user-agent": self._manager, "accept-encoding": "identity", **headers}
        written = [(name.encode("ascii"), value.encode("latin-1")) for name, value in head.items()]
        try:
            return await self._http.send(method, target, written, body, seconds=seconds)
        except Broken as error:
            if method != "GET" or isinstance(error, Silent):
                raise
        # The server was hanging up just then; to read it once more does no harm.
        return await self._http.send(method, target, written, seconds=seconds, fresh=True)

    async def get(self, path: str, shape: Shape[T]) -> T:
        """Read one object. Raises `MalformedObject`."""
        return _understood("GET", path, await self.request("GET", path), shape)

    async def get_metadata(self, path: str, shape: Shape[T]) -> T:
        """Read an object's metadata and no more."""
        return _understood("GET", path, await self.request("GET", path, accept=ONLY_METADATA), shape)

    async def create(self, path: str, body: Json, shape: Shape[Any] = WHOLE) -> Any:
        """Create; the object as `shape` reads it. Raises `AlreadyExists`."""
        return _understood("POST", path, await self.request("POST", path, body), shape)

    async def dry_run_create(self, path: str, body: Json) -> None:
        """Create with `dryRun=All`: everything is checked, nothing is stored. Raises what `create` raises."""
        await self.request("POST", path, body, params={"dryRun": "All"})

    async def merge_patch(self, path: str, body: Json, shape: Shape[Any] = WHOLE) -> Any:
        """Merge; with `metadata.resourceVersion` in the body it is tested and raises `WriteConflict`."""
        return _understood("PATCH", path, await self.request("PATCH", path, body, content_type=MERGE_PATCH), shape)

    async def apply(self, path: str, body: Json, shape: Shape[Any] = WHOLE) -> Any:
        """Server-side apply. It creates an object under a right to `create` that names it, which a POST cannot."""
        return _understood("PATCH", path, await self.request("PATCH", path, body, content_type=APPLY_PATCH), shape)

    async def edit_metadata(self, path: str, metadata: Json) -> Metadata:
        """Merge into the metadata, as `merge_patch` does; the metadata as written."""
        body = {"metadata": metadata}
        content = await self.request("PATCH", path, body, content_type=MERGE_PATCH, accept=ONLY_METADATA)
        return _understood("PATCH", path, content, NAMED).metadata

    async def delete(self, path: str, uid: str, version: str = "") -> None:
        """Delete the object of that UID, in that version only if one is given.

        Raises `ObjectNotFound`; `WriteConflict` if another has its name by now, or it was written since.
        """
        still = {"uid": uid} | ({"resourceVersion": version} if version else {})
        await self.request("DELETE", path, {"preconditions": still})

    async def events(
        self, path: str, version: str, selectors: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[str, msgspec.Raw]]:
        """What changed in a collection after `version`, as it happens: types and objects, bookmarks among them.

        Ends when the API server ends it, which it does within the hour; `watch` goes on. Raises `KubernetesError`, with
        status 410 when the version is too old, and `ApiUnreachable`.
        """
        params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", **(selectors or {})}
        who = await self._who("WATCH", path)
        headers = {"accept": "application/json", **who}
        with (
            _breaks_off("WATCH", path),
            closing(await self._send("GET", path, params, headers, seconds=SILENCE_SECONDS)) as answer,
        ):
            if answer.status == 401:
                await self._renewed("WATCH", path, who)  # for the next try
            if answer.status >= 300:
                content = await _content(answer, "WATCH", path, ANSWER_BYTES)
                raise _refusal("WATCH", path, answer, content)
            async for line in _lines(answer.pieces(SILENCE_SECONDS)):
                event = _read_event(line)
                if event.type == "ERROR":
                    status = msgspec.json.decode(event.object)
                    words = excerpt(str(status.get("message", "")), 500)
                    raise KubernetesError("WATCH", path, status.get("code", 500), status.get("reason", ""), words)
                yield event.type, event.object


@contextmanager
def _breaks_off(method: str, path: str) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ApiUnreachable(f"{method} {path}: no whole answer within {REQUEST_SECONDS:g} s") from error
    except (NotSent, Broken, OSError, ValueError) as error:
        kind = ApiUntrusted if isinstance(error, Untrusted) else ApiUnreachable
        raise kind(f"{method} {path}: {error}") from error


async def _content(answer: Answer, method: str, path: str, most_bytes: int) -> bytes | bytearray:
    """The body, read no further than `most_bytes`; raises `TooLarge`."""
    try:
        return await answer.whole(most_bytes)
    except TooLong:
        raise TooLarge(method, path, answer.status, "TooLarge", f"more than {most_bytes} bytes") from None


def _understood(method: str, path: str, content: bytes | bytearray, shape: Shape[T]) -> T:
    """The answer's object. An answer that is not JSON is not an API server's: whether it got the request is unknown."""
    try:
        return shape.read(content)
    except msgspec.DecodeError as error:
        raise no_answer(method, path, content) from error


def no_answer(method: str, path: str, content: bytes | bytearray) -> ApiUnreachable:
    """What a yes in other words than an API server's amounts to, e.g. a proxy's page to sign in."""
    return ApiUnreachable(f"{method} {path}: no answer of an API server: {_beginning(content)}")


def _refusal(method: str, path: str, answer: Answer, content: bytes | bytearray) -> KubernetesError | ApiUnreachable:
    """What a status of 300 or more amounts to; only an API server's own `Status` says that nothing was done."""
    status = answer.status
    try:
        body = msgspec.json.decode(content)
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        words = f"no answer of an API server: {_beginning(content)}" if content else "no answer of an API server"
        if status in (502, 504):  # of a proxy that may have passed the request on
            return ApiUnreachable(f"{method} {path}: {status} {answer.reason}: {words}")
        return KubernetesError(method, path, status, answer.reason or "", words)
    reason = str(body.get("reason", ""))
    kind: type[KubernetesError] = {404: ObjectNotFound, 403: Forbidden}.get(status, KubernetesError)
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else WriteConflict
    return kind(method, path, status, reason, excerpt(str(body.get("message", "")), 500))


def _beginning(content: bytes | bytearray) -> str:
    """The first words of something unexpected, on one line."""
    return excerpt(" ".join(bytes(content).decode(errors="replace").split()), 120)


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines up to `ANSWER_BYTES`: a Job may be a megabyte."""
    begun: list[bytes] = []
    length = 0
    async for piece in pieces:
        first, *others = piece.split(b"\n")
        begun.append(first)
        length += len(first)
        for other in others:
            yield b"".join(begun)
            begun, length = [other], len(other)
        if length > ANSWER_BYTES:
            raise ValueError(f"an event of more than {ANSWER_BYTES} bytes")
