"""Accounts as an API server gives them, for what needs no server."""

import itertools
import json
import uuid
from datetime import UTC, datetime
from typing import Any

from runtime.kubernetes.escrow import ESCROW, Escrow
from runtime.kubernetes.shape import stamp
from runtime.statement.period import Period, read_period

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
