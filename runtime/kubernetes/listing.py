"""Reading a collection page by page, by number of objects and by bytes: neither many nor large ones fill the memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from runtime.kubernetes.client import ANSWER_BYTES, ONLY_METADATA_LIST, KubernetesApi, no_answer
from runtime.kubernetes.errors import KubernetesError, MalformedObject, TooLarge
from runtime.kubernetes.shape import Shape

T = TypeVar("T")

PAGE: Final = 100
"""Objects a list request asks for at once: 100 Jobs are half a megabyte of JSON, and ten times that if read whole."""

PAGE_BYTES: Final = 4 << 20
"""Most that is read of a page of several objects. One that is longer is asked for again with half as many."""


class _Cursor(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    token: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _Cursor
    items: list[msgspec.Raw] | None = None


_read_page = msgspec.json.Decoder(_Page).decode


class Listing(Generic[T]):
    """The objects of a collection; a page token that expires starts over from the first page.

    Args:
        path: The collection's.
        shape: What is read of each.
        selectors: `labelSelector`, `fieldSelector`.
        only_metadata: Have spec and status left out by the API server.
        page: Objects that are asked for at once, unless they turn out to be large.
    """

    def __init__(
        self,
        api: KubernetesApi,
        path: str,
        shape: Shape[T],
        selectors: Mapping[str, str] | None = None,
        *,
        only_metadata: bool = False,
        page: int = PAGE,
    ) -> None:
        self._api = api
        self._path = path
        self._shape = shape
        self._accept = ONLY_METADATA_LIST if only_metadata else "application/json"
        self._selectors = selectors or {}
        self._most = page
        self.version = ""
        """The collection's resource version once the first page was read: a watch goes on from there."""
        self.malformed: list[MalformedObject] = []
        """Objects that were left out because they cannot be read."""

    async def __aiter__(self) -> AsyncIterator[T]:
        token = ""
        while True:
            try:
                page = await self._page(token)
            except KubernetesError as error:
                if error.status != 410 or not token:
                    raise
                token = ""
                continue
            self.version, token = page.metadata.resource_version, page.metadata.token
            for raw in page.items or ():
                try:
                    found = self._shape.read(raw)
                except MalformedObject as error:
                    self._api.malformed.note(error)
                    self.malformed.append(error)
                else:
                    yield found
            if not token:
                return
            await asyncio.sleep(0)

    async def _page(self, token: str) -> _Page:
        """One page, of as many objects as fit; later pages and lists of this collection begin with that number."""
        sizes = self._api.page_sizes
        while True:
            size = sizes.get(self._path, self._most)
            params = {"limit": f"{size}", **self._selectors} | ({"continue": token} if token else {})
            most = PAGE_BYTES if size > 1 else ANSWER_BYTES
            try:
                content = await self._api.request(
                    "GET", self._path, params=params, accept=self._accept, most_bytes=most
                )
            except TooLarge:
                if size == 1:
                    raise
                sizes[self._path] = size // 2
                continue
            if size < self._most and len(content) < PAGE_BYTES // 4:
                sizes[self._path] = min(self._most, size * 2)
            try:
                return _read_page(content)
            except msgspec.DecodeError as error:
                raise no_answer("GET", self._path, content) from error
