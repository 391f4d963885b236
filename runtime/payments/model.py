"""The payment trade's nouns, the same in every dialect. Times are UTC; None means that the service did not say."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from runtime.errors import BadInput
from runtime.money import ZERO, Usdc
from runtime.redaction import excerpt

_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ESCROW_ID: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:~@-]{1,200}")


class DialectName(StrEnum):
    """Values of `PF_API_DIALECT`."""

    KUBERNETES = "kubernetes"
    FLY = "fly"
    SERVER = "server"


class Operation(StrEnum):
    """Everything that a dialect may offer."""

    CREATE = "create"
    READ = "read"
    LIST = "list"
    LEDGER = "ledger"
    COMPLETE = "complete"
    RELEASE = "release"
    DISPUTE = "dispute"
    CANCEL = "cancel"
    STATS = "stats"
    HEALTH = "health"
    REGISTER = "register"
    CLAIM = "claim"

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice is the same as once, so that a lost answer harms nobody."""
        return self in _REPEATABLE


_REPEATABLE: Final = frozenset(
    (
        Operation.READ,
        Operation.LIST,
        Operation.LEDGER,
        Operation.STATS,
        Operation.HEALTH,
        Operation.REGISTER,
    ),
)


class EscrowStatus(StrEnum):
    """Where the money is. Every word that a dialect uses is one of these; any other word is an error."""

    LOCKED = "locked"
    """With the escrow service; the work goes on."""
    COMPLETED = "completed"
    """Still locked; the payee says that the work is done."""
    RELEASED = "released"
    """Paid to the payee. The only word that means paid."""
    DISPUTED = "disputed"
    """Held until Purple Flea has decided."""
    REFUNDED = "refunded"
    """Back with the payer, less the fee."""
    CANCELLED = "cancelled"
    """Back with the payer."""
    AUTO_RELEASED = "auto-released"
    """Ended by its time-out. The docs' word suggests the payee has it, the published server refunds: a person looks."""


class ClaimOutcome(StrEnum):
    """How a faucet claim ended. None of them is an error: an agent runs without the credit too."""

    GRANTED = "granted"
    ALREADY = "already"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"


CLAIMED_TODAY: Final = "ip_rate_limited"
"""The faucet's word for its rule of one claim an address and day."""
UNKNOWN_AGENT: Final = "agent_not_found"
"""The faucet's word for an agent that it does not know."""


def escrow_token(job_uid: str, attempt: int = 0) -> str:
    """Return the token of one piece of business: the same for the same Job UID and attempt, on every machine.

    It stands in for the idempotency key that the service lacks: carried in the escrow, it finds a lost create.
    """
    return "pf-" + hashlib.sha256(f"{job_uid}\0{attempt}".encode()).hexdigest()[:32]


def checked_escrow_id(escrow_id: str, operation: Operation | None = None) -> str:
    """Return the id if it can stand in a path, whatever prefix it has.

    Raises:
        BadInput: Empty, too long, or with characters that would make it another path.
    """
    if not _ESCROW_ID.fullmatch(escrow_id):
        wanted = "letters, digits and . _ : ~ @ - only, 1 to 200 of them"
        raise BadInput(f"{excerpt(escrow_id, 40)!r} is not an escrow id: {wanted}", operation=operation)
    return escrow_id


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowRequest:
    """What to lock, for whom, and why.

    Args:
        payee: Agent id or wallet that is paid on release.
        amount: What is locked; the fee is taken out of it on release.
        token: Names this piece of business, see `escrow_token`; 8 to 64 of `A-Za-z0-9._-`.
        description: For people; the `kubernetes` dialect has no place for it.
        payer: Who is billed. Only `fly` has it, and needs it; elsewhere refused, because the key's owner pays.
        timeout_hours: 1 to 720, only in `server`; elsewhere refused, because the money would return at another time.
        referral_code: Sent where the dialect has the field (`server`).
        metadata: Sent where the dialect has the field (`fly`).
    """

    payee: str
    amount: Usdc
    token: str
    description: str = "agent work"
    payer: str | None = None
    timeout_hours: int | None = None
    referral_code: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.amount == ZERO:
            raise BadInput("an escrow of 0.00 USDC pays nobody", operation=Operation.CREATE)
        if not self.payee.strip():
            raise BadInput("an escrow needs a payee", operation=Operation.CREATE)
        if not _TOKEN.fullmatch(self.token):
            raise BadInput(f"{self.token!r} is not a token: 8 to 64 of A-Za-z0-9._-", operation=Operation.CREATE)
        if self.timeout_hours is not None and not 1 <= self.timeout_hours <= 720:
            raise BadInput(f"timeout_hours is {self.timeout_hours}, not 1 to 720", operation=Operation.CREATE)


class Escrow(msgspec.Struct, frozen=True, kw_only=True):
    """An escrow as the service tells it. Only `id` and `status` are always there."""

    id: str
    status: EscrowStatus
    amount: Usdc | None = None
    fee: Usdc | None = None
    payee: str | None = None
    payer: str | None = None
    created_at: datetime | None = None
    auto_release_at: datetime | None = None
    """When the service ends it by itself, even for completed work."""
    token: str | None = None
    participant: bool | None = None
    """Whether the key's agent is its payer or payee, where the service tells."""
    server_time: datetime | None = None
    """The service's own clock when it answered (`Date`), so that ages do not depend on ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Debit:
    """What the payer's account paid into an escrow, as the account's own ledger tells it."""

    escrow_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentLedger:
    """The newest entries of the payer's account.

    Args:
        debits: Those that paid into an escrow.
        since: From when on all of them are here; None where the account has no older ones.
    """

    debits: tuple[Debit, ...]
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The service's direct answer to complete, release, dispute or cancel."""

    operation: Operation
    escrow_id: str
    status: EscrowStatus
    amount: Usdc | None = None
    """Release only: what the service says it paid, usually net of the fee."""
    fee: Usdc | None = None
    referral: Usdc | None = None
    payee: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaucetClaim:
    """How a faucet claim ended, and the service's reason."""

    outcome: ClaimOutcome
    agent_id: str
    amount: Usdc | None = None
    claim_id: str | None = None
    code: str | None = None
    reason: str | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The service's public totals; amounts are rounded to cents there."""

    created: int
    released: int
    disputed: int
    volume: Usdc
    fees: Usdc


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A service that answered its health check."""

    region: str | None = None
