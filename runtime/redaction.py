"""Keeps secrets out of texts. A secret is named once; from then on no error and no log record of the process shows it.

`protect` also installs the log record class, so a program that holds a key cannot forget to.
"""

import json
import logging
import re
import traceback
from typing import Any
from urllib.parse import quote

_MASK = "[redacted]"
_SHORTEST = 4  # a shorter "secret" would blank out ordinary words
_MOST = 64  # rotated keys stay protected; the oldest forms make room

_forms: dict[str, None] = {}
_pattern: re.Pattern[str] | None = None
# Catches keys that were never named, e.g. the one that a proxy echoes.
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?!\[redacted\])[^\s\"',;)\]}]+")


def protect(secret: str) -> None:
    """Never show this text, nor its URL- and JSON-escaped forms, in an error or a log of this process."""
    global _pattern
    if len(secret) < _SHORTEST:
        return
    if logging.getLogRecordFactory() is not _RedactedRecord:
        logging.setLogRecordFactory(_RedactedRecord)
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
        _forms[form] = None
    while len(_forms) > _MOST:
        del _forms[next(iter(_forms))]
    # The longest first: one key may be the beginning of another.
    _pattern = re.compile("|".join(re.escape(form) for form in sorted(_forms, key=len, reverse=True)))


def redact(text: str) -> str:
    """Return the text without any protected secret and without any `Bearer` credential."""
    if _pattern:
        text = _pattern.sub(_MASK, text)
    return _BEARER.sub(rf"\1{_MASK}", text)


class _RedactedRecord(logging.LogRecord):
    """A log record whose message and traceback are redacted whichever handler writes it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            # Formatters use this text instead of formatting the exception themselves.
            self.exc_text = redact("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))

    def getMessage(self) -> str:
        return redact(super().getMessage())
