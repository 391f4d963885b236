"""Purple Flea's money operations, once, in three dialects. Start at `PaymentsClient`; the words are in `model`."""

from runtime.payments.model import (
    Claim,
    ClaimOutcome,
    DialectName,
    Escrow,
    EscrowRequest,
    EscrowStatus,
    Health,
    Operation,
    Receipt,
    Stats,
    escrow_token,
)

__all__ = [
    "Claim",
    "ClaimOutcome",
    "DialectName",
    "Escrow",
    "EscrowRequest",
    "EscrowStatus",
    "Health",
    "Operation",
    "Receipt",
    "Stats",
    "escrow_token",
]
