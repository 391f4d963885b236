"""`python -m runtime.operator`: pays or disputes each Job's escrow exactly once."""

import sys
from collections.abc import Awaitable

from runtime.operator.config import OperatorConfig
from runtime.service import Program, Start


def run(start: Start[OperatorConfig]) -> Awaitable[None]:
    """Serve until asked to stop."""
    from runtime.operator.process import serve  # here: it takes seconds of a pod at 200m to load

    return serve(start)


PROGRAM = Program(
    "python -m runtime.operator",
    "Watches Jobs, and pays or disputes each one's escrow exactly once. docs/operator.md tells all of it.",
    OperatorConfig,
    run,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
