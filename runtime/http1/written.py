"""HTTP/1.1 as it is written, for both sides. What is read is parsed by llhttp (httptools), which is strict."""

import re
from http import HTTPStatus
from typing import Final

Headers = list[tuple[bytes, bytes]]

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_NEVER_IN_A_TARGET: Final = re.compile(rb"[^!-~]")
_NEVER_IN_A_HEADER: Final = re.compile(rb"[\r\n\0]")
LAST_CHUNK: Final = b"0\r\n\r\n"


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """The head of a request. Raises ValueError, where a part of it would begin another."""
    if _NEVER_IN_A_TARGET.search(target):
        raise ValueError(f"{target.decode('latin-1')!r} is no path: it has blanks or letters beyond ASCII")
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, _lines(headers))


def answer_head(status: int, headers: Headers) -> bytes:
    """The head of an answer."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"%s%s\r\n" % (line, _lines(headers))


def chunk(piece: bytes) -> bytes:
    """A piece of a body whose length is not known; nothing for nothing, which would end it."""
    return b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""


def _lines(headers: Headers) -> bytes:
    for name, value in headers:
        if _NEVER_IN_A_HEADER.search(value):
            raise ValueError(f"a line break in the header {name.decode('latin-1')}")
    return b"".join([b"%s: %s\r\n" % pair for pair in headers])
