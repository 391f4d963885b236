"""Whether the escrow that a Job brought may pay for it: open, the payer's own, meant for this work, and allowed."""

from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.limits import Limits, Refusal
from runtime.kubernetes.shape import Json, stamp
from runtime.operator.work_ids import by_hand_token, service_token
from runtime.payments import Escrow as FoundEscrow
from runtime.redaction import excerpt
from runtime.settlement.reading import Observation
from runtime.settlement.table import Seen


def is_ours(escrow: Escrow) -> bool:
    """Whether the operator created the escrow itself: the note of that create is on record."""
    return escrow.status.creation is not None


def names_of(escrow: Escrow) -> set[str]:
    """What the terms of an escrow call the work by, where a person wrote them."""
    return {f"{escrow.namespace}/{name}" for name in (escrow.work.name, escrow.work.id) if name}


def unnamed(escrow: Escrow, found: FoundEscrow | None) -> str:
    """Why nothing shows that the escrow was made for this work; empty where its terms name it.

    Only the payer writes the terms. Without this, whoever may create a Job could have somebody else's escrow paid for
    a Job that does nothing, or disputed by one that fails.
    """
    work, names = escrow.work, names_of(escrow)
    tokens = names | {service_token(escrow.namespace, work.key, work.id, work.run)}
    if found and found.payee is not None and found.amount is not None:
        tokens.add(by_hand_token(escrow.namespace, work.name, found.payee, found.amount))
    if found and found.token in tokens:
        return ""
    if found is None or found.token is None:
        said = "its terms cannot be read here"
    else:
        said = f"its terms say {excerpt(found.token, 80)!r}"
    wanted = " or ".join(sorted(names))
    return f"{said}, and do not name this work ({wanted}), so that it may be meant for another one"


def forbidden(limits: Limits, escrow: Escrow, found: FoundEscrow | None) -> Refusal | None:
    """The rule by which this payee may not be paid, or not so much."""
    amount = found.amount if found else None
    return limits.refusal((found.payee if found else None) or escrow.payee, amount)


def remedy(escrow: Escrow) -> str:
    """What a person should do."""
    return (
        "Have `escrowctl fund` make an escrow for the Job, or name it in the terms; or let the platform allow this one"
        f" (budget.allowedEscrows). Create the Job anew, then close this with escrowctl resolve:"
        f" {escrow.what_was_sent}."
    )


def unusable(observed: Observation, payer: str | None) -> str:
    """Why an escrow cannot pay for work that is about to begin; empty where it can, and where nobody can tell."""
    match observed.seen:
        case Seen.UNREADABLE:
            return ""
        case Seen.LOCKED | Seen.COMPLETED:
            if payer and observed.escrow and observed.escrow.payee == payer:
                return f"it pays {payer}, who is to pay this work"
            stranger = observed.escrow is not None and observed.escrow.participant is False
            return "it is between other agents, so this payer's key cannot release it" if stranger else ""
        case Seen.NOT_FOUND | Seen.UNLISTED:
            return f"the payment service does not have it: {observed.note}"
        case Seen.DISAGREES:
            return observed.note
    return f"it was {observed.seen} before this work was bound to it, so it pays for nothing any more"


def told(found: FoundEscrow | None) -> Json:
    """What the service says of an open escrow, as fields of `status`."""
    status: Json = {}
    if found and found.amount is not None:
        status["lockedUsdc"] = str(found.amount)
    if found and found.auto_release_at is not None:
        status["autoReleaseAt"] = stamp(found.auto_release_at)
    return status
