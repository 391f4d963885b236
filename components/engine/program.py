"""The project's program, run as Pulumi runs it."""

import runpy

from components.stack_values import ROOT

PROGRAM = ROOT / "__main__.py"


def run_program() -> None:
    """Run `__main__.py` in this process."""
    runpy.run_path(str(PROGRAM), run_name="purpleflea_program")
