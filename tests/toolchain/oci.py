"""Images made of a few files, without any engine: one layer in an OCI archive, the same bytes each time."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "application/vnd.oci.image"


def write_archive(archive: Path, name: str, files: Mapping[str, Path], entrypoint: list[str]) -> None:
    """An image `name` (with tag) whose programs are `files`, by their path in the image."""
    layer = _tar({path: (file.read_bytes(), 0o755) for path, file in sorted(files.items())})
    blobs: dict[str, bytes] = {}
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{PREFIX}.manifest.v1+json",
        "config": _blob(blobs, f"{PREFIX}.config.v1+json", _json(config)),
        "layers": [_blob(blobs, f"{PREFIX}.layer.v1.tar", layer)],
    }
    described = _blob(blobs, f"{PREFIX}.manifest.v1+json", _json(manifest))
    index = {"schemaVersion": 2, "manifests": [{**described, "annotations": {"io.containerd.image.name": name}}]}
    members = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    members |= {f"blobs/sha256/{digest}": content for digest, content in sorted(blobs.items())}
    archive.write_bytes(_tar({path: (content, 0o644) for path, content in members.items()}))


def _blob(blobs: dict[str, bytes], kind: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}


def _tar(members: Mapping[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, (content, mode) in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
