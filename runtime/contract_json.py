"""`python -m runtime.contract_json`: the contract as JSON, for programs in other languages."""

import json
import sys

from runtime.contract import contract_json
from runtime.service import Kind, NoSettings, Program, Start


def run(_: Start[NoSettings]) -> None:
    """Print it."""
    sys.stdout.write(json.dumps(contract_json(), indent=2) + "\n")


PROGRAM = Program(
    "python -m runtime.contract_json",
    "Prints the contract as JSON, for programs in other languages.",
    NoSettings,
    run,
    Kind.COMMAND,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
