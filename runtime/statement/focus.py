"""The statement as a FOCUS file (FinOps Open Cost and Usage Specification 1.2): what was paid and kept, as charges.

Cost is what left for good: the work, and the service's fee. What is locked, disputed or came back is no cost. The
billing currency has to be an ISO code, so it is `USD`, a dollar for a USDC. The id of a row is a column of our own,
because FOCUS has none.
"""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, TextIO

from runtime.statement.lines import Line
from runtime.statement.sums import shown
from runtime.statement.writing import Result

_MANDATORY: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
)  # fmt: skip
COLUMNS: Final = (
    *_MANDATORY, "ChargeFrequency", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceSubcategory", "SubAccountId", "SubAccountName", "Tags", "x_RowId",
)  # fmt: skip

_CHARGES: Final = {"paid": "Agent work", "fee": "Escrow fee"}


def charges(line: Line) -> Iterator[dict[str, str]]:
    """The rows of a line: none before anything was paid or kept."""
    for name, service in _CHARGES.items():
        if line.amount_known and line.closed_at is not None and (micro := getattr(line, name)):
            yield _charge(line, line.closed_at, service, shown(micro))


def _charge(line: Line, closed_at: datetime, service: str, cost: str) -> dict[str, str]:
    at = closed_at.astimezone(UTC).replace(microsecond=0)
    month = at.replace(day=1, hour=0, minute=0, second=0)
    described = f"{service}: {line.kind} {line.work}, for {line.payee or 'an unknown payee'}, escrow {line.escrow_id}"
    tags = {"agent": line.agent, "work-id": line.work_id, "escrow": line.escrow_id, "payee": line.payee} | line.labels
    return {
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost),
        "BillingAccountId": "purpleflea-payer",
        "BillingAccountName": "Purple Flea payer",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time((month + timedelta(days=32)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": described.encode("ascii", "backslashreplace").decode(),  # it has to be ASCII
        "ChargePeriodStart": _time(at),
        "ChargePeriodEnd": _time(at + timedelta(seconds=1)),
        "ChargeFrequency": "One-Time",
        "InvoiceIssuerName": "Purple Flea",
        "ProviderName": "Purple Flea",
        "PublisherName": "Purple Flea",
        "PricingQuantity": "1.0",  # a column of whole numbers is no decimal one
        "PricingUnit": "Escrows",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Other (AI and Machine Learning)",
        "ServiceName": service,
        "RegionId": line.region,
        "RegionName": line.region,
        "ResourceId": line.account,
        "ResourceName": line.work,
        "ResourceType": line.kind,
        "SubAccountId": f"namespace-{line.namespace}",
        "SubAccountName": line.namespace,
        "Tags": json.dumps({name: text for name, text in tags.items() if text}, sort_keys=True),
        "x_RowId": f"{line.account}#{service.lower().replace(' ', '-')}",
    }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Focus:
    """CSV; empty is FOCUS's null."""

    def __init__(self, out: TextIO) -> None:
        self._rows = csv.DictWriter(out, COLUMNS)
        self._rows.writeheader()

    def line(self, line: Line) -> None:
        """Its charges."""
        self._rows.writerows(charges(line))

    def end(self, result: Result) -> None:
        """Nothing more: a FOCUS file is rows."""
