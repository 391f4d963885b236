"""Escrows in words and columns."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from runtime.contract import Phase
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.shape import stamp
from runtime.money import Usdc
from runtime.payments import Escrow as FoundEscrow
from runtime.redaction import excerpt


def explain(escrow: Escrow) -> str:
    """One Escrow in words, for a person who has to decide."""
    spec, status, work = escrow.spec, escrow.status, escrow.work
    lines = [
        f"{work.kind} {work.name} ({'UID' if work.uid else 'id'} {work.key}) in namespace {escrow.namespace}",
        *([f"Work {work.id}, run {work.run or 1}"] if work.id else []),
        f"Phase: {escrow.phase}" + (f", outcome: {status.outcome}" if status.outcome else ""),
        f"Escrow {escrow.escrow_id or '(none yet)'}, dialect {spec.dialect}, token {spec.token}",
        f"Locked: {_known(escrow.locked)} USDC for {status.payee or spec.payee or 'unknown'}",
        f"Paid: {_known(escrow.paid)}, fee: {_known(status.fee_usdc)} USDC",
    ]
    if ending := escrow.ending:
        lines.append(f"The Job ended: {ending.type} at {stamp(ending.time)} {ending.message}".rstrip())
    if status.reason:
        lines.append(f"Intent: {status.intent} because: {status.reason}")
    if answer := status.last_answer:
        words = " ".join(str(part) for part in (answer.kind, answer.status, answer.code) if part)
        lines.append(f"Last answer: {words} at {stamp(answer.time)}, digest {answer.digest or '-'}")
    lines += [f"{c.type}: {c.status} {c.reason}: {c.message}" for c in status.conditions]
    if earlier := status.earlier_acts:
        lines.append(f"{earlier.count} earlier acts: {earlier.text}")
    lines += [f"{act.when} {act.who}: {act.what}: {act.reason}" for act in escrow.acts]
    if status.evidence:
        lines += ["Evidence:", *(f"  {line}" for line in status.evidence.splitlines())]
    if escrow.phase is Phase.NEEDS_REVIEW:
        command = f"kubectl purpleflea resolve {escrow.name} -n {escrow.namespace}"
        lines += [
            f"What to do: {status.remedy}",
            f"  try again:  {command} --retry --reason '...'   (or --release, --dispute, --cancel)",
            f"  close it:   {command} --as Paid|Disputed|Refunded|Cancelled --reason '...'",
        ]
    return "\n".join(lines)


def table(escrows: Iterable[Escrow]) -> str:
    """The Escrows as columns, oldest first."""
    rows: list[tuple[str, ...]] = [("NAMESPACE", "JOB", "PHASE", "LOCKED", "PAYEE", "PAID", "FEE", "OUTCOME", "ESCROW")]
    for escrow in sorted(escrows, key=created_at):
        status = escrow.status
        facts = (status.locked_usdc, status.payee, status.paid_usdc, status.fee_usdc, status.outcome)
        cells = ["-" if fact is None else str(fact) for fact in facts]
        rows.append((escrow.namespace, escrow.work.name, str(escrow.phase), *cells, escrow.escrow_id or "-"))
    return _columns(rows)


def _columns(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def unaccounted_table(escrows: Iterable[FoundEscrow]) -> str:
    """Escrows of the service as columns."""
    rows: list[tuple[str, ...]] = [("ESCROW", "STATUS", "AMOUNT", "PAYEE", "TERMS", "CREATED")]
    for escrow in escrows:
        created = stamp(escrow.created_at) if escrow.created_at else None
        facts = (
            escrow.id,
            escrow.status,
            escrow.amount,
            escrow.payee,
            escrow.token and excerpt(escrow.token, 60),
            created,
        )
        rows.append(tuple("-" if fact is None else str(fact) for fact in facts))
    return _columns(rows) if len(rows) > 1 else "every open escrow of this key has an account"


def as_json(escrows: Iterable[Escrow]) -> str:
    """The Escrows as a JSON list, oldest first: what the columns say, for programs. What is not known is null."""
    return json.dumps([_facts(escrow) for escrow in sorted(escrows, key=created_at)], indent=2)


def _facts(escrow: Escrow) -> dict[str, str | int | bool | None]:
    status, work = escrow.status, escrow.work
    amounts = {"lockedUsdc": escrow.locked, "paidUsdc": escrow.paid, "feeUsdc": status.fee_usdc}
    return {
        "namespace": escrow.namespace,
        "name": escrow.name,
        "workKind": work.kind,
        "workName": work.name,
        "workId": work.id,
        "phase": escrow.phase,
        "outcome": status.outcome,
        "escrowId": escrow.escrow_id,
        "payee": status.payee or escrow.spec.payee,
        "remedy": status.remedy or None,
    } | {name: None if amount is None else str(amount) for name, amount in amounts.items()}


def created_at(escrow: Escrow) -> datetime:
    """When the object was created."""
    return escrow.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)


def _known(amount: Usdc | None) -> str:
    return "unknown" if amount is None else str(amount)
