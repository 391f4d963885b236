"""What to do next with one escrow: a pure decision over two tables (docs/settlement.md shows their product).

The first table says how a status stands to our intent, the second what follows from that standing and the last
answer on record. Nothing here does I/O, reads a clock or knows of Kubernetes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Intent(StrEnum):
    """The act that a settlement is to bring about. Once recorded, only a manual decision changes it."""

    RELEASE = "release"
    DISPUTE = "dispute"
    CANCEL = "cancel"
    COMPLETE = "complete"
    """The payee's own word that the work is done; moves no money (`server` dialect only)."""


class Outcome(StrEnum):
    """How a settled escrow ended: by the payment service's word, or by a manual decision."""

    PAID = "Paid"
    DISPUTED = "Disputed"
    REFUNDED = "Refunded"
    CANCELLED = "Cancelled"
    COMPLETED = "Completed"


class Seen(StrEnum):
    """What the latest read said of the escrow: its status, or why there is none."""

    LOCKED = "locked"
    COMPLETED = "completed"
    RELEASED = "released"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    UNLISTED = "unlisted"
    """A dialect that only lists: in none of the lists, which proves nothing."""
    NOT_FOUND = "not-found"
    """A dialect that reads one: the service knows no such escrow."""
    DISAGREES = "disagrees"
    """Amount, payee or status word are not what they must be."""
    UNREADABLE = "unreadable"
    """The dialect has no way to read."""
    SILENT = "silent"
    """The service did not answer the read, this time."""


class ActResult(StrEnum):
    """The last answer to our own act, as far as the record goes."""

    NONE = "none"
    """Nothing was sent, or nothing happened (429, no connection)."""
    SENT = "sent"
    """Noted before sending; no answer followed."""
    UNKNOWN = "unknown"
    """Time-out, reset, 5xx, an answer that makes no sense: it may or may not have happened."""
    CONFLICT = "conflict"
    """409: some other status; which one only a read tells."""
    REFUSED = "refused"
    """A final no: 400, 402, 403, 404."""
    ACCEPTED = "accepted"
    """Success with the right content."""


class Standing(StrEnum):
    """How what was seen stands to the intent."""

    GOAL = "goal"
    OPEN = "open"
    OTHER = "other"
    UNLISTED = "unlisted"
    NOT_FOUND = "not-found"
    DISAGREES = "disagrees"
    UNREADABLE = "unreadable"
    SILENT = "silent"


class Action(StrEnum):
    """What the driver does next."""

    ACT = "act"
    SETTLE = "settle"
    WAIT = "wait"
    REVIEW = "review"


class Rule(StrEnum):
    """An entry of the second table: an action, or one that holds only while patience lasts."""

    ACT = "act"
    AGAIN = "act again once none is in flight, review after the last attempt"
    SETTLE = "settle"
    WAIT = "wait"
    READ = "read again, review when patience ends"
    REVIEW = "review"


_G, _O, _X = Standing.GOAL, Standing.OPEN, Standing.OTHER

STANDINGS: Final[dict[Intent, tuple[Standing, ...]]] = {
    # seen:           locked completed released disputed refunded cancelled
    Intent.RELEASE:  (_O,    _O,       _G,      _X,      _X,      _X),
    Intent.DISPUTE:  (_O,    _O,       _X,      _G,      _X,      _X),
    Intent.CANCEL:   (_O,    _O,       _X,      _X,      _G,      _G),
    Intent.COMPLETE: (_O,    _G,       _G,      _X,      _X,      _X),
}  # fmt: skip

_ACT, _AGAIN, _SETTLE, _WAIT, _READ, _REVIEW = Rule.ACT, Rule.AGAIN, Rule.SETTLE, Rule.WAIT, Rule.READ, Rule.REVIEW

RULES: Final[dict[Standing, tuple[Rule, ...]]] = {
    # last answer:         none     sent     unknown  conflict refused  accepted
    Standing.GOAL:       (_SETTLE, _SETTLE, _SETTLE, _SETTLE, _SETTLE, _SETTLE),
    Standing.OPEN:       (_ACT,    _AGAIN,  _AGAIN,  _AGAIN,  _REVIEW, _READ),
    Standing.OTHER:      (_SETTLE, _REVIEW, _REVIEW, _SETTLE, _SETTLE, _REVIEW),
    Standing.UNLISTED:   (_REVIEW, _READ,   _READ,   _REVIEW, _REVIEW, _SETTLE),
    Standing.NOT_FOUND:  (_REVIEW, _REVIEW, _REVIEW, _REVIEW, _REVIEW, _REVIEW),
    Standing.DISAGREES:  (_REVIEW, _REVIEW, _REVIEW, _REVIEW, _REVIEW, _REVIEW),
    Standing.UNREADABLE: (_ACT,    _READ,   _REVIEW, _REVIEW, _REVIEW, _SETTLE),
    Standing.SILENT:     (_WAIT,   _WAIT,   _WAIT,   _WAIT,   _WAIT,   _WAIT),
}  # fmt: skip

STATUSES: Final = (Seen.LOCKED, Seen.COMPLETED, Seen.RELEASED, Seen.DISPUTED, Seen.REFUNDED, Seen.CANCELLED)
"""The columns of `STANDINGS`."""

STILL_OPEN: Final = (Seen.LOCKED, Seen.COMPLETED)
"""Those in which the money is still there to be released or disputed, whatever is intended."""

WANTED: Final = {
    Intent.RELEASE: Seen.RELEASED,
    Intent.DISPUTE: Seen.DISPUTED,
    Intent.CANCEL: Seen.CANCELLED,
    Intent.COMPLETE: Seen.COMPLETED,
}
"""The status that an accepted act leads to."""


def outcome_of(seen: Seen) -> Outcome:
    """Return what a status means for the money, once nothing more will be sent."""
    return Outcome.PAID if seen is Seen.RELEASED else Outcome(seen.value.capitalize())


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision rests on, besides the intent."""

    seen: Seen
    answer: ActResult = ActResult.NONE
    attempts_left: bool = True
    """Fewer acts were sent than the policy allows."""
    patience_left: bool = True
    """The last answer is younger than the policy's patience."""
    in_flight: bool = False
    """Another settler, or one that died, noted an act that may still arrive: a second one would race it."""
    repeat_pays_once: bool = False
    """The service pays an escrow once, however often it is told to release it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next action; `outcome` and `drift` (by another's act) only with SETTLE, `remedy` only with REVIEW."""

    action: Action
    reason: str
    outcome: Outcome | None = None
    drift: bool = False
    remedy: str = ""


def standing(intent: Intent, seen: Seen) -> Standing:
    """How a status stands to the intent; what is not a status stands for itself."""
    return STANDINGS[intent][STATUSES.index(seen)] if seen in STATUSES else Standing(seen.value)


def decide(intent: Intent, facts: Facts) -> Decision:
    """The next action for an escrow; defined for every combination of intent and facts."""
    where = standing(intent, facts.seen)
    match RULES[where][list(ActResult).index(facts.answer)]:
        case Rule.SETTLE:
            return _settled(intent, facts)
        case Rule.ACT:
            return Decision(Action.ACT, f"the escrow is {facts.seen}")
        case Rule.AGAIN if facts.in_flight:
            return Decision(Action.WAIT, "an act without an answer may still arrive")
        case Rule.AGAIN if facts.attempts_left:
            return Decision(Action.ACT, f"the last answer was {facts.answer}, a read says {facts.seen}")
        case Rule.WAIT:
            return Decision(Action.WAIT, "the payment service did not answer the read")
        case Rule.READ if facts.patience_left:
            return Decision(Action.WAIT, f"the last answer was {facts.answer}, a read says {facts.seen}")
    reason, remedy = _for_a_person(intent, where, facts)
    return Decision(Action.REVIEW, reason, remedy=remedy)


def _settled(intent: Intent, facts: Facts) -> Decision:
    goal = outcome_of(WANTED[intent])
    outcome = outcome_of(facts.seen) if facts.seen in STATUSES else goal  # else the direct answer is the service's word
    ours = facts.answer in (ActResult.SENT, ActResult.UNKNOWN, ActResult.ACCEPTED)
    if outcome is not goal:
        reason = f"{intent} was intended, but the escrow was found {facts.seen}"
    elif not ours:
        reason = f"found {facts.seen}, and no {intent} of ours was accepted"
    elif facts.answer is ActResult.ACCEPTED:
        reason = f"{intent} was accepted" + (f" and reads {facts.seen}" if facts.seen in STATUSES else "")
    else:
        reason = f"the answer to {intent} was lost, but the escrow reads {facts.seen}"
    return Decision(Action.SETTLE, reason, outcome, drift=outcome is not goal or not ours)


_LOOK_UP: Final = "Ask the payment service how the escrow stands, then resolve it as that; send nothing before."

_REPEAT: Final = (
    "Retry it before the refund: this server pays an escrow once, however often it is released. One not paid is"
    " paid then; if it answers 500 again the payee has been paid, so resolve it as Paid."
)

_REVIEWS: Final[dict[Standing, tuple[str, str]]] = {
    Standing.NOT_FOUND: (
        "the payment service knows no such escrow",
        "Check the escrow's id, the service's URL and the dialect, then retry.",
    ),
    Standing.UNLISTED: ("the escrow is in none of the service's lists, which proves nothing", _LOOK_UP),
    Standing.DISAGREES: (
        "the escrow is not the one that was agreed on",
        "Compare amount, payee and status in the evidence with what was agreed; then resolve it.",
    ),
    Standing.UNREADABLE: ("this dialect cannot read the escrow, so the outcome stays unknown", _LOOK_UP),
    Standing.OTHER: ("money may have moved twice: both parties' balances need a look", _LOOK_UP),
    Standing.OPEN: (
        "the attempts are used up and the escrow still reads open; a repeated 5xx can mean that the payee was paid",
        _LOOK_UP,
    ),
}


def _for_a_person(intent: Intent, where: Standing, facts: Facts) -> tuple[str, str]:
    """Reason and remedy of a NeedsReview."""
    what = f"{intent}: last answer {facts.answer}, read {facts.seen}: "
    if facts.answer is ActResult.REFUSED and where in (Standing.OPEN, Standing.UNREADABLE):
        return what + "the service refuses the act", "Mend what the service names in the evidence, then retry."
    if facts.answer is ActResult.ACCEPTED and where is Standing.OPEN:
        return what + "the service accepted the act, but the escrow still reads open", _LOOK_UP
    if where is Standing.OTHER and intent is not Intent.RELEASE:
        return what + "another act overtook this one", _LOOK_UP
    reason, remedy = _REVIEWS[where]
    if where is Standing.OPEN and intent is Intent.RELEASE and facts.repeat_pays_once:
        remedy = _REPEAT
    return what + reason, remedy
