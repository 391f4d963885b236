"""Finding the escrow that a lost create made: by its token in the service's lists, else in the payer's own ledger."""

from datetime import datetime, timedelta
from typing import Final

from runtime.errors import Contradiction, NotFound, Problem, Rejected, Unavailable, Unsupported
from runtime.payments.client import PaymentsClient
from runtime.payments.model import Escrow, Operation, RecentLedger

CLOCKS_DIFFER: Final = timedelta(minutes=10)
"""How far the service's clock may be from ours: what was debited so much earlier is looked at as well."""


async def find_escrow(client: PaymentsClient, token: str, since: datetime | None = None) -> Escrow | None:
    """Find the escrow that carries a token; None means that the service was asked and has none.

    Where it has no list, the escrows are read that the payer's account has paid into since the create was sent.

    Raises:
        Unsupported: It cannot be looked for: no list, or one that does not show tokens; no ledger, or a short one.
        Contradiction: Several escrows carry it; their ids are in the message.
    """
    try:
        return await _find_listed(client, token)
    except Unsupported as error:
        if since is None or not client.supports(Operation.LEDGER):
            raise
        cause = error.message
    try:
        ledger = await client.read_ledger()
    except Unsupported as error:
        raise Unsupported(f"{cause}; {error.message}", operation=Operation.LEDGER) from None
    return await _find_debited(client, ledger, token, since - CLOCKS_DIFFER, cause)


async def _find_listed(client: PaymentsClient, token: str) -> Escrow | None:
    matches: dict[str, Escrow] = {}
    unseen = ""
    if not client.supports(Operation.LIST):
        client.dialect.request(Operation.LIST)  # raises Unsupported
    for status in client.dialect.list_words:  # in the order of an escrow's life, so that one on the move is met
        try:
            escrows = [escrow async for escrow in client.list_escrows(status)]
        except (Rejected, Unavailable) as error:
            if isinstance(error, Unavailable) and error.problem is not Problem.TOO_LARGE:
                raise
            unseen = f"the {status} escrows cannot be listed: {error.message}"
            continue
        matches |= {escrow.id: escrow for escrow in escrows if escrow.token == token}
        if any(escrow.token is None for escrow in escrows):
            unseen = "the list does not show which escrow carries which token"
    found = _only(matches, token, Operation.LIST)
    if found is None and unseen:
        raise Unsupported(unseen, operation=Operation.LIST)
    return found


async def _find_debited(
    client: PaymentsClient, ledger: RecentLedger, token: str, since: datetime, cause: str
) -> Escrow | None:
    matches: dict[str, Escrow] = {}
    lost: list[str] = []
    for debit in ledger.debits:
        if debit.at < since:
            continue
        try:
            escrow = await client.read_escrow(debit.escrow_id)
        except NotFound:
            lost.append(debit.escrow_id)
        else:
            matches |= {escrow.id: escrow} if escrow.token == token else {}
    found = _only(matches, token, Operation.LEDGER)
    unseen = ""
    if lost:
        unseen = f"the payer's ledger has paid into {', '.join(lost)}, which the service does not know"
    elif ledger.since and ledger.since > since:
        unseen = f"the payer's ledger shows nothing before {ledger.since:%H:%M:%S} UTC"
    if found is None and unseen:
        raise Unsupported(f"{cause}; {unseen}", operation=Operation.LEDGER)
    return found


def _only(matches: dict[str, Escrow], token: str, operation: Operation) -> Escrow | None:
    if len(matches) > 1:
        found = f"{token} is on several escrows: {', '.join(sorted(matches))}"
        raise Contradiction(found, operation=operation, problem=Problem.DUPLICATE)
    return next(iter(matches.values()), None)
