"""Marks an Escrow as `NeedsReview` before anything was decided about it."""

from typing import TYPE_CHECKING

from runtime.contract import Phase
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.shape import Json, stamp, stamp_now
from runtime.operator.jobs import JobFacts
from runtime.redaction import excerpt

if TYPE_CHECKING:
    from runtime.operator.cluster_objects import ClusterObjects  # it holds the claims, which raise `ReviewRequired`


class ReviewRequired(Exception):
    """The Escrow needs a manual decision; reconciliation stops.

    Args:
        escrow: The object as last read or written.
        problem: What is known.
        remedy: What a person should do.
    """

    def __init__(self, escrow: Escrow, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.escrow = escrow
        self.problem = problem
        self.remedy = remedy


async def require_review(objects: "ClusterObjects", job: JobFacts, case: ReviewRequired) -> Escrow:
    """Record it in the Escrow and post an event on the Job; the Escrow as written."""
    status: Json = {
        "evidence": excerpt(case.problem, 4096),
        "remedy": case.remedy,
        "closedAt": stamp_now(),
    }
    if job.ending:
        status["jobEnding"] = job.ending_status()
    escrow = await objects.escrows.set_status(case.escrow, phase=Phase.NEEDS_REVIEW.value, **status)
    words = f"{case.problem}. {case.remedy} {command(escrow)}"
    await objects.events.post(job, "EscrowNeedsReview", words, warning=True)
    return escrow


def sent_for(escrow: Escrow) -> str:
    """What was sent for it, as far as that is on record: `nothing was sent`, or when."""
    creation, answer, attempts = escrow.status.creation, escrow.status.last_answer, escrow.status.attempts
    sent = [f"a create was sent at {stamp(creation.sent_at)}"] if creation else []
    if attempts or answer:
        sent.append(f"{attempts} acts were sent" + (f", the last at {stamp(answer.time)}" if answer else ""))
    elif sent:
        sent.append("no act since")
    return ", ".join(sent) or "nothing was sent"


def command(escrow: Escrow) -> str:
    """The command that shows the evidence."""
    return f"See: kubectl purpleflea explain {escrow.name} -n {escrow.namespace}"
