"""A folder that generated files share with files of other hands: only what was written here is changed or removed."""

import difflib
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from components.errors import BadInput

LISTING = ".purpleflea-files"
"""The files that belong to the generator, in the format of `sha256sum`, so that anybody can check them."""


class OutputFolder:
    """Generated files below `root`, each remembered with its digest in the listing beside them."""

    _lock = threading.Lock()

    def __init__(self, root: Path) -> None:
        self.root = root

    def owned(self) -> dict[str, str]:
        """Path → SHA-256 of every file that was written here and is still listed."""
        try:
            text = (self.root / LISTING).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{self.root / LISTING} cannot be read ({error}); restore it or delete it") from error
        found = {path: digest for digest, _, path in (line.partition("  ") for line in text.splitlines()) if path}
        self._refuse_outside(found)
        return found

    def differences(self, files: Mapping[str, str]) -> Iterator[str]:
        """A unified diff for each file that `replace` would write or remove; nothing when the folder is up to date."""
        self._refuse_outside(files)
        for path in sorted({*files, *self.owned()}):
            old, new = self._read(path), files.get(path)
            if old != new:
                yield "".join(_diff(old, new, path))

    def replace(self, files: Mapping[str, str]) -> int:
        """Make the folder hold exactly these generated files; returns how many were written or removed.

        Everything is staged beside the folder first, so that a full disk, a crash or a refusal leaves the old output.

        Raises:
            BadInput: a file that was not written here is in the way, one would stand outside, or the folder cannot be
                written.
        """
        self._refuse_outside(files)
        try:
            with self._alone():
                return self._replace(files)
        except OSError as error:
            raise BadInput(f"cannot write {self.root}: {error.strerror or error}; nothing was changed there") from error

    def _replace(self, files: Mapping[str, str]) -> int:
        owned = self.owned()
        changed = {path: text for path, text in files.items() if self._read(path) != text}
        stale = [path for path in owned if path not in files and self._digest(path) == owned[path]]
        self._refuse_foreign(changed, owned)
        self._commit({**changed, LISTING: _listing({path: _sha256(text) for path, text in files.items()})})
        for path in stale:
            self._remove(path)
        return len(changed) + len(stale)

    def put(self, path: str, text: str) -> None:
        """Write one generated file; the others stay as they are."""
        self._refuse_outside([path])
        with self._lock:
            owned = self.owned()
            if self._read(path) != text:
                self._refuse_foreign({path: text}, owned)
            self._commit({path: text, LISTING: _listing({**owned, path: _sha256(text)})})

    def drop(self, path: str) -> None:
        """Remove one generated file, unless somebody has changed it since."""
        with self._lock:
            owned = self.owned()
            if (digest := owned.pop(path, None)) is None:
                return
            if self._digest(path) == digest:
                self._remove(path)
            self._commit({LISTING: _listing(owned)})

    def _refuse_outside(self, paths: Iterable[str]) -> None:
        """A listing that somebody changed, or a link among the folders, must not make this touch anything elsewhere."""
        inside = self.root.resolve()
        outside = [path for path in sorted(paths) if inside not in (self.root / path).resolve().parents]
        if outside:
            raise BadInput(
                f"in {self.root} these lead out of it, by `..`, an absolute path or a link: {', '.join(outside)}. "
                f"Remove the link, or the line in {LISTING}; nothing was written"
            )

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Two renders of one folder at once take turns: the second sees what the first has written."""
        with suppress(FileExistsError):  # of a file in its place, which the next line names
            self.root.parent.mkdir(parents=True, exist_ok=True)
        # The folder itself is locked, so that no lock file stays behind.
        folder = os.open(self.root.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _commit(self, files: Mapping[str, str]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{self.root.name}-", dir=self.root.parent))
        try:
            for path, text in files.items():
                staged = staging / path
                staged.parent.mkdir(parents=True, exist_ok=True)
                staged.write_bytes(text.encode())
                staged.chmod(0o755 if text.startswith("#!") else 0o644)
            for path in files:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            for path in files:  # renames only: the listing comes last
                (staging / path).replace(self.root / path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _refuse_foreign(self, files: Mapping[str, str], owned: Mapping[str, str]) -> None:
        foreign = [path for path in sorted(files) if path not in owned and (self.root / path).exists()]
        if foreign:
            raise BadInput(
                f"in {self.root} these were not written by this command, and it would overwrite them: "
                f"{', '.join(foreign)}; move them away first. Nothing was written"
            )

    def _remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)
        for folder in Path(path).parents:
            try:
                (self.root / folder).rmdir()
            except OSError:  # not empty: somebody's files are in it
                return

    def _read(self, path: str) -> str | None:
        try:
            return (self.root / path).read_bytes().decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise BadInput(f"cannot read {self.root / path}: {error.strerror}") from error

    def _digest(self, path: str) -> str | None:
        return None if (text := self._read(path)) is None else _sha256(text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _listing(digests: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))


def _diff(old: str | None, new: str | None, path: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
