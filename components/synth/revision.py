"""A stack as an earlier revision of the project renders it, with that revision's own code and settings."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.errors import BadInput

_NO_REVISION = "{}: git has no such revision here"
_STACK_FILE = re.compile(r"Pulumi\.([A-Za-z0-9_.-]+)\.yaml")


class NotRendered(BadInput):
    """A revision is there, and its own code makes no files of the stack."""


def stacks_at(revision: str, project: Path) -> list[str]:
    """Names of the stacks that a git revision has.

    Raises:
        BadInput: git does not have the revision.
    """
    command = ["git", "-C", str(project), "ls-tree", "--name-only", "--end-of-options", revision]
    files = run(command, _NO_REVISION.format(revision)).decode(errors="replace").splitlines()
    return sorted(found[1] for file in files if (found := _STACK_FILE.fullmatch(file)))


@contextmanager
def rendered_at(revision: str, stack: str, project: Path) -> Generator[Path]:
    """The folder of a stack's files at a git revision; gone afterwards. Nothing in the working tree is touched.

    Raises:
        BadInput: git does not have the revision.
        NotRendered: its own code does not render the stack.
    """
    with tempfile.TemporaryDirectory(prefix="purpleflea-revision-") as folder:
        tree, out = Path(folder) / "tree", Path(folder) / "dist"
        tree.mkdir()
        unpack(revision, project, tree)
        if not (tree / f"Pulumi.{stack}.yaml").exists():
            (out / stack).mkdir(parents=True)  # a new stack: all of it is new
        else:
            render = [sys.executable, "-m", "components.synth", "--stack", stack, "--out", str(out)]
            try:
                run(render, f"{revision}: its own code does not render {stack}", cwd=tree)
            except BadInput as error:
                raise NotRendered(str(error)) from error
        yield out / stack


def unpack(revision: str, project: Path, folder: Path) -> None:
    """The files of a git revision, below a folder. Raises `BadInput`: git does not have it."""
    # An archive, not a worktree: those are listed in the repository, and stay there when a run is killed.
    command = ["git", "-C", str(project), "archive", "--format=tar", "--end-of-options", revision]
    archive = run(command, _NO_REVISION.format(revision))
    run(["tar", "-x", "-C", str(folder)], f"{revision}: cannot be unpacked", stdin=archive)


def run(
    command: Sequence[str],
    complaint: str,
    *,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    environ: Mapping[str, str] | None = None,
) -> bytes:
    """What a program writes. Raises `BadInput`: it is not there or fails; `complaint` and its last words."""
    try:
        done = subprocess.run(command, cwd=cwd, input=stdin, env=environ, capture_output=True, check=False)
    except FileNotFoundError:
        raise BadInput(f"{complaint}: there is no `{command[0]}` on the PATH") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadInput(f"{complaint} ({said[-1] if said else f'exit code {done.returncode}'})")
    return done.stdout
