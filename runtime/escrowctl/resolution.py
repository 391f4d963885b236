"""A person's decision about an Escrow in review, as the status it makes of it."""

from dataclasses import replace
from datetime import datetime

import msgspec

from runtime.contract import MOST_ACTS, Phase
from runtime.errors import BadInput
from runtime.kubernetes.escrow import EarlierActs, Escrow
from runtime.kubernetes.escrow_journals import read_record, status_of
from runtime.kubernetes.shape import Json, stamp
from runtime.redaction import excerpt
from runtime.settlement.record import Case, Settlement, resolve
from runtime.settlement.table import Intent, Outcome


def resolution(
    escrow: Escrow, *, by: str, why: str, now: datetime, intent: Intent | None = None, outcome: Outcome | None = None
) -> Json:
    """The status that a person's decision makes of an Escrow in review: tried again, or closed with an outcome.

    Raises:
        BadInput: It is not in review, nothing could be sent for it, or no reason is given.
    """
    work, phase = escrow.work, escrow.phase
    if phase is not Phase.NEEDS_REVIEW:
        raise BadInput(f"the Escrow of {work.kind} {work.name} is {phase}; only a NeedsReview can be resolved")
    if not why.strip():
        raise BadInput("say why: --reason 'what you found out'")
    record = read_record(escrow)
    if record is None:
        if not (intent or outcome):
            raise BadInput("nothing was decided yet: say --release, --dispute or --cancel, or close it with --as")
        if not (outcome or escrow.escrow_id):
            raise BadInput("no escrow is bound to it, so nothing can be sent: close it with --as")
        bound = (escrow.locked, escrow.payee)
        case = Case(work.key, escrow.escrow_id or "", intent or Intent.CANCEL, why.strip(), *bound)
        record = replace(Settlement.decided(case, now), phase=phase, evidence=escrow.status.evidence)
    resolved = resolve(record, by=by, why=why, now=now, intent=intent, outcome=outcome)
    what = f"closed as {outcome}" if outcome else f"to be tried again: {resolved.intent}"
    return {**status_of(resolved, phase), **acts_with(escrow, by=by, what=what, why=why.strip(), now=now)}


def acts_with(escrow: Escrow, *, by: str, what: str, why: str, now: datetime) -> Json:
    """`status.acts` with one more; of more than the list takes, the oldest are summed up in `status.earlierActs`."""
    act = {"who": by[:256], "when": stamp(now), "what": what, "reason": excerpt(why, 512)}
    before = escrow.acts[: max(0, len(escrow.acts) + 1 - MOST_ACTS)]
    status: Json = {"acts": [*map(msgspec.to_builtins, escrow.acts[len(before) :]), act]}
    if before:
        earlier = escrow.status.earlier_acts or EarlierActs(count=0, text="")
        said = "; ".join(filter(None, (earlier.text, *(f"{one.when} {one.who}: {one.what}" for one in before))))
        status["earlierActs"] = {"count": earlier.count + len(before), "text": said[-2048:]}
    return status
