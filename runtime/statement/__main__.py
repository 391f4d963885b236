"""`python -m runtime.statement`, also `kubectl purpleflea statement`: what every account came to in a period.

Locked, paid, kept, returned and held, by agent, Job, namespace, payee, label or region, to the micro-USDC. With
--reconcile it is held against the payment service: each difference is a line of its own, and exit code 1.
"""

import gc
import sys

from runtime.kubernetes.command import run_for_people
from runtime.payments.settings import PaymentSettings
from runtime.service import Kind, Program, Start
from runtime.statement import command


def run(start: Start[command.StatementSettings]) -> int:
    """Make it; the exit code."""
    gc.disable()  # it ends soon and makes no cycles to speak of; to look for some is a sixth of its CPU
    return run_for_people(command.make(start.arguments))


PROGRAM = Program(
    "python -m runtime.statement",
    __doc__,
    command.StatementSettings,
    run,
    Kind.COMMAND,
    add_arguments=command.add_arguments,
    reads_too={"--reconcile": PaymentSettings},
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
