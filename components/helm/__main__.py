"""`python -m components.helm`: a stack's chart, as a folder and packed, under `dist/<stack>/`, with Python only."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.errors import BadInput
from components.helm.chart import NAME, chart
from components.packing import packed
from components.settings import BadSettings
from components.settings.warnings import warnings
from components.stack_values import ROOT, StackValues
from components.synth.output_folder import OutputFolder
from runtime.contract import VERSION, ExitCode


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the chart; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m components.helm", description=__doc__)
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--project", type=Path, default=root, help="folder of Pulumi.yaml and the stack files")
    parser.add_argument("--out", type=Path, default=root / "dist", help="folder that gets a folder for each stack")
    options = parser.parse_args(arguments)
    folder = OutputFolder(options.out / options.stack / "chart")
    try:
        settings = StackValues.from_files(options.project, options.stack).settings()
        for doubt in warnings(settings):
            print(f"warning: {doubt}", file=sys.stderr)
        files = chart(settings, options.project)
        changed = folder.replace(files)
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    package = folder.root.with_name(f"{NAME}-{VERSION}.tgz")
    package.write_bytes(packed(NAME, files, "Chart.yaml"))
    print(f"{folder.root}: {len(files)} files, {changed} changed; next: helm install pf {folder.root}")
    print(f"{package}: the same, packed")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
