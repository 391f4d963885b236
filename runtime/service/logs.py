"""One log for every program: a JSON object a line on standard output, redacted as the finished line.

A person gets plain lines: on a terminal, and from a command, whose standard output is its result, on standard error.
"""

import logging
import sys
from typing import Any, Final

from runtime.redaction import redact
from runtime.service.settings import Level
from runtime.trace import log_fields

_CHATTY: Final = ("httpx", "httpcore", "uvicorn")


class PlainLines(logging.Formatter):
    """`program: message` for people; a traceback only where something is wrong with the program itself."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program.replace('%', '%%')}: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The finished text, without a secret in it."""
        return redact(super().format(record))


def configure(program: str, level: Level, *, for_people: bool) -> None:
    """Set the one handler of the process; `for_people` writes plain lines to standard error."""
    handler: logging.StreamHandler[Any] = logging.StreamHandler(sys.stderr if for_people else sys.stdout)
    handler.addFilter(_with_work)
    handler.setFormatter(PlainLines(program) if for_people or sys.stdout.isatty() else _json_lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _json_lines() -> logging.Formatter:
    from runtime.service.json_lines import (
        JsonLines,  # here: a command for people needs nothing but the standard library
    )

    return JsonLines()


def _with_work(record: logging.LogRecord) -> bool:
    for name, value in log_fields().items():
        setattr(record, name, value)
    return True
