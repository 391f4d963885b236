"""A person's decision about an Escrow in review, as the status it makes of it."""

from dataclasses import replace
from datetime import datetime

from runtime.contract import Phase
from runtime.escrowctl.accounts import Mistake
from runtime.kubernetes.escrow import Json, phase_of, read_record, stamp, status_of
from runtime.settlement.record import Case, Settlement, resolve
from runtime.settlement.table import Intent, Outcome


def resolution(
    escrow: Json, *, by: str, why: str, now: datetime, intent: Intent | None = None, outcome: Outcome | None = None
) -> Json:
    """The status that a person's decision makes of an Escrow in review: tried again, or closed with an outcome.

    Raises:
        Mistake: It is not in review, nothing could be sent for it, or no reason is given.
    """
    spec, status = escrow["spec"], escrow.get("status") or {}
    job = spec["job"]
    if (phase := phase_of(escrow)) is not Phase.NEEDS_REVIEW:
        raise Mistake(f"the Escrow of Job {job['name']} is {phase}; only a NeedsReview can be resolved")
    if not why.strip():
        raise Mistake("say why: --reason 'what you found out'")
    record = read_record(escrow, job["uid"])
    if record is None:
        if not (intent or outcome):
            raise Mistake("nothing was decided for it yet: say --release, --dispute or --cancel, or close it with --as")
        if not (outcome or "escrowId" in spec):
            raise Mistake("no escrow is bound to it, so nothing can be sent: close it with --as")
        case = Case(job["uid"], spec.get("escrowId", ""), intent or Intent.CANCEL, why.strip())
        record = replace(Settlement.decided(case, now), phase=phase, evidence=status.get("evidence", ""))
    resolved = resolve(record, by=by, why=why, now=now, intent=intent, outcome=outcome)
    what = f"closed as {outcome}" if outcome else f"to be tried again: {resolved.intent}"
    act = {"who": by[:256], "when": stamp(now), "what": what, "reason": why.strip()[:512]}
    return {**status_of(resolved, phase), "acts": [*status.get("acts", [])[-15:], act]}
