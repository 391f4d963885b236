"""What the libraries of the API server, the kubelet and the Pulumi engine make of a value (`rules/main.go`)."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Refused(Exception):
    """The library does not take the value; the text is its own."""


class Judge:
    """The program, asked line by line."""

    def __init__(self, program: Path) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # ends with its input

    def ask(self, rule: str, value: str) -> Any:
        """The rule's result; raises `Refused`."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"rule": rule, "value": value}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def takes(self, rule: str, value: str) -> bool:
        """Whether the library takes the value."""
        try:
            self.ask(rule, value)
        except Refused:
            return False
        return True
