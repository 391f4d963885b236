"""A stack's chart beside its files: `make render`, `make chart`, and Helm's own rendering, by number of agent Jobs."""

import os
import sys
import tempfile
from pathlib import Path

from tests.bench.synth import ROOT, Run, measure, middle, project
from tests.toolchain import tools

COUNTS = (None, 10, 100)
"""Agent Jobs; None is the dev stack as it is."""
RUNS = 5


def main() -> None:
    """Print what each of the three takes, after a run that warms the caches."""
    try:
        helm = tools.find("helm").path
    except tools.Missing as missing:
        print(f"not measured: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'stack':<10}{'what':<22}{'wall s':>8}{'cpu s':>8}{'memory':>10}")
        for count in COUNTS:
            here = Path(folder) / str(count)
            project(here, ROOT, count)
            for what, run in _runs(here, helm):
                print(f"{'dev' if count is None else f'{count} Jobs':<10}{what:<22}{run}", flush=True)


def _runs(here: Path, helm: Path) -> list[tuple[str, Run]]:
    options = ["--project", str(here), "--out", str(here / "dist")]
    commands = {
        "make render, again": [sys.executable, "-m", "components.synth", *options],
        "make chart, again": [sys.executable, "-m", "components.helm", *options],
        "helm template": [str(helm), "template", "pf", str(here / "dist" / "dev" / "chart")],
    }
    environment = {**os.environ, "HOME": str(here)}
    found = []
    for what, command in commands.items():
        measure(command, environment)
        found.append((what, middle([measure(command, environment) for _ in range(RUNS)])))
    return found
