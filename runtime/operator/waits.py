"""What an account waits for, said once: a condition with its reason and since when, an event, and a metric by cause."""

from datetime import UTC, datetime
from typing import Final

from runtime.contract import Phase
from runtime.errors import PurpleFleaError, Unauthorized
from runtime.kubernetes.escrow import Condition, Escrow
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.events import Events
from runtime.kubernetes.shape import Json
from runtime.operator.jobs import JobFacts
from runtime.redaction import excerpt

LONGEST_SECONDS: Final = 60.0
"""Seconds between two tries for an account that waits."""

SERVICE_UNAVAILABLE: Final = "PaymentServiceUnavailable"
"""Reason of the condition while the service gives no answer that can be used."""

UNAUTHORIZED: Final = "Unauthorized"
"""Reason of the condition while the service refuses the payer's key: it was revoked, or is the wrong one."""


def reason_of(error: PurpleFleaError | None) -> str:
    """The condition's reason while the service gives no usable answer."""
    return UNAUTHORIZED if isinstance(error, Unauthorized) else SERVICE_UNAVAILABLE


def condition(of_type: str, status: bool, reason: str, message: str, since: datetime | None = None) -> Condition:
    """A condition as long as an object takes it."""
    return Condition(of_type, str(status), reason, last_transition_time=since, message=excerpt(message, 1024))


def seconds_until_next_try(escrow: Escrow, of_type: str) -> float:
    """As long as it has waited so far, so soon at first, then each minute."""
    found = escrow.condition(of_type)
    since = found.last_transition_time if found else None
    silent = (datetime.now(UTC) - since).total_seconds() if since else 0.0
    return min(max(silent, 1.0), LONGEST_SECONDS)


class Waits:
    """Writes down what accounts wait for."""

    def __init__(self, escrows: EscrowObjects, events: Events) -> None:
        self._escrows = escrows
        self._events = events

    async def note(self, job: JobFacts, escrow: Escrow, of_type: str, reason: str, message: str) -> Escrow:
        """A condition and an event say why it waits; nothing where they say so already. The Escrow as written."""
        found = escrow.condition(of_type)
        if found is not None and found.reason == reason:
            return escrow
        await self._events.post(job, reason, f"{message}; it waits and goes on by itself", warning=True)
        status: Json = {"conditions": escrow.with_condition(condition(of_type, False, reason, message))}
        if escrow.phase is Phase.PENDING:
            status["phase"] = Phase.PENDING.value
        return await self._escrows.set_status(escrow, **status)
