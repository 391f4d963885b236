"""Whether an account is this operator's to act on: same payer, same payment service, same dialect as it was opened for.

After a changed setting, or beside an operator with another key, the service of one knows nothing of the escrows of the
other: what is looked for there is not found, and would be created, or given up, a second time.
"""

from dataclasses import dataclass
from typing import Final

from runtime.kubernetes.escrow import Condition, Escrow
from runtime.kubernetes.limits import Refusal, matches
from runtime.operator.config import OperatorConfig
from runtime.redaction import excerpt

SERVED: Final = "Served"
"""Condition of an account that the operator leaves alone."""


@dataclass(frozen=True, slots=True)
class Serving:
    """For whom an operator acts, and where.

    Args:
        dialect: The HTTP surface.
        service: URL of the escrow service.
        former: Patterns of other URLs of the same service.
        payer: Who pays; None where that is not known, and then nothing is held against it.
    """

    dialect: str
    service: str
    former: tuple[str, ...]
    payer: str | None

    @classmethod
    def of(cls, config: OperatorConfig) -> "Serving":
        """As the settings say."""
        payments = config.payments
        return cls(payments.dialect, payments.escrow_url, config.former_urls, config.payer)

    def foreign(self, escrow: Escrow) -> Refusal | None:
        """In what an account is another operator's; None where it is this one's."""
        spec = escrow.spec
        goes_on = "it is left alone; an operator with that setting goes on with it"
        if spec.dialect != self.dialect:
            words = f"it was opened in the dialect {spec.dialect}, and this operator speaks {self.dialect}"
            return Refusal("OtherDialect", f"{words}: {goes_on}")
        if spec.service not in (None, self.service) and not any(matches(p, spec.service or "") for p in self.former):
            words = f"it was opened at {excerpt(spec.service, 200)}, and this operator asks {self.service}"
            same = "if that is the same service, name the other URL in operator.formerEscrowUrls"
            return Refusal("OtherService", f"{words}: {goes_on}; {same}")
        if spec.payer is not None and self.payer is not None and spec.payer != self.payer:
            words = f"{excerpt(spec.payer, 200)} pays for it, and this operator acts for {self.payer}"
            return Refusal("OtherPayer", f"{words}: {goes_on}")
        return None


def is_marked(escrow: Escrow, why: Refusal | None = None) -> bool:
    """Whether the account says that it is left alone, for that reason or for any."""
    told = escrow.condition(SERVED)
    return told is not None and (why is None or told.reason == why.reason)


def with_mark(escrow: Escrow, why: Refusal | None) -> list[dict]:
    """The account's conditions with this one, or without it."""
    if why is not None:
        return escrow.with_condition(Condition(SERVED, "False", why.reason, None, why.message))
    return [condition.as_written() for condition in escrow.status.conditions if condition.type != SERVED]
