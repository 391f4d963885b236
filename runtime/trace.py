"""Which piece of work a log line and a request belong to, across programs: W3C Trace Context, its one header.

The header `traceparent` is `00-<trace id>-<id of the caller's span>-<flags>` in lower-case hexadecimal. It is taken
where a call comes in and passed on, with an id of our own, where a call goes out. Nothing is sampled or exported: the
ids stand in the log lines, and in those of whatever service honours the header.
"""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
# Version ff is forbidden; versions after 00 may append fields, which are for those who know them.
_FORM: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(NamedTuple):
    """One piece of work; whether its caller records it is passed on as it came."""

    id: str
    sampled: bool = False


_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)
_facts: ContextVar[dict[str, str] | None] = ContextVar("log_facts", default=None)


def parse(header: str) -> Trace | None:
    """Return the caller's trace; None for a header that is not as the specification has it, which is then ignored."""
    found = _FORM.fullmatch(header.strip())
    if found is None or (found[1] == "00" and found[5]) or not (int(found[2], 16) and int(found[3], 16)):
        return None
    return Trace(found[2], bool(int(found[4], 16) & 1))  # the other flags are not ours to pass on


@contextmanager
def tracing(caller: str = "", **facts: str) -> Generator[None]:
    """Within the block each log line of this task has these facts and a trace id: the caller's, or a new one."""
    trace = _trace.set(parse(caller) or Trace(os.urandom(16).hex()))
    noted = _facts.set(facts)
    try:
        yield
    finally:
        _facts.reset(noted)
        _trace.reset(trace)


def log_fields() -> dict[str, str]:
    """What a log line says of the work it was written in; empty outside of any."""
    trace = _trace.get()
    return {"trace": trace.id, **(_facts.get() or {})} if trace else {}


def outgoing() -> dict[str, str]:
    """The header for a request that goes out: this work's trace, a new id of the request. Empty outside of any work."""
    trace = _trace.get()
    return {HEADER: f"00-{trace.id}-{os.urandom(8).hex()}-{trace.sampled:02x}"} if trace else {}
