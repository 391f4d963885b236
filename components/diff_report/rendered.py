"""A rendered stack as it is read back from its folder, whoever wrote it and in whatever state."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from components.manifests import kinds, kustomization
from components.manifests.naming import Manifest
from components.rules.money import Exposure
from components.synth.output_folder import LISTING
from components.synth.rendering import AGENT_CONFIG
from runtime.kubernetes_yaml import NotReadable, documents

_OBJECTS = (kustomization.FOUNDATION, kustomization.RUNNING, kustomization.ADMINISTRATOR)
_MOST_BYTES = 4 << 20


@dataclass(slots=True)
class Rendered:
    """One stack: what could be read of it, and what could not."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    """By the path of the file, with the number of the document where a file has several."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Every other file."""
    exposure: Exposure = field(default_factory=lambda: Exposure.unknown(f"there is no {AGENT_CONFIG}"))
    problems: list[str] = field(default_factory=list)
    """What could not be read; no value of any file is in them."""

    @classmethod
    def unreadable(cls, why: str) -> "Rendered":
        """A stack of which nothing is known."""
        return cls(exposure=Exposure.unknown(why), problems=[why])

    @classmethod
    def read(cls, folder: Path) -> "Rendered":
        """Every file below a stack's folder but its chart, which comes of the same settings.

        A link that leads out of it is passed over.
        """
        found, root = cls(), folder.resolve()
        charts = [listing.parent for listing in folder.glob(f"*/{LISTING}")]
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if not path.is_file() or name == LISTING or not path.resolve().is_relative_to(root):
                continue
            if any(path.is_relative_to(chart) for chart in charts) or (path.parent == folder and path.suffix == ".tgz"):
                continue
            try:
                found._take(name, path.read_bytes())
            except OSError as error:
                found.problems.append(f"{name}: {error.strerror}")
        return found

    def _take(self, name: str, content: bytes) -> None:
        folder, _, file = name.partition("/")
        if folder not in _OBJECTS or not file.endswith((".yaml", ".yml")):
            self.files[name] = content
        elif not file.endswith(kustomization.FILE):
            try:
                self.objects |= {f"{name}{part}": one for part, one in _objects(content)}
            except _Unreadable as error:
                self.problems.append(f"{name}: {error}")
        if name == AGENT_CONFIG:
            self.exposure = _exposure(content)


class _Unreadable(Exception):
    """Why a file is no Kubernetes object."""


@cache  # most files are the same on both sides
def _objects(content: bytes) -> list[tuple[str, Manifest]]:
    if len(content) > _MOST_BYTES:
        raise _Unreadable(f"is longer than {_MOST_BYTES >> 20} MiB")
    try:
        read = [_without_nulls(one) for one in documents(content.decode()) if one is not None]
    except UnicodeDecodeError as error:
        raise _Unreadable(f"is not UTF-8 text, at byte {error.start}") from None
    except NotReadable as error:
        mark = getattr(error.__cause__, "problem_mark", None)  # the message itself may quote a value
        raise _Unreadable(f"is no YAML that Kubernetes takes{f', at line {mark.line + 1}' if mark else ''}") from None
    for one in read:
        if complaint := _complaint(one):
            raise _Unreadable(complaint)
    return [(f"#{number}" if len(read) > 1 else "", one) for number, one in enumerate(read, 1)]


def _complaint(document: Any) -> str | None:
    if not isinstance(document, dict):
        return "is no object"
    if complaint := kinds.identity_complaint(document):
        return complaint
    complaint = kinds.schema_complaint(document)
    # Of a Secret the place alone: the complaint quotes what stands there.
    return complaint.partition(":")[0] if complaint and document["kind"] == "Secret" else complaint


def _without_nulls(value: Any) -> Any:
    """As the API server reads it: what is null is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _exposure(content: bytes) -> Exposure:
    try:
        return Exposure.read(json.loads(content))
    except (ValueError, RecursionError):
        return Exposure.unknown(f"{AGENT_CONFIG} cannot be read")
