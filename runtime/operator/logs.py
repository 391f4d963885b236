"""JSON log lines that carry the trace, Job and escrow of the look they were written in."""

import logging
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)


@contextmanager
def tracing(**facts: str) -> Generator[None]:
    """Within the block every log line of this task has a trace id of its own and these facts."""
    token = _context.set({"trace": uuid.uuid4().hex[:16], **facts})
    try:
        yield
    finally:
        _context.reset(token)


def _with_context(record: logging.LogRecord) -> bool:
    for name, value in (_context.get() or {}).items():
        setattr(record, name, value)
    return True


def configure_logs(level: str) -> None:
    """Log to stderr as one JSON object a line. Raises ValueError for a level that does not exist."""
    handler = logging.StreamHandler()
    handler.addFilter(_with_context)
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("kopf", "httpx", "httpcore", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
