"""Purple Flea's money operations, once, in three dialects.

Start at `PaymentsClient`; the nouns are in `model`, creating an escrow exactly once is `create_once`.
"""

from runtime.credentials import Credentials
from runtime.payments.client import PaymentsClient
from runtime.payments.creation import Created, Creation, CreationJournal, NeedsReview, create_once
from runtime.payments.http import Limits, Timeouts
from runtime.payments.model import (
    ClaimOutcome,
    DialectName,
    Escrow,
    EscrowRequest,
    EscrowStatus,
    FaucetClaim,
    Health,
    Operation,
    Receipt,
    Stats,
    escrow_token,
)
from runtime.payments.retry import Retries

__all__ = [
    "ClaimOutcome",
    "Created",
    "Creation",
    "CreationJournal",
    "Credentials",
    "DialectName",
    "Escrow",
    "EscrowRequest",
    "EscrowStatus",
    "FaucetClaim",
    "Health",
    "Limits",
    "NeedsReview",
    "Operation",
    "PaymentsClient",
    "Receipt",
    "Retries",
    "Stats",
    "Timeouts",
    "create_once",
    "escrow_token",
]
