"""Small programs as real child processes."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import runtime.service
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
EXAMPLE = textwrap.dedent(re.search(r"whole one:\n\n(.*?)\n\nIt answers", runtime.service.__doc__, re.DOTALL)[1])
"""The program that the room's docstring shows."""


class Child:
    """A started program; its standard output is read line by line."""

    def __init__(self, source: str, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PF_HEALTH_PORT": str(self.port), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def entry(self) -> dict[str, Any]:
        """The next log line."""
        return json.loads(self.process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, the log lines that are left, and standard error."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


@contextmanager
def started(source: str, *arguments: str, **environment: str) -> Iterator[Child]:
    child = Child(source, *arguments, **environment)
    try:
        yield child
    finally:
        child.process.kill()
        child.process.communicate()
