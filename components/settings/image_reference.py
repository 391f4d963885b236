"""Image references by the grammar of distribution/reference, which the kubelet and every container runtime use.

The API server takes any text without blanks at its ends; a reference outside the grammar ends as InvalidImageName on
the node, long after `apply`.
"""

import re
from dataclasses import dataclass
from typing import Final

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"
_REFERENCE = re.compile(rf"(?:{_DOMAIN}/)?(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_LONGEST_PATH: Final = 255
_HUB: Final = "docker.io"

PATTERN: Final = rf"^({_DOMAIN}/)?{_PATH}(:{_TAG}(@({_DIGEST}))?|@({_DIGEST}))$"
"""A pinned reference, as far as a pattern can say it."""

LENGTHS: Final = rf"^([^/]*[.:A-Z][^/]*/|localhost/)?[^@:]{{0,{_LONGEST_PATH}}}(:[^/]*)?(@.*)?$"
"""Beside it: how long the path may be, without the registry."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """What is behind the name: a tag, a digest, both, or neither."""

    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Read a reference; raises `ValueError` exactly where a container runtime refuses it."""
        domain, path = _split(text)
        match = _REFERENCE.fullmatch(f"{domain}/{path}")
        if match is None or _IDENTIFIER.fullmatch(text) or len(match["path"]) > _LONGEST_PATH:
            raise ValueError(f"{text[:80]!r} is no image reference; write [registry[:port]/]name[:tag][@sha256:digest]")
        return cls(match["tag"] or "", match["digest"] or "")


def _split(text: str) -> tuple[str, str]:
    """Registry and repository; what has no dot, colon or capital before its first slash is on Docker Hub."""
    first, slash, rest = text.partition("/")
    named = slash and (first == "localhost" or "." in first or ":" in first or first != first.lower())
    domain, path = (first, rest) if named else (_HUB, text)
    if domain == "index.docker.io":
        domain = _HUB
    return domain, f"library/{path}" if domain == _HUB and "/" not in path else path
