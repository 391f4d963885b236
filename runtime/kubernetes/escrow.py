"""The Escrow custom resource as data: building one, and a settlement's record as its status. No I/O."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from runtime.contract import ESCROW_GROUP, ESCROW_KIND, ESCROW_VERSION, SETTLEMENT_FINALIZER, Phase
from runtime.money import Usdc
from runtime.settlement.record import LastAnswer, Settlement
from runtime.settlement.table import Answer, Intent, Outcome

Json = dict[str, Any]

OPEN: Final = (Phase.PENDING, Phase.FUNDED, Phase.DECIDED, Phase.VERIFYING)
"""Phases in which the operator still has something to do."""

NOT_SETTLED: Final = f"status.phase!={Phase.SETTLED}"
"""Field selector of the Escrows that somebody still has to do with: the settled ones only ever become more."""

_AMOUNTS: Final = {"locked": "lockedUsdc", "paid": "paidUsdc", "fee": "feeUsdc", "referral": "referralUsdc"}
_TIMES: Final = {"decided_at": "decidedAt", "refund_at": "autoReleaseAt", "closed_at": "closedAt"}
_TEXTS: Final = {"reason": 1024, "evidence": 4096, "remedy": 1024}


def escrow_name(job_uid: str) -> str:
    """Name of the Escrow object of a Job."""
    return f"job-{job_uid}"


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as a `date-time` of the Escrow's schema."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def new_escrow(
    namespace: str,
    job_name: str,
    job_uid: str,
    *,
    dialect: str,
    token: str,
    escrow_id: str | None,
    payee: str | None,
    amount: Usdc | None,
) -> Json:
    """The Escrow object of a Job; what is not known yet is left out and set once later."""
    known = {"escrowId": escrow_id, "payee": payee, "amountUsdc": None if amount is None else str(amount)}
    return {
        "apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}",
        "kind": ESCROW_KIND,
        "metadata": {
            "name": escrow_name(job_uid),
            "namespace": namespace,
            "finalizers": [SETTLEMENT_FINALIZER],
        },
        "spec": {
            "job": {"name": job_name, "uid": job_uid},
            "dialect": dialect,
            "token": token,
            **{key: value for key, value in known.items() if value is not None},
        },
    }


def phase_of(escrow: Mapping[str, Any]) -> Phase:
    """`status.phase`; an Escrow without a status is Pending."""
    return Phase((escrow.get("status") or {}).get("phase", Phase.PENDING))


def status_of(record: Settlement, phase: Phase) -> Json:
    """The part of `status` that holds a settlement. Unknown amounts are absent, never zero.

    `phase` is the object's so far: it never goes back from Verifying, even when an act turns out not to have left.
    """
    answer = record.answer
    status: Json = {
        "phase": (phase if phase is Phase.VERIFYING and record.phase is Phase.DECIDED else record.phase).value,
        "intent": record.intent.value,
        "attempts": record.attempts,
        "drift": record.drift,
        "payee": record.payee,
        "outcome": record.outcome.value if record.outcome else None,
        "lastAnswer": answer
        and {
            "kind": answer.kind.value,
            "time": stamp(answer.at),
            "status": answer.status,
            "code": answer.code[:128] or None,
            "digest": answer.digest or None,
        },
    }
    for field, key in _AMOUNTS.items():
        amount = getattr(record, field)
        status[key] = None if amount is None else str(amount)
    for field, key in _TIMES.items():
        moment = getattr(record, field)
        status[key] = moment and stamp(moment)
    for field, limit in _TEXTS.items():
        text = getattr(record, field)
        status[field] = (text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}") or None
    return status


def read_record(escrow: Mapping[str, Any], key: str) -> Settlement | None:
    """The settlement in an Escrow's status, or None before anything was decided."""
    spec, status = escrow["spec"], escrow.get("status") or {}
    if "intent" not in status:
        return None
    answer, outcome = status.get("lastAnswer"), status.get("outcome")
    return Settlement(
        key=key,
        escrow_id=spec["escrowId"],
        intent=Intent(status["intent"]),
        phase=Phase(status["phase"]),
        reason=status.get("reason", ""),
        decided_at=datetime.fromisoformat(status["decidedAt"]),
        payee=spec.get("payee") or status.get("payee"),
        attempts=status.get("attempts", 0),
        answer=answer and _read_answer(answer),
        outcome=outcome and Outcome(outcome),
        drift=status.get("drift", False),
        refund_at=_read_time(status.get("autoReleaseAt")),
        evidence=status.get("evidence", ""),
        remedy=status.get("remedy", ""),
        closed_at=_read_time(status.get("closedAt")),
        version=escrow["metadata"]["resourceVersion"],
        **{field: Usdc.parse(status[name]) if name in status else None for field, name in _AMOUNTS.items()},
    )


def _read_answer(answer: Mapping[str, Any]) -> LastAnswer:
    return LastAnswer(
        kind=Answer(answer["kind"]),
        at=datetime.fromisoformat(answer["time"]),
        status=answer.get("status"),
        code=answer.get("code", ""),
        digest=answer.get("digest", ""),
    )


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
