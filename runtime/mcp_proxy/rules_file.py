"""The rules that hold now: read again when their file has changed, and kept when the new one is wrong."""

import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from runtime.contract import Env
from runtime.errors import BadInput
from runtime.mcp_proxy.rules import Rules, load

_LOOK_SECONDS: Final = 1.0
_log: Final = logging.getLogger("runtime.mcp_proxy")


class RulesFile:
    """The file.

    Args:
        file: None for no rules at all.
        servers: The names that rules may be for.
        keeps_books: Whether what is spent outlives a restart; without it no budget is accepted.

    Raises:
        BadInput: It cannot be read, or is wrong.
    """

    def __init__(self, file: Path | None, servers: Collection[str], *, keeps_books: bool) -> None:
        self._file = file
        self._servers = servers
        self._keeps_books = keeps_books
        self._rules = Rules()
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = 0.0
        self.wrong: str | None = None
        """What is wrong with the newest file, for as long as an older one holds."""
        if file is not None:
            self._seen = _stamp(file)
            self._rules = self._loaded(file)
            self._looked_at = time.monotonic()

    def current(self) -> Rules:
        """The rules; looks for newer ones once a second."""
        if self._file is not None and time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self.look()
        return self._rules

    def look(self) -> None:
        """Read the file again if it has changed. Kubernetes swaps a mounted ConfigMap by a symbolic link."""
        if self._file is None or (stamp := _stamp(self._file)) == self._seen:
            return
        self._seen = stamp
        try:
            self._rules = self._loaded(self._file)
        except BadInput as error:
            self.wrong = error.message
            _log.error("the new rules are wrong, the old ones still hold: %s", error.message)
        else:
            self.wrong = None
            _log.info("the rules were read again from %s", self._file)

    def _loaded(self, file: Path) -> Rules:
        rules = load(file, self._servers)
        if rules.budgets and not self._keeps_books:
            needs = f"which need {Env.MCP_STATE_DIRECTORY}: without it a restart would forget what was spent"
            raise BadInput(f"{file} has budgets, {needs}")
        return rules


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None  # in the middle of a swap, or gone: `load` says so
    return found.st_mtime_ns, found.st_ino, found.st_size
