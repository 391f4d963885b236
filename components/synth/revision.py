"""A stack as an earlier revision of the project renders it, with that revision's own code and settings."""

import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.errors import BadInput


@contextmanager
def rendered_at(revision: str, stack: str, project: Path) -> Generator[Path]:
    """The folder of a stack's files at a git revision; gone afterwards. Nothing in the working tree is touched.

    Raises:
        BadInput: git does not have the revision, or its own code does not render the stack.
    """
    with tempfile.TemporaryDirectory(prefix="purpleflea-revision-") as folder:
        tree, out = Path(folder) / "tree", Path(folder) / "dist"
        tree.mkdir()
        # An archive, not a worktree: those are listed in the repository, and stay there when a run is killed.
        command = ["git", "-C", str(project), "archive", "--format=tar", "--end-of-options", revision]
        archive = _run(command, f"{revision}: git has no such revision here")
        _run(["tar", "-x", "-C", str(tree)], f"{revision}: cannot be unpacked", stdin=archive)
        if not (tree / f"Pulumi.{stack}.yaml").exists():
            (out / stack).mkdir(parents=True)  # a new stack: all of it is new
        else:
            render = [sys.executable, "-m", "components.synth", "--stack", stack, "--out", str(out)]
            _run(render, f"{revision}: its own code does not render {stack}", cwd=tree)
        yield out / stack


def _run(command: Sequence[str], complaint: str, *, cwd: Path | None = None, stdin: bytes | None = None) -> bytes:
    try:
        done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise BadInput(f"{complaint}: there is no `{command[0]}` on the PATH") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadInput(f"{complaint} ({said[-1] if said else f'exit code {done.returncode}'})")
    return done.stdout
