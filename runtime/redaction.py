"""Keeps secrets out of texts. A secret is named once; from then on no error and no log record of the process shows it.

Our programs redact each log line as it is finished (`runtime.service.logs`), whatever field it came from. `protect`
also installs a log record class, for a program that brings handlers of its own. A text that is cut is redacted first:
what is left of a key that lies across the cut would no longer be known as one.
"""

import json
import logging
import re
import traceback
from typing import Any
from urllib.parse import quote

_log = logging.getLogger(__name__)

_MASK = "[redacted]"
_SHORTEST = 4  # a shorter "secret" would blank out ordinary words
_MOST = 128  # rotated keys stay protected; the oldest forms make room

_forms: dict[str, None] = {}
_pattern: re.Pattern[str] | None = None
# Catches keys that were never named, e.g. the one that a proxy echoes. The escapes `\n` and `\"` end it as a newline
# and a quote would, and the JSON line that it stands in stays valid.
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?!\[redacted\])(?:\\\\|\\(?![nrt\"'])|[^\s\"'\\,;)\]}])+")


def protect(secret: str) -> None:
    """Never show this text, nor its URL-, JSON- and Python-escaped forms, in an error or a log of this process."""
    global _pattern
    if len(secret) < _SHORTEST:
        return
    if logging.getLogRecordFactory() is not _RedactedRecord:
        logging.setLogRecordFactory(_RedactedRecord)
    for form in _escaped(secret):
        _forms[form] = None
    while len(_forms) > _MOST:
        del _forms[next(iter(_forms))]
    # The longest first: one key may be the beginning of another.
    _pattern = re.compile("|".join(re.escape(form) for form in sorted(_forms, key=len, reverse=True)))


def _escaped(secret: str) -> list[str]:
    """The secret as texts show it; the twice escaped are those of a JSON document or a `repr` in a JSON log line."""
    forms = [secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]]
    return [*forms, *(json.dumps(form)[1:-1] for form in forms)]


def redact(text: str) -> str:
    """Return the text without any protected secret and without any `Bearer` credential."""
    if _pattern:
        text = _pattern.sub(_MASK, text)
    return _BEARER.sub(rf"\1{_MASK}", text)


def excerpt(text: str, most: int) -> str:
    """Return at most so many characters of the redacted text. Use it wherever a text of somebody else's is cut."""
    return redact(text)[:most]


def stripped_secret(text: str, where: str) -> str:
    """Return a secret without blanks and newlines around it, which no header can carry, and protect it.

    A file that was written with `echo` ends with a newline. It is removed here and nowhere else, with a warning that
    names `where` it was read.
    """
    secret = text.strip()
    protect(secret)
    if secret != text:
        _log.warning("%s has blanks or a newline around the secret; they were removed", where)
    return secret


class _RedactedRecord(logging.LogRecord):
    """A log record whose message and traceback are redacted whichever handler writes it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            # Formatters use this text instead of formatting the exception themselves.
            self.exc_text = redact("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))

    def getMessage(self) -> str:
        return redact(super().getMessage())
