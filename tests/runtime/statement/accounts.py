"""Accounts as an API server gives them, for what needs no server."""

import io
import itertools
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from runtime.contract import AGENT_LABEL, REGION_LABEL
from runtime.kubernetes.escrow import ESCROW, Escrow
from runtime.kubernetes.shape import stamp
from runtime.statement.lines import line_of
from runtime.statement.period import Period, read_period
from runtime.statement.sums import Statement, grouping
from runtime.statement.writing import Result

_numbers = itertools.count(1)
NOVEMBER = read_period(None, None, "2026-11", "UTC")


def day(number: int, hour: int = 12) -> datetime:
    """That day of November."""
    return datetime(2026, 11, number, hour, tzinfo=UTC)


def document(phase: str, *, kind: str = "Job", labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    """An Escrow object; `locked`, `paid`, `fee`, `referral` are USDC, `locked_at` and `closed_at` times."""
    number = next(_numbers)
    spec: dict[str, Any] = {"dialect": "server", "token": f"pf-token-{number}", "escrowId": f"esc_{number}"}
    spec["work"] = {"kind": kind, "name": f"work-{number}", "uid" if kind == "Job" else "taskId": f"u-{number}"}
    spec["payee"] = status.pop("payee", "payee-1")
    spec |= status.pop("spec", {})
    found: dict[str, Any] = {"phase": phase}
    for name, key in (("locked", "lockedUsdc"), ("paid", "paidUsdc"), ("fee", "feeUsdc"), ("referral", "referralUsdc")):
        if name in status:
            found[key] = status.pop(name)
    for name, key in (("locked_at", "lockedAt"), ("closed_at", "closedAt")):
        if name in status:
            found[key] = stamp(status.pop(name))
    metadata = {
        "name": f"account-{number}",
        "namespace": status.pop("namespace", "agents"),
        "uid": f"{uuid.UUID(int=number)}",
    }
    metadata |= {"creationTimestamp": "2026-11-01T00:00:00Z", "resourceVersion": "1", "labels": labels or {}}
    return {"metadata": metadata, "spec": {k: v for k, v in spec.items() if v is not None}, "status": found | status}


def account(phase: str, **facts: Any) -> Escrow:
    """The same, read."""
    return ESCROW.read(json.dumps(document(phase, **facts)).encode())


def paid(locked: str = "0.10", net: str = "0.099", fee: str = "0.001", **facts: Any) -> Escrow:
    """One that was locked on the 3rd and paid on the 4th."""
    facts = {"locked_at": day(3), "closed_at": day(4), "referral": "0.00015"} | facts
    return account("Settled", outcome="Paid", locked=locked, paid=net, fee=fee, **facts)


def until(moment: datetime, since: datetime | None = None) -> Period:
    """A period in UTC."""
    return Period(since, moment)


def statement_of(
    escrows: Iterable[Escrow], period: Period = NOVEMBER, by: str = "namespace", make: Any = None
) -> tuple[Statement, str]:
    """The statement of these accounts, and what `make(out, period)` writes of it."""
    statement, out = Statement(period, grouping(by), by), io.StringIO()
    writer = make(out, period) if make else None
    for escrow in escrows:
        if line := line_of(escrow, period):
            statement.add(line)
            if writer:
                writer.line(line)
    if writer:
        writer.end(Result(statement, day(20)))
    return statement, out.getvalue()


def of_every_kind() -> list[Escrow]:
    """One of each ending, with the awkward amounts and names."""
    times = {"locked_at": day(3), "closed_at": day(4)}
    labels = {AGENT_LABEL: "summariser", REGION_LABEL: "lhr", "team": "=cmd"}
    return [
        paid(labels=labels),
        paid("0.0015", "0.001485", "0.000015", referral="0.000002", payee='Zoë; "quoted" | \\ \n, and <b>more</b>'),
        paid("0.10045", "0.099446", "0.001004", kind="Task", spec={"escrowId": "esc:odd~id@x"}),
        paid(locked_at=datetime(2026, 10, 30, tzinfo=UTC), closed_at=datetime(2026, 11, 1, tzinfo=UTC)),
        account("Funded", locked="7", locked_at=day(3)),
        account("Funded", locked_at=day(3)),
        account("Settled", outcome="Disputed", locked="1.000001", **times),
        account("Settled", outcome="Cancelled", locked="2", **times),
        account("Settled", outcome="Refunded", locked="2", fee="0.02", **times),
        account("Settled", outcome="Refunded", locked="3", **times),
        account("NeedsReview", locked="4", **times),
    ]
