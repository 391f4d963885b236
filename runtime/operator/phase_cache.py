"""Cache of Escrow phases; skips no-op reconciles.

Only an optimisation: a Job that is not in it is reconciled, and reconciling reads the Escrow itself. So the cache may
know too little at the price of a request. What it must never do is keep an outdated phase that says "nothing to do".
"""

from runtime.contract import Phase
from runtime.kubernetes.escrow import OPEN
from runtime.kubernetes.new_escrow import escrow_name
from runtime.operator.jobs import JobFacts


class PhaseCache:
    """Phases of Escrows by the UIDs of their Jobs, as last seen.

    Settled Escrows only ever become more, so the periodic list leaves them out, and the cache keeps only those whose
    Job still exists: memory is bounded by the work under way.
    """

    def __init__(self) -> None:
        self._phases: dict[str, Phase] = {}
        self._before: dict[str, Phase] = {}
        """What was known before the last list; Settled phases are taken over from here, by `still_there`."""
        self._since: dict[str, Phase] = {}
        """What was noted since the current list began, and may be newer than what the list returns."""
        self._accounts: dict[str, str] = {}
        """Names of open Escrows by the UIDs of their Jobs, where they are not made of the UID."""

    def get(self, uid: str) -> Phase | None:
        """The phase; None where the Escrow is unknown, or was settled before its Job was seen."""
        return self._phases.get(uid)

    def account(self, uid: str) -> str:
        """Name of the Job's Escrow, where it is not made of the UID; empty where none is known."""
        return self._accounts.get(uid, "")

    def note(self, uid: str, phase: Phase, account: str = "") -> None:
        """Remember a phase that a reconciliation read or wrote, and where."""
        self._phases[uid] = self._since[uid] = phase
        self.note_account(uid, account)

    def note_account(self, uid: str, account: str) -> None:
        """Remember the name of an Escrow; it never changes."""
        if account and account != escrow_name(uid):
            self._accounts[uid] = account

    def listing(self) -> None:
        """A list of the Escrows begins: from now on, `note` also keeps what may be newer than the list."""
        self._since = {}

    def listed(self, phases: dict[str, Phase]) -> None:
        """Replace what is known by the phases that the list found."""
        self._before, self._phases = self._phases, phases
        # A page that was read before a settlement closed its Escrow still shows it open; what was noted is newer. Open
        # phases need no such care: one that is too old never says "nothing to do" of a Job that has ended.
        phases.update((uid, phase) for uid, phase in self._since.items() if phase not in OPEN)
        self._accounts = {uid: name for uid, name in self._accounts.items() if uid in phases or uid in self._since}

    def still_there(self, job: JobFacts) -> None:
        """Keep the closed phase of a Job that still exists: the list leaves settled Escrows out."""
        before = self._before.get(job.uid)
        if before is not None and before not in OPEN:
            self._phases.setdefault(job.uid, before)

    def idle(self, job: JobFacts) -> bool:
        """True if reconciling this Job would do nothing, as far as is known; in doubt False."""
        match self.get(
            job.uid
        ):  # an open account concerns us, whatever the Job says: a `replace` takes all of ours off
            case Phase.FUNDED:
                # The same conditions as in `next_step`: it runs, it is held, and it has not ended.
                return job.ending is None and not job.gone and job.finalizer and not job.waits_for_us
            case Phase.SETTLED | Phase.NEEDS_REVIEW:
                return not job.finalizer
            case None if not job.concerned:
                return True
            case None:
                # The annotation spares a new operator one read for every Job that an earlier one settled.
                return job.settled and not job.finalizer
        return False
