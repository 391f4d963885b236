"""`python -m components.release`: what a release has, in `dist/release/`: wheel, a stack's files and chart, checksums.

The same commit gives the same bytes: what is not committed is in none of them. `make release` adds what `make sbom`
lists.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.errors import BadInput
from components.helm.chart import NAME, chart
from components.packing import packed
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues
from components.synth.rendering import render
from components.synth.revision import run, unpack
from runtime.contract import VERSION, ExitCode

SUMS = "SHA256SUMS"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write it; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m components.release", description=__doc__)
    parser.add_argument("--stack", default="dev", help="the stack whose files and chart it has (default: dev)")
    parser.add_argument("--project", type=Path, default=root, help="a checkout, with everything committed")
    parser.add_argument("--out", type=Path, default=root / "dist" / "release", help="an empty folder, or none yet")
    parser.add_argument("--also", type=Path, nargs="*", default=[], metavar="FILE", help="files to put beside them")
    options = parser.parse_args(arguments)
    try:
        if options.out.exists() and any(options.out.iterdir()):
            raise BadInput(f"{options.out} is not empty; remove it first, a release has nothing of another one")
        if left := run(
            ["git", "-C", str(options.project), "status", "--porcelain"], f"{options.project} is no checkout"
        ).decode():
            raise BadInput(f"not everything is committed, and a release is of a commit:\n{left.rstrip()}")
        if missing := [str(file) for file in options.also if not file.is_file()]:
            raise BadInput(f"there is no file {', '.join(missing)}")
        options.out.mkdir(parents=True, exist_ok=True)
        for file in options.also:
            shutil.copyfile(file, options.out / f"{NAME}-{VERSION}-{file.name}")
        _write(options.out, options.project, options.stack)
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.OK


def _write(out: Path, project: Path, stack: str) -> None:
    _wheel(out, project)
    values = StackValues.from_files(project, stack)
    folder = f"{NAME}-{stack}-{VERSION}"
    (out / f"{folder}.tar.gz").write_bytes(packed(folder, render(values, project)))
    (out / f"{NAME}-{VERSION}.tgz").write_bytes(packed(NAME, chart(values.settings(), project), "Chart.yaml"))
    files = sorted(out.iterdir())
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    for file in files:
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
    image = f"make image IMAGE=registry.example/purpleflea/runtime:{VERSION} BASE=python:3.12-slim@sha256:..."
    print(f"{out / SUMS}; the image: {image}")


def _wheel(out: Path, project: Path) -> None:
    """Of the commit's own files, dated by the commit: what a build leaves in a checkout gets into no wheel."""
    dated = run(["git", "-C", str(project), "log", "-1", "--format=%ct"], "it has no commit").decode().strip()
    with tempfile.TemporaryDirectory(prefix="purpleflea-release-") as source:
        unpack("HEAD", project, Path(source))
        words = ["--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", f"{out.resolve()}", source]
        build = [sys.executable, "-m", "pip", "wheel", *words]
        run(build, "the wheel cannot be built", environ=os.environ | {"SOURCE_DATE_EPOCH": dated})


if __name__ == "__main__":
    sys.exit(main())
