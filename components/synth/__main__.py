"""`python -m components.synth`: every artifact of a stack under `dist/<stack>/`, with Python only."""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from components.errors import BadInput
from components.settings import BadSettings
from components.settings.warnings import warnings
from components.stack_values import ROOT, StackValues
from components.synth.output_folder import OutputFolder
from components.synth.rendering import render
from components.synth.revision import rendered_at
from runtime.contract import ExitCode


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write, check or compare a stack's files; 1 where `--check` finds a difference, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m components.synth", description=__doc__)
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--project", type=Path, default=root, help="folder of Pulumi.yaml and the stack files")
    parser.add_argument("--out", type=Path, default=root / "dist", help="folder that gets a folder for each stack")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when out of date")
    parser.add_argument("--diff", metavar="REVISION", help="write nothing; show what has changed since a git revision")
    options = parser.parse_args(arguments)
    folder = OutputFolder(options.out / options.stack)
    try:
        values = StackValues.from_files(options.project, options.stack)
        for doubt in warnings(values.settings()):
            print(f"warning: {doubt}", file=sys.stderr)
        files = render(values, options.project)
        if options.diff:
            return _compare(options.diff, options.stack, options.project, files)
        if options.check:
            return _check(folder, files)
        changed = folder.replace(files)
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    print(f"{folder.root}: {len(files)} files, {changed} changed; start with {folder.root / 'README.md'}")
    return ExitCode.OK


def _compare(revision: str, stack: str, project: Path, files: dict[str, str]) -> int:
    with rendered_at(revision, stack, project) as before:
        differences = [*OutputFolder(before).differences(files)]
    sys.stdout.writelines(differences)
    print(f"{len(differences)} of the files of {stack} differ from {revision}", file=sys.stderr)
    return ExitCode.OK


def _check(folder: OutputFolder, files: dict[str, str]) -> int:
    differences = [*folder.differences(files)]
    sys.stdout.writelines(differences)
    if differences:
        print(f"{folder.root} is out of date: {len(differences)} files; run `make render`", file=sys.stderr)
        return ExitCode.FAILED
    print(f"{folder.root} is up to date: {len(files)} files")
    return ExitCode.OK


if __name__ == "__main__":
    gc.disable()  # a short run that frees little: collecting would be a quarter of its time
    sys.exit(main())
