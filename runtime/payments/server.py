"""The published open-source server's surface. Its docs name a list that its code lacks: 404 there is `Unsupported`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from msgspec import structs

from runtime.payments.answer import Answer, required
from runtime.payments.dialect import Dialect, Endpoint, Fields, Request, Service
from runtime.payments.model import (
    Debit,
    DialectName,
    Escrow,
    EscrowRequest,
    EscrowStatus,
    Operation,
    RecentLedger,
    checked_escrow_id,
)

_LEDGER_ENTRIES: Final = 50
"""The account's ledger shows the newest so many, and has no pages."""


class ServerDialect(Dialect):
    """`/escrow/...`; the token stands in brackets at the end of the description."""

    name = DialectName.SERVER
    endpoints: ClassVar = {
        Operation.CREATE: Endpoint("POST", "/escrow/create"),
        Operation.READ: Endpoint("GET", "/escrow/{id}"),
        Operation.LIST: Endpoint("GET", "/escrow/list"),
        Operation.LEDGER: Endpoint("GET", "/api/v1/auth/ledger", Service.CASINO),
        Operation.COMPLETE: Endpoint("POST", "/escrow/complete/{id}"),
        Operation.RELEASE: Endpoint("POST", "/escrow/release/{id}"),
        Operation.DISPUTE: Endpoint("POST", "/escrow/dispute/{id}"),
        Operation.STATS: Endpoint("GET", "/escrow/stats", authenticated=False),
        Operation.HEALTH: Endpoint("GET", "/health", authenticated=False),
        Operation.CLAIM: Endpoint("POST", "/faucet/claim", Service.FAUCET, authenticated=False),
    }
    fields = Fields(amount="amount_usd", payee="counterparty_id", payer="creator_id")
    list_words: ClassVar = {
        EscrowStatus.LOCKED: "locked",
        EscrowStatus.COMPLETED: "completed",
        EscrowStatus.RELEASED: "released",
        EscrowStatus.DISPUTED: "disputed",
        EscrowStatus.REFUNDED: "refunded",
        EscrowStatus.AUTO_RELEASED: "auto_released",
    }
    page_size = 100
    repeat_pays_once = True
    refuses = ("payer",)

    def create_body(self, order: EscrowRequest) -> Mapping[str, Any]:
        """Return `{amount_usd, description, counterparty_agent_id, timeout_hours?, referral_code?}`."""
        optional = {"timeout_hours": order.timeout_hours, "referral_code": order.referral_code}
        return {
            "amount_usd": order.amount.to_json_number(),
            "description": f"{order.description} [{order.token}]",
            "counterparty_agent_id": order.payee,
        } | {name: value for name, value in optional.items() if value is not None}

    def read_one(self, answer: Answer, escrow_id: str) -> Escrow:
        """Read the answer to a read. Anybody may read; only who takes part in it is shown what happened to it."""
        return structs.replace(super().read_one(answer, escrow_id), participant="events" in answer.body)

    def claim(self, agent_id: str, name: str | None = None, referral_code: str | None = None) -> Request:
        """Build the claim; the agent id is a casino's."""
        body = {"agent_casino_id": agent_id} | ({"referral_code": referral_code} if referral_code else {})
        return self.request(Operation.CLAIM, body=body)

    def read_ledger(self, answer: Answer) -> RecentLedger:
        """Read the account's newest entries; a debit for an escrow names it as its reference."""
        entries = list(answer.entries("entries"))
        times = [required(entry.instant("at"), "at") for entry in entries]
        debits = [
            Debit(escrow_id=checked_escrow_id(required(entry.text("reference"), "reference")), at=at)
            for entry, at in zip(entries, times, strict=True)
            if entry.text("type") == "debit" and entry.text("service") == "escrow"
        ]
        return RecentLedger(debits=tuple(debits), since=min(times) if len(entries) >= _LEDGER_ENTRIES else None)
