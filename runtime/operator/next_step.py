"""What to do next about one Job: a pure function of the Job and its Escrow, as last seen.

The reconciler does the step, and asks again with what it then knows, until a step says that there is nothing to do.
"""

from enum import StrEnum

from runtime.contract import Phase
from runtime.kubernetes.escrow import Ending, Escrow
from runtime.operator.jobs import JobFacts


class Step(StrEnum):
    """One thing to do about a Job."""

    NOTHING = "nothing"
    """It asks for no money, its work goes on, or a person decides."""
    FORGET = "forget"
    """It ended and never had an account: remove the finalizer."""
    OPEN_ACCOUNT = "open account"
    """Create the Escrow object."""
    HOLD = "hold"
    """Add the finalizer, before anything is sent for it."""
    FUND = "fund"
    """Have the escrow created at the service, or record that the Job ended before."""
    BIND = "bind"
    """Take the escrow that the Job brought."""
    RESUME = "resume"
    """Write the escrow's id on the Job and let it run."""
    RECORD_ENDING = "record ending"
    """Write down how it ended; nothing is sent."""
    REVIEW = "review"
    """It vanished and nobody saw how it ended."""
    SETTLE = "settle"
    """Release or dispute, or go on with what was decided before."""
    CLOSE = "close"
    """The account is closed: remove the finalizers."""


def next_step(job: JobFacts, escrow: Escrow | None, *, auto_release: bool) -> Step:
    """The next thing to do.

    Args:
        job: With the ending that its Escrow has on record, where there is one.
        escrow: None where it has none yet.
        auto_release: Whether a Job's completion pays.
    """
    if escrow is None:
        if job.asks:
            return Step.OPEN_ACCOUNT
        return Step.FORGET if job.ending else Step.NOTHING
    match escrow.phase:
        case Phase.PENDING:
            return _while_pending(job, escrow)
        case Phase.FUNDED:
            return _while_funded(job, escrow, auto_release)
        case Phase.DECIDED | Phase.VERIFYING:
            return Step.SETTLE
    return Step.CLOSE


def _while_pending(job: JobFacts, escrow: Escrow) -> Step:
    if not (job.ending or job.finalizer or job.gone):
        return Step.HOLD
    return Step.FUND if escrow.escrow_id is None else Step.BIND


def _while_funded(job: JobFacts, escrow: Escrow, auto_release: bool) -> Step:
    recorded = escrow.ending is not None
    if escrow.status.intent is not None:  # a person had it tried again
        return Step.SETTLE
    if job.ending is None and not job.gone:
        if job.waits_for_us:
            return Step.RESUME
        return Step.NOTHING if job.finalizer else Step.HOLD
    if job.gone and job.ending in (None, Ending.DELETED) and not recorded:
        return Step.REVIEW
    if job.ending is Ending.COMPLETE and not auto_release:
        return Step.NOTHING if recorded else Step.RECORD_ENDING
    return Step.SETTLE
