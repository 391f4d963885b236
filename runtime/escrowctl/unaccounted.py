"""Open escrows of the payer's key that no account names."""

from runtime.errors import BadInput
from runtime.escrowctl.accounts import Accounts
from runtime.kubernetes.escrow import NOT_SETTLED
from runtime.payments import Escrow, PaymentsClient
from runtime.payments.search import open_escrows


async def unaccounted(client: PaymentsClient, accounts: Accounts) -> list[Escrow]:
    """What the service has open, without what an unsettled account of any namespace names.

    Raises:
        BadInput: An account cannot be read: what it names is not known.
        Unsupported: The service does not tell which escrows are open.
    """
    before = await _named(accounts)
    found = await open_escrows(client, before)
    after = await _named(accounts) if found else set()  # what was created since may have its account by now
    return [escrow for escrow in found if escrow.id not in after]


async def _named(accounts: Accounts) -> set[str]:
    escrows = accounts.escrows.list("", fieldSelector=NOT_SETTLED)
    known = {escrow.escrow_id async for escrow in escrows if escrow.escrow_id}
    if escrows.malformed:
        raise BadInput("\n".join(map(str, escrows.malformed)))
    return known
