"""The Kubernetes guide's surface.

Assumed, because the guide shows only `?status=pending`: the list takes the other status words too.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from runtime.payments.dialect import Dialect, Endpoint, Fields, Service
from runtime.payments.model import DialectName, EscrowRequest, EscrowStatus, Operation


class KubernetesDialect(Dialect):
    """`/api/escrow...`; the token is the `terms_hash`. No single escrow can be read, only lists."""

    name = DialectName.KUBERNETES
    endpoints: ClassVar = {
        Operation.CREATE: Endpoint("POST", "/api/escrow"),
        Operation.RELEASE: Endpoint("POST", "/api/escrow/{id}/release"),
        Operation.DISPUTE: Endpoint("POST", "/api/escrow/{id}/dispute"),
        Operation.LIST: Endpoint("GET", "/api/escrows"),
        Operation.REGISTER: Endpoint("POST", "/api/register", Service.FAUCET),
        Operation.CLAIM: Endpoint("POST", "/api/claim", Service.FAUCET),
    }
    fields = Fields(amount="amount", payee="payee_id", payer="payer_id", mark="terms_hash")
    list_words: ClassVar = {
        EscrowStatus.LOCKED: "pending",
        EscrowStatus.RELEASED: "released",
        EscrowStatus.DISPUTED: "disputed",
    }
    refuses = ("payer", "timeout_hours")

    def create_body(self, order: EscrowRequest) -> Mapping[str, Any]:
        """Return `{payee_id, amount, terms_hash}`."""
        return {"payee_id": order.payee, "amount": order.amount.to_json_number(), "terms_hash": order.token}
