"""Whether the operator makes progress. A dead watch or a stuck queue must fail the probe though the server answers."""

import time


class Health:
    """What the probes ask.

    An API server that is away is no reason to fail it: a new process cannot reach it either, and the kubelet lets the
    fifth one wait for minutes, in which nobody is paid though the server is back.

    Args:
        stall_seconds: After how long without a complete list only a new process may help.
    """

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._progress = time.monotonic()
        self.ready = False

    def progress(self) -> None:
        """Everything was listed, so watches, queue and API server are alive; or the API server is away."""
        self._progress = time.monotonic()

    def stalled(self) -> str | None:
        """Why `/livez` fails."""
        seconds = time.monotonic() - self._progress
        return f"no complete list for {seconds:.0f} s" if seconds > self._stall_seconds else None

    def unready(self) -> str | None:
        """Why `/readyz` fails."""
        return None if self.ready else "not listed yet"
