"""Marks an Escrow as `NeedsReview` before anything was decided about it."""

from typing import TYPE_CHECKING

from runtime.contract import Phase
from runtime.kubernetes.claims import ReviewRequired
from runtime.kubernetes.escrow import Escrow
from runtime.kubernetes.shape import Json, stamp_now
from runtime.operator.jobs import JobFacts
from runtime.redaction import excerpt

if TYPE_CHECKING:
    from runtime.operator.cluster_objects import ClusterObjects  # it holds the claims, which raise `ReviewRequired`


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


def command(escrow: Escrow) -> str:
    """The command that shows the evidence."""
    return f"See: kubectl purpleflea explain {escrow.name} -n {escrow.namespace}"
