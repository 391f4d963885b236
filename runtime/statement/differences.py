"""One account beside the payment service's record of its escrow: whether they agree, and in what they do not.

Pure: nothing is read or written here.
"""

import sys
from collections.abc import Iterable
from typing import Final

from runtime.contract import Phase
from runtime.kubernetes.escrow import Account
from runtime.payments import Escrow as Told
from runtime.payments import EscrowStatus
from runtime.settlement.table import Outcome
from runtime.statement.sums import shown

PLACE_OF: Final = {
    EscrowStatus.LOCKED: "held",
    EscrowStatus.COMPLETED: "held",
    EscrowStatus.DISPUTED: "held",
    EscrowStatus.RELEASED: "paid",
    EscrowStatus.REFUNDED: "returned",
    EscrowStatus.CANCELLED: "returned",
    EscrowStatus.AUTO_RELEASED: "",
}
"""Where the money is, by the service's word."""
ENDED: Final = {
    Outcome.PAID: (EscrowStatus.RELEASED, "paid"),
    Outcome.DISPUTED: (EscrowStatus.DISPUTED, "held"),
    Outcome.REFUNDED: (EscrowStatus.REFUNDED, "returned"),
    Outcome.CANCELLED: (EscrowStatus.CANCELLED, "returned"),
    Outcome.COMPLETED: (EscrowStatus.COMPLETED, "held"),
}
"""What the service should say of an account that ended so, and where the money is then."""
_MOVING: Final = (Phase.DECIDED, Phase.VERIFYING, Phase.NEEDS_REVIEW)

Record = tuple[EscrowStatus, int | None, str | None, int | None]
"""What the service says of one escrow: status, amount, payee, fee."""


def record_of(told: Told) -> Record:
    """What a list or a read tells, as short as it can be kept."""
    payee = None if told.payee is None else sys.intern(told.payee)
    return told.status, _micro(told.amount), payee, _micro(told.fee)


def _micro(amount: object) -> int | None:
    return getattr(amount, "micro", None)


def named(escrow: Account) -> str:
    """The account and its escrow, for a sentence."""
    return f"{escrow.namespace}/{escrow.name}, escrow {escrow.escrow_id}"


def place_of(escrow: Account) -> str:
    """Where the account says the money is."""
    outcome = escrow.status.outcome
    return ENDED[outcome][1] if escrow.phase is Phase.SETTLED and outcome else "held"


def difference(escrow: Account, record: Record | None) -> str:
    """In what the two disagree, and nothing explains it; empty where they agree."""
    if record is None:
        return "" if escrow.phase in _MOVING else "the service does not have it"
    problems = [*_amounts(escrow, record)]
    status, _, payee, _ = record
    if payee is not None and escrow.payee is not None and payee != escrow.payee:
        problems.append(f"the payee is {escrow.payee} here and {payee} at the service")
    decided = escrow.phase is Phase.SETTLED and escrow.status.outcome is Outcome.DISPUTED
    if PLACE_OF[status] != place_of(escrow) and escrow.phase not in _MOVING and not decided:
        problems.append(f"it is {place_of(escrow)} here and {status} at the service")
    return "; ".join(problems)


def _amounts(escrow: Account, record: Record) -> Iterable[str]:
    status, amount, _, fee = record
    here = escrow.amount
    pairs = [("locked", _micro(here), amount)]
    if (
        status is EscrowStatus.RELEASED
        and escrow.status.outcome is Outcome.PAID
        and amount is not None
        and fee is not None
    ):
        pairs += [("paid", _micro(escrow.status.paid_usdc), amount - fee), ("fee", _micro(escrow.status.fee_usdc), fee)]
    for what, ours, theirs in pairs:
        if theirs is not None and ours is None:
            yield f"{what} is unknown here and {shown(theirs)} at the service"
        elif theirs is not None and ours is not None and ours != theirs:
            yield f"{what} is {shown(ours)} here and {shown(theirs)} at the service, {shown(ours - theirs)} apart"


def note_of(escrow: Account, record: Record) -> str:
    """What differs for a known reason."""
    status = record[0]
    if escrow.phase is Phase.NEEDS_REVIEW:
        return f"in review; it is {status} at the service"
    if PLACE_OF[status] == place_of(escrow):
        return ""
    return (
        f"disputed; the service has decided since: {status}"
        if escrow.phase is Phase.SETTLED
        else f"being settled; {status} at the service"
    )
