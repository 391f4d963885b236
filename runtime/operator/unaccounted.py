"""Open escrows of the payer's key that no account names: made elsewhere with the key, or by a create that was lost.

Whoever holds the key can lock the payer's money beside the operator. Where the service tells of all open escrows it
shows here; an escrow that a person made for a Job to come is among them until that Job is there.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from runtime.contract import OPERATOR_LEASE
from runtime.errors import Unsupported
from runtime.kubernetes.events import Events, ObjectReference
from runtime.money import MICRO, ZERO, Usdc
from runtime.operator.metrics import Metrics
from runtime.payments import Escrow, PaymentsClient
from runtime.payments.search import open_escrows

MOST_NAMED = 10
"""Escrows that one event names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Operator:
    """The operator's Deployment, for events."""

    namespace: str

    @property
    def reference(self) -> ObjectReference:
        """What the event names."""
        return ObjectReference("apps/v1", "Deployment", self.namespace, OPERATOR_LEASE, "")


class Unaccounted:
    """Looks once a round, each after a pass of its own. What was found in two of them has no account that is just being
    written or closed.

    Args:
        namespace: The operator's own, in which the event is.
    """

    def __init__(self, client: PaymentsClient, events: Events, metrics: Metrics, namespace: str) -> None:
        self._client = client
        self._events = events
        self._metrics = metrics
        self._about = _Operator(namespace)
        self._suspected: set[str] = set()
        self._told: set[str] = set()
        self._cannot = False

    async def look(self, known: Collection[str], listed: Iterable[Escrow] | None) -> None:
        """Hold the service's open escrows against those that accounts name. Raises `PurpleFleaError`.

        Args:
            known: Escrow ids of the accounts that are not settled, as the last pass found them.
            listed: The open escrows, where they were listed since; else they are asked for.
        """
        if self._cannot:
            return
        try:
            found = await open_escrows(self._client, known) if listed is None else listed
        except Unsupported as error:
            self._cannot = True
            _log.info("escrows without an account are not looked for: %s", error)
            return
        strangers = {escrow.id: escrow for escrow in found if escrow.id not in known}
        lasting = [escrow for escrow_id, escrow in strangers.items() if escrow_id in self._suspected]
        self._suspected = set(strangers)
        await self._report(lasting)

    async def _report(self, found: list[Escrow]) -> None:
        dialect = self._client.dialect.name
        held = sum((escrow.amount for escrow in found if escrow.amount is not None), ZERO)
        self._metrics.unaccounted.labels(dialect).set(len(found))
        self._metrics.unaccounted_usdc.labels(dialect).set(held.micro / MICRO)
        news = [escrow for escrow in found if escrow.id not in self._told]
        self._told = {escrow.id for escrow in found}
        if news:
            names = ", ".join(_told(escrow) for escrow in news[:MOST_NAMED])
            more = f" and {len(news) - MOST_NAMED} more" if len(news) > MOST_NAMED else ""
            words = (
                f"{len(news)} open escrows of this key have no open account in the watched namespaces: {names}{more}"
            )
            await self._events.post(self._about, "EscrowUnaccounted", words, warning=True)


def _told(escrow: Escrow) -> str:
    amount: Usdc | str = "an unknown amount of" if escrow.amount is None else escrow.amount
    return f"{escrow.id} ({amount} USDC for {escrow.payee or 'somebody unknown'})"
