"""What is read of an object. Whatever a shape does not name is skipped while it is decoded, and never built.

Whole, a page of a hundred Jobs is 5 MB of Python objects and 9 ms; read by a shape it is a tenth of that or less.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from runtime.kubernetes.errors import MalformedObject
from runtime.redaction import excerpt

Json = dict[str, Any]
T = TypeVar("T")
U = TypeVar("U")

Raw = bytes | bytearray | msgspec.Raw
"""JSON, not decoded yet."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time of an object: RFC 3339 with a time zone."""

REMEMBERED: Final = 1000
"""Malformed objects that are named in the log once only; with more, some are named again."""

_log = logging.getLogger(__name__)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as Kubernetes' `date-time` and `MicroTime`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def stamp_now() -> str:
    """This moment, as `stamp` writes it."""
    return stamp(datetime.now(UTC))


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`metadata` of any object; what an answer leaves out is empty."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: Moment | None = None
    deletion_timestamp: Moment | None = None
    finalizers: tuple[str, ...] = ()


class Labelled(msgspec.Struct, frozen=True):
    """An object of which its labels are needed too."""

    metadata: "LabelledMetadata"


class LabelledMetadata(Metadata, frozen=True, kw_only=True, rename="camel"):
    """`metadata` with its labels."""

    labels: dict[str, str] = {}


class Named(msgspec.Struct, frozen=True):
    """An object of which no more than its metadata is needed."""

    metadata: Metadata


class _Identity(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Identified(msgspec.Struct):
    metadata: _Identity


_identify = msgspec.json.Decoder(_Identified).decode


class Shape(Generic[T]):
    """How the objects of one kind are read.

    Args:
        kind: E.g. `Job`, for messages.
        decode: From JSON, and whether a watch saw the object deleted. Raises `msgspec.DecodeError`, or ValueError for
            what no `T` can be made of.
    """

    def __init__(self, kind: str, decode: Callable[[Raw, bool], T]) -> None:
        self.kind = kind
        self._decode = decode

    @classmethod
    def of(cls, kind: str, wire: type[T], hook: Callable[[type, Any], Any] | None = None) -> "Shape[T]":
        """As the msgspec type `wire`; `hook` is msgspec's `dec_hook`, for types of our own."""
        decode = msgspec.json.Decoder(wire, dec_hook=hook).decode
        return cls(kind, lambda raw, _: decode(raw))

    def then(self, convert: Callable[[T, bool], U]) -> "Shape[U]":
        """The same objects, each read on by `convert(found, gone)`."""
        decode = self._decode
        return Shape(self.kind, lambda raw, gone: convert(decode(raw, gone), gone))

    def read(self, raw: Raw, *, gone: bool = False) -> T:
        """The object. Raises `MalformedObject`, and `msgspec.DecodeError` when it is no JSON at all."""
        try:
            return self._decode(raw, gone)
        except (ValueError, KeyError) as error:
            if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
                raise
            raise self._malformed(raw, error) from error

    def _malformed(self, raw: Raw, error: Exception) -> MalformedObject:
        problem = excerpt(f"{error.args[0] if isinstance(error, KeyError) else error}", 300)
        try:
            known = _identify(raw).metadata
        except msgspec.DecodeError:
            known = _Identity()
        return MalformedObject(self.kind, known.namespace, known.name, known.resource_version, problem)


WHOLE: Final[Shape[Json]] = Shape.of("object", dict[str, Any])
"""Everything, as plain JSON: for one object, never for a list."""

NAMED: Final[Shape[Named]] = Shape.of("object", Named)

LABELLED: Final[Shape[Labelled]] = Shape.of("object", Labelled)


class Malformed:
    """Names each object that cannot be read in the log, once for each of its versions."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str, str], str] = {}

    def note(self, error: MalformedObject) -> None:
        """Name it, unless it was."""
        key = (error.kind, error.namespace, error.name)
        if self._named.get(key) == error.version:
            return
        if len(self._named) >= REMEMBERED:
            self._named.clear()
        self._named[key] = error.version
        _log.error("%s", error)
