"""A folder of files as one: a gzipped tar, of which the same files give the same bytes."""

import gzip
import io
import tarfile
from collections.abc import Mapping


def packed(folder: str, files: Mapping[str, str], first: str = "") -> bytes:
    """The tar of one folder.

    Args:
        folder: Its name in the tar.
        files: Text by path below it; one that begins with `#!` may be run.
        first: The file that readers look for, e.g. `Chart.yaml`.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path in sorted(files, key=lambda path: (path != first, path)):
            content = files[path].encode()
            entry = tarfile.TarInfo(f"{folder}/{path}")
            entry.size, entry.mode = len(content), 0o755 if content.startswith(b"#!") else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)
