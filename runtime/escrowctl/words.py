"""Escrows in words and columns."""

from collections.abc import Iterable

from runtime.contract import Phase
from runtime.kubernetes.escrow import Json, phase_of


def explain(escrow: Json) -> str:
    """One Escrow in words, for a person who has to decide."""
    spec, status = escrow["spec"], escrow.get("status") or {}
    metadata = escrow["metadata"]
    lines = [
        f"Job {spec['job']['name']} (UID {spec['job']['uid']}) in namespace {metadata['namespace']}",
        f"Phase: {phase_of(escrow)}" + (f", outcome: {status['outcome']}" if "outcome" in status else ""),
        f"Escrow {spec.get('escrowId', '(none yet)')}, dialect {spec['dialect']}, token {spec['token']}",
        f"Locked: {status.get('lockedUsdc', 'unknown')} USDC for {status.get('payee') or spec.get('payee', 'unknown')}",
        f"Paid: {status.get('paidUsdc', 'unknown')}, fee: {status.get('feeUsdc', 'unknown')} USDC",
    ]
    if ending := status.get("jobEnding"):
        lines.append(f"The Job ended: {ending['type']} at {ending['time']} {ending.get('message', '')}".rstrip())
    if reason := status.get("reason"):
        lines.append(f"Intent: {status.get('intent')} because: {reason}")
    if answer := status.get("lastAnswer"):
        words = " ".join(str(answer[key]) for key in ("kind", "status", "code") if key in answer)
        lines.append(f"Last answer: {words} at {answer['time']}, digest {answer.get('digest', '-')}")
    lines += [f"{c['type']}: {c['status']} {c['reason']}: {c.get('message', '')}" for c in status.get("conditions", [])]
    lines += [f"{act['when']} {act['who']}: {act['what']}: {act['reason']}" for act in status.get("acts", [])]
    if evidence := status.get("evidence"):
        lines += ["Evidence:", *(f"  {line}" for line in evidence.splitlines())]
    if phase_of(escrow) is Phase.NEEDS_REVIEW:
        command = f"kubectl purpleflea resolve {metadata['name']} -n {metadata['namespace']}"
        lines += [
            f"What to do: {status.get('remedy', '')}",
            f"  try again:  {command} --retry --reason '...'   (or --release, --dispute, --cancel)",
            f"  close it:   {command} --as Paid|Disputed|Refunded|Cancelled --reason '...'",
        ]
    return "\n".join(lines)


def table(escrows: Iterable[Json]) -> str:
    """The Escrows as columns, oldest first."""
    rows = [("NAMESPACE", "JOB", "PHASE", "LOCKED", "PAYEE", "PAID", "FEE", "OUTCOME", "ESCROW")]
    for escrow in sorted(escrows, key=lambda e: e["metadata"]["creationTimestamp"]):
        spec, status = escrow["spec"], escrow.get("status") or {}
        facts = [status.get(key, "-") for key in ("lockedUsdc", "payee", "paidUsdc", "feeUsdc", "outcome")]
        job = (escrow["metadata"]["namespace"], spec["job"]["name"], phase_of(escrow).value)
        rows.append((*job, *facts, spec.get("escrowId", "-")))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
