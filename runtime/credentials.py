"""The API key: read from a mounted file whenever that changes, else from the environment. Never in a `repr`."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runtime.contract import Env
from runtime.environment import path, secret
from runtime.errors import BadInput, Unauthorized
from runtime.redaction import stripped_secret

_KEY = re.compile(r"[!-~]{1,4096}")  # visible ASCII: what may stand in a header


class Credentials:
    """Where the key comes from.

    Args:
        key: The key itself. Used where there is no file.
        file: A file that holds nothing but the key. Wins over `key`, and is read again when it has changed.
            Kubernetes swaps a mounted Secret by a symbolic link, which changes the inode.
    """

    def __init__(self, key: str | None = None, file: Path | None = None) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._key = _checked(key, "the API key") if key else None

    def key(self) -> str:
        """Return the key that is valid now.

        Raises:
            Unauthorized: There is none.
            BadInput: What stands there cannot be a key.
        """
        if self._file:
            self._reread(self._file)
        if not self._key:
            raise Unauthorized(f"no API key: set {Env.API_KEY}, or {Env.API_KEY_FILE} to a readable file that holds it")
        return self._key

    def _reread(self, file: Path) -> None:
        try:
            found = file.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp != self._seen:
                self._key = _checked(file.read_text(encoding="ascii", errors="replace"), str(file))
                self._seen = stamp
        except OSError:
            return  # in the middle of a swap: the key read last still holds, and without one `key` says so

    def __repr__(self) -> str:
        return f"Credentials(file={self._file})" if self._file else "Credentials(key=[redacted])"


def _checked(text: str, where: str) -> str:
    key = stripped_secret(text, where)
    if not _KEY.fullmatch(key):
        raise BadInput("the API key is empty or has characters that no key has; it was not sent")
    return key


@dataclass(frozen=True, kw_only=True)
class KeySettings:
    """Where the API key comes from; without one, only what needs a key fails."""

    key: str | None = secret(Env.API_KEY, "The API key", default=None)
    file: Path | None = path(
        Env.API_KEY_FILE, f"A file with the key, read again when it changes; wins over `{Env.API_KEY}`", default=None
    )

    @cached_property
    def credentials(self) -> Credentials:
        """One for the program, so that a file is read once a change."""
        return Credentials(self.key, self.file)


@dataclass(frozen=True, kw_only=True)
class NeededKeySettings(KeySettings):
    """The same for a program that cannot do without: no key is a wrong setting at the start."""

    def __post_init__(self) -> None:
        self.credentials.key()
