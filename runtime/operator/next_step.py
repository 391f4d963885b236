"""What to do next about one Job: a pure function of the Job and its Escrow, as last seen.

The reconciler executes the step and calls `next_step` again with the new state, until there is nothing left to do.
docs/operator.md shows the table.
"""

from enum import StrEnum

from runtime.contract import Phase
from runtime.kubernetes.escrow import Ending, Escrow
from runtime.operator.jobs import JobFacts


class Step(StrEnum):
    """One thing to do about a Job."""

    NOTHING = "nothing"
    """It asks for no money, it runs, or its completion waits for a manual release."""
    FORGET = "forget"
    """It ended and never had an account: remove the finalizer."""
    OPEN_ACCOUNT = "open account"
    """Create the Escrow object."""
    WITHHOLD = "withhold"
    """Another Job's account has its work: leave it as it is and say so, or give it the next run where that is due."""
    HOLD = "hold"
    """Add the finalizer, before any money is locked: a Job deleted later cannot vanish with its escrow open."""
    FUND = "fund"
    """Create the escrow at the payment service, or record that the Job ended before anything was locked."""
    BIND = "bind"
    """Claim the escrow that the Job names."""
    RESUME = "resume"
    """Write the escrow's id on the Job and resume it."""
    RECORD_ENDING = "record ending"
    """Record how the Job ended; send nothing."""
    REVIEW = "review"
    """It vanished and its end was not seen: neither paying nor disputing is safe."""
    SETTLE = "settle"
    """Release or dispute, or continue what was decided before."""
    CLOSE = "close"
    """The account is closed: remove the finalizers."""


def next_step(job: JobFacts, escrow: Escrow | None, *, auto_release: bool, first: Escrow | None = None) -> Step:
    """The next step for a Job.

    Args:
        job: The Job, with the ending from its Escrow where one is on record: that one never changes.
        escrow: Its Escrow; None where it has none yet.
        auto_release: Whether the completion of a Job releases its escrow.
        first: The account of its work's first run, where that is another Job's and this one has none.
    """
    if escrow is None:
        if job.asks and first is not None and (first.status.run is None or first.status.run.uid != job.uid):
            return Step.FORGET if job.ending else Step.WITHHOLD
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
    # A Job that has ended needs no hold: funding it records the ending and locks nothing.
    if not (job.ending or job.finalizer or job.gone):
        return Step.HOLD
    return Step.FUND if escrow.escrow_id is None else Step.BIND


def _while_funded(job: JobFacts, escrow: Escrow, auto_release: bool) -> Step:
    recorded = escrow.ending is not None
    if escrow.status.intent is not None:  # reopened by a person: what they decided is on record
        return Step.SETTLE
    if job.ending is None and not job.gone:
        if job.waits_for_us:
            return Step.RESUME
        return Step.NOTHING if job.finalizer else Step.HOLD
    # Gone without our finalizer, while no operator watched: it may have completed before it was deleted.
    if job.gone and job.ending in (None, Ending.DELETED) and not recorded:
        return Step.REVIEW
    if job.ending is Ending.COMPLETE and not auto_release:
        return Step.NOTHING if recorded else Step.RECORD_ENDING
    return Step.SETTLE
