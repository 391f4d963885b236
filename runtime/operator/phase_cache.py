"""What is known of Escrows without a look at them: it only spares looks that would find nothing to do."""

from runtime.contract import Phase
from runtime.kubernetes.escrow import OPEN
from runtime.operator.jobs import JobFacts


class PhaseCache:
    """Phases of Escrows by the UIDs of their Jobs, as last seen.

    Settled ones only ever become more, so a list leaves them out, and of these only those are kept whose Job is still
    there: memory is bounded by what is under way.
    """

    def __init__(self) -> None:
        self._phases: dict[str, Phase] = {}
        self._before: dict[str, Phase] = {}
        self._since: dict[str, Phase] = {}

    def get(self, uid: str) -> Phase | None:
        """The phase; None of an Escrow that is not known, or was settled before its Job was seen."""
        return self._phases.get(uid)

    def note(self, uid: str, phase: Phase) -> None:
        """Take what a look saw or wrote."""
        self._phases[uid] = self._since[uid] = phase

    def listing(self) -> None:
        """Say that a list of the Escrows begins."""
        self._since = {}

    def listed(self, phases: dict[str, Phase]) -> None:
        """Take over what the list found, except where it is older than an end that was noted since it began."""
        self._before, self._phases = self._phases, phases
        phases.update((uid, phase) for uid, phase in self._since.items() if phase not in OPEN)

    def still_there(self, job: JobFacts) -> None:
        """Keep what was known of a Job that the list of the Jobs has."""
        before = self._before.get(job.uid)
        if before is not None and before not in OPEN:
            self._phases.setdefault(job.uid, before)

    def idle(self, job: JobFacts) -> bool:
        """Whether a look at this Job would find nothing to do, as far as is known."""
        if not job.concerned:
            return True
        match self.get(job.uid):
            case Phase.FUNDED:
                return job.ending is None and not job.gone and job.finalizer and not job.waits_for_us
            case Phase.SETTLED | Phase.NEEDS_REVIEW:
                return not job.finalizer
            case None:
                return job.settled and not job.finalizer
        return False
