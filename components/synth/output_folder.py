"""A folder that generated files share with files of other hands: only what was written here is changed or removed.

What is on disk counts, at every call. A generated file that somebody has edited since is no longer the generator's: it
is neither overwritten nor removed.
"""

import difflib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from components.errors import BadInput

LISTING = ".purpleflea-files"
"""The files that belong to the generator, in the format of `sha256sum`, so that anybody can check them."""

Digests = dict[str, frozenset[str]]
"""Path → SHA-256 of each content that is the generator's; two while a write is under way."""


class OutputFolder:
    """Generated files below `root`, each remembered with its digest in the listing beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def owned(self) -> Digests:
        """Every file that was written here and is still listed.

        Raises:
            BadInput: the listing cannot be read, or a line of it leads out of the folder.
        """
        try:
            text = (self.root / LISTING).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{self.root / LISTING} cannot be read ({error}); restore it or delete it") from error
        found: Digests = {}
        for digest, _, path in (line.partition("  ") for line in text.splitlines()):
            if path:
                found[path] = found.get(path, frozenset()) | {digest}
        self._refuse_outside(found)
        return found

    def differences(self, files: Mapping[str, str]) -> Iterator[str]:
        """A unified diff for each file that `replace` would write or remove; nothing when the folder is up to date."""
        for path in sorted({*files, *self.owned()}):
            old, new = self._read(path), files.get(path)
            if old != new:
                yield "".join(_diff(old, new, path))

    def outdated(self, files: Mapping[str, str]) -> list[str]:
        """Paths of those files that are not on disk as given."""
        return [path for path, text in sorted(files.items()) if self._read(path) != text]

    def replace(self, files: Mapping[str, str]) -> int:
        """Make the folder hold exactly these generated files; returns how many were written or removed."""
        return self.change(files, None)

    def check(self, files: Mapping[str, str]) -> None:
        """Whether these files can be written; changes nothing.

        Raises:
            BadInput: a file that was not written here, or was edited since, is in the way; or one would stand outside.
        """
        self._refuse_outside(files)
        owned = self.owned()
        in_the_way = [path for path in self.outdated(files) if (self.root / path).exists()]
        edited = [path for path in in_the_way if path in owned and self._digest(path) not in owned[path]]
        foreign = [path for path in in_the_way if path not in owned]
        problems = []
        if foreign:
            problems.append(f"these were not written by this command: {', '.join(foreign)}; move them away first")
        if edited:
            keep = "keep your edit elsewhere (a setting may say the same), then delete the file"
            problems.append(f"these were edited since they were written: {', '.join(edited)}; {keep}")
        if problems:
            raise BadInput(f"in {self.root}, {'. And '.join(problems)}. Nothing was written there")

    def change(self, files: Mapping[str, str], stale: Iterable[str] | None) -> int:
        """Write these files and remove the stale ones (None: all others); returns how many were written or removed.

        The files are staged beside the folder first, so that a full disk, a crash or a refusal leaves the old output.

        Raises:
            BadInput: `check` refuses, or the folder cannot be written.
        """
        try:
            with self._alone():
                return self._change(files, None if stale is None else [*stale])
        except OSError as error:
            raise BadInput(f"cannot write {self.root}: {error.strerror or error}; nothing was changed there") from error

    def _change(self, files: Mapping[str, str], stale: Iterable[str] | None) -> int:
        self.check(files)
        owned = self.owned()
        stale = [path for path in owned if (path not in files if stale is None else path in stale)]
        removed = [path for path in stale if self._digest(path) in owned[path]]
        changed = self.outdated(files)
        listed: Digests = {path: owned[path] for path in owned if path not in stale}
        listed |= {path: frozenset({_sha256(text)}) for path, text in files.items()}
        self._commit({path: files[path] for path in changed}, listed, owned)
        for path in removed:
            self._remove(path)
        return len(changed) + len(removed)

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

    def _commit(self, files: Mapping[str, str], listed: Digests, before: Digests) -> None:
        if not files and listed == before:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        # Both contents are ours until the last rename, so that a crash between two of them leaves no stranger.
        either = {path: listed.get(path, frozenset()) | before.get(path, frozenset()) for path in {*listed, *before}}
        staging = Path(tempfile.mkdtemp(prefix=f".{self.root.name}-", dir=self.root.parent))
        try:
            for path, text in files.items():
                staged = staging / "files" / path
                staged.parent.mkdir(parents=True, exist_ok=True)
                staged.write_bytes(text.encode())
                staged.chmod(0o755 if text.startswith("#!") else 0o644)
            (staging / "before").write_text(_listing(either))
            (staging / "after").write_text(_listing(listed))
            for path in files:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (staging / "before").replace(self.root / LISTING)
            for path in files:  # renames only
                (staging / "files" / path).replace(self.root / path)
            (staging / "after").replace(self.root / LISTING)
            if not listed:
                (self.root / LISTING).unlink()
        finally:
            shutil.rmtree(staging, ignore_errors=True)

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


def _listing(digests: Digests) -> str:
    return "".join(f"{digest}  {path}\n" for path in sorted(digests) for digest in sorted(digests[path]))


def _diff(old: str | None, new: str | None, path: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
