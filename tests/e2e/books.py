"""What a fault came to in money, by the payment service's own ledger."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.money import Usdc

RETURNED = {"cancelled", "refunded"}


@dataclass(frozen=True)
class Books:
    """Amounts in USDC. `lost`: owed and never paid, or locked beside a payment and not returned."""

    payments: int
    paid: Usdc
    lost: Usdc
    paid_twice: int

    @classmethod
    def of(cls, statement: Mapping[str, Any], owed: Mapping[str, str]) -> "Books":
        """`owed`: payee → what one piece of work earns it, fee included."""
        assert statement["balanced"], statement["findings"]
        entries = [one for one in statement["escrows"] if one["to"] in owed]
        released = [one for one in entries if one["status"] == "released"]
        times = Counter(one["to"] for one in released)
        stranded = [one for one in entries if one["status"] not in {"released", *RETURNED} and times[one["to"]]]
        unpaid = [Usdc.parse(amount) for payee, amount in owed.items() if not times[payee]]
        return cls(
            payments=len(released),
            paid=sum((Usdc.parse(one["paid_usdc"]) for one in released), Usdc(0)),
            lost=sum((*unpaid, *(Usdc.parse(one["locked_usdc"]) for one in stranded)), Usdc(0)),
            paid_twice=sum(1 for count in times.values() if count > 1),
        )
