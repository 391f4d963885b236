"""Settled accounts as files: JSON lines, the objects as the API server had them, in a folder or a bucket.

`NAMESPACE/DAY/SHA256.jsonl`: the day (UTC) on which they were closed, and the digest of the content. So a file cannot
change unnoticed, nor be written half: it appears whole, and writing it again changes nothing. An account may be in two
files, because whoever wrote the first was stopped before it removed the object; readers count each UID once.

obstore gives folder, S3, Google and Azure one interface in one wheel of 6 MB without dependencies; fsspec with s3fs
takes aiobotocore and botocore along, 25 MB. What obstore leaves out is `fsync` in a folder: it is done here.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from runtime.errors import BadInput
from runtime.kubernetes.errors import MalformedObject
from runtime.kubernetes.escrow import ACCOUNT, Account
from runtime.redaction import excerpt
from runtime.service import Failure

FILE_BYTES: Final = 4 << 20
"""About how large a file may become: it is read and verified whole."""

SUFFIX: Final = ".jsonl"


class ArchiveError(Failure):
    """The archive cannot be reached, or what it gives is not what was written."""


class Archive:
    """One archive.

    Args:
        url: `file:///folder`, `s3://bucket/folder`, `gs://` or `az://`; who may, and where, comes from the environment
            as their own programs read it, e.g. `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL`.

        create: Whether a folder is made where there is none; not those above it, which a volume would hide.

    Raises:
        BadInput: No such kind of URL, or no folder there.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self.url = url
        try:
            if create and url.startswith("file:"):
                Path(urlsplit(url).path).mkdir(exist_ok=True)
            self._store = from_url(url)
        except (BaseError, OSError, ValueError) as error:
            raise BadInput(f"archive {url}: {_first_line(error)}") from None

    def write(self, namespace: str, day: date, objects: Sequence[bytes]) -> str:
        """Write these objects, each as JSON on one line, and read them back; the name of the file.

        Once this has returned the file is durable, and holds exactly them.

        Raises:
            ArchiveError: It is not.
        """
        content = b"".join(line + b"\n" for line in objects)
        name = f"{namespace}/{day}/{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        try:
            obstore.put(self._store, name, content, mode="create")
        except AlreadyExistsError:
            pass  # written by a run that was stopped; whether it is the same is found out below
        except (BaseError, OSError) as error:
            raise ArchiveError(f"archive {self.url}: {name} was not written: {_first_line(error)}") from error
        if isinstance(self._store, LocalStore):
            folder = Path(self._store.prefix or "/")
            _make_durable(folder, folder / name)
        if self._content(name) != content:
            raise ArchiveError(f"archive {self.url}: {name} does not hold what was written")
        return name

    def read(self, namespaces: Sequence[str] = ("",), since: date | None = None) -> Iterator[Account]:
        """Every account of these namespaces, all of them for an empty one, that was closed on that day or later.

        Raises:
            ArchiveError: A file is not what was written, or cannot be read. Nothing after it is known.
        """
        for namespace in namespaces:
            for name in sorted(self._names(f"{namespace}/" if namespace else None)):
                if since is None or _day_of(name) >= since:
                    yield from self._accounts(name)

    def _names(self, prefix: str | None) -> list[str]:
        try:
            found = [each["path"] for page in obstore.list(self._store, prefix) for each in page]
        except (BaseError, OSError) as error:
            raise ArchiveError(f"archive {self.url} cannot be listed: {_first_line(error)}") from error
        return [name for name in found if _is_ours(name)]

    def _accounts(self, name: str) -> Iterator[Account]:
        content = self._content(name)
        if hashlib.sha256(content).hexdigest() != name.rpartition("/")[2].removesuffix(SUFFIX):
            raise ArchiveError(f"archive {self.url}: {name} is damaged: its content has another checksum")
        try:
            yield from map(ACCOUNT.read, content.splitlines())
        except (MalformedObject, ValueError) as error:
            raise ArchiveError(f"archive {self.url}: {name}: {error}") from error

    def _content(self, name: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except (BaseError, OSError) as error:
            raise ArchiveError(f"archive {self.url}: {name} cannot be read: {_first_line(error)}") from error


def _is_ours(name: str) -> bool:
    return name.endswith(SUFFIX) and name.count("/") == 2


def _day_of(name: str) -> date:
    return date.fromisoformat(name.split("/")[1])


def _make_durable(root: Path, file: Path) -> None:
    """Have file and folders on disk, not only in the kernel's memory: the objects are removed next."""
    for path in (file, *(parent for parent in file.parents if parent.is_relative_to(root))):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _first_line(error: Exception) -> str:
    return excerpt(f"{error}".partition("\n")[0], 300)
