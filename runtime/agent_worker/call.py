"""`python -m runtime.agent_worker.call module:function`: one call in a process of its own, which can be ended.

The function gets the task as a dictionary and returns text, bytes or what JSON can write; it may be a coroutine.
"""

import asyncio
import importlib
import inspect
import json
import sys
from pathlib import Path


def main(where: str) -> None:
    """Call it with the task on standard input; its result goes to standard output."""
    out = sys.stdout.buffer
    sys.stdout = sys.stderr  # what it prints is no result
    sys.path.insert(0, str(Path.cwd()))
    sys.excepthook = sys.__excepthook__  # from here on a module that is missing is the task's own
    module, _, name = where.partition(":")
    result = getattr(importlib.import_module(module), name)(json.load(sys.stdin))
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    if result is None:
        return
    if not isinstance(result, bytes):
        result = (result if isinstance(result, str) else json.dumps(result, sort_keys=True)).encode()
    out.write(result)
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
