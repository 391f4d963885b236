"""`python -m runtime.reference`: docs/environment.md, from what the programs declare. `make docs` writes it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from runtime import network
from runtime.service import Kind, NoSettings, Program, Start

RUNTIME: Final = Path(__file__).parent
_HEAD: Final = """# Every program's environment

<!-- Written by `make docs` from the code; do not edit. -->

A variable that is empty or blank is not set. A wrong one ends the program with exit code 2 before it does anything; all
that are wrong are named at once. Every program answers `--help`, which shows this too, and `--version`.

Exit codes: 0 done, or stopped as asked; 1 another attempt may help; 2 a wrong setting or argument; 3 the faucet was
required and gave no usable answer; 130 interrupted. Logs are JSON lines on standard output, and plain lines on a
terminal; a command for people logs to standard error.
"""
_TABLE: Final = ("| variable | meaning | takes | unset |", "|---|---|---|---|")
_CLIENTS: Final = """
## Proxies and certificates

Read by every program that calls the payment service or an MCP server, by their usual names in either case, unless
`PF_ALLOW_HTTP` is `true`: a sandbox is near then. The MCP sidecar speaks to `http://` and `https://` proxies, no SOCKS.
`KUBECONFIG` tells the operator outside a pod, and `escrowctl`, where the cluster is.

| variable | meaning |
|---|---|
"""


def programs() -> Iterator[Program[Any]]:
    """Every program of the runtime: each module that can be run and declares one."""
    for file in sorted(RUNTIME.rglob("*.py")):
        if "\nPROGRAM = " not in file.read_text(encoding="utf-8"):
            continue
        module = ".".join(file.relative_to(RUNTIME.parent).with_suffix("").parts)
        yield importlib.import_module(module).PROGRAM


def page() -> str:
    """The text of docs/environment.md."""
    sections = [line for program in programs() for line in _section(program)]
    clients = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in network.VARIABLES.items())
    return _HEAD + "\n".join(sections) + "\n" + _CLIENTS + clients


def _section(program: Program[Any]) -> Iterator[str]:
    yield from ("", f"## `{program.name}`", "", program.summary.strip().splitlines()[0], "", *_TABLE)
    for variable, verb in program.variables():
        only = f"`{verb}` only: " if verb else ""
        yield f"| `{variable.name}` | {only}{variable.meaning} | {variable.takes} | {variable.without} |"


def run(_: Start[NoSettings]) -> None:
    """Print the page."""
    sys.stdout.write(page())


PROGRAM = Program(
    "python -m runtime.reference",
    "Prints docs/environment.md from what the programs declare.",
    NoSettings,
    run,
    Kind.COMMAND,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
