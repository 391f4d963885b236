"""A log record as one line of JSON."""

import logging
from typing import Final

from pythonjsonlogger.json import JsonFormatter

from runtime.redaction import redact

_NAMES: Final = {"levelname": "level", "name": "logger"}


class JsonLines(JsonFormatter):
    """`time` in UTC, `level`, `logger`, `message`, then the fields of the work and of the call."""

    def __init__(self) -> None:
        super().__init__(["levelname", "name", "message"], rename_fields=_NAMES, timestamp="time")

    def format(self, record: logging.LogRecord) -> str:
        """The finished line, without a secret in whatever field."""
        return redact(super().format(record))
