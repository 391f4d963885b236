"""The decision: defined for every combination, and never a step that could move money twice."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.settlement.table import (
    RULES,
    STATUSES,
    WANTED,
    Action,
    ActResult,
    Facts,
    Intent,
    Outcome,
    Seen,
    Standing,
    decide,
    outcome_of,
    standing,
)

DOC = Path(__file__).parents[2] / "docs" / "settlement.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

COMBINATIONS = [
    (intent, Facts(seen, answer, attempts, patience))
    for intent, seen, answer, attempts, patience in itertools.product(
        Intent, Seen, ActResult, (True, False), (True, False)
    )
]
DOUBTFUL = (ActResult.SENT, ActResult.UNKNOWN, ActResult.CONFLICT)


def having(*, action: Action):
    return [(intent, facts) for intent, facts in COMBINATIONS if decide(intent, facts).action is action]


def test_every_combination_has_one_action_and_says_why():
    for intent, facts in COMBINATIONS:
        decision = decide(intent, facts)
        assert decision.reason
        assert (decision.outcome is not None) == (decision.action is Action.SETTLE)
        assert bool(decision.remedy) == (decision.action is Action.REVIEW)


def test_nothing_is_sent_again_after_a_doubtful_answer_without_a_read_that_says_open():
    acts = having(action=Action.ACT)
    assert acts
    for _, facts in acts:
        if facts.answer is not ActResult.NONE:
            assert facts.seen in (Seen.LOCKED, Seen.COMPLETED)
            assert facts.attempts_left


def test_nothing_is_sent_while_an_act_may_still_arrive():
    for intent, facts in COMBINATIONS:
        if facts.answer in (ActResult.SENT, ActResult.UNKNOWN):
            assert decide(intent, replace(facts, in_flight=True)).action is not Action.ACT


def test_nothing_is_sent_after_a_yes_or_a_final_no():
    assert not [
        facts for _, facts in having(action=Action.ACT) if facts.answer in (ActResult.ACCEPTED, ActResult.REFUSED)
    ]


def test_nothing_is_sent_to_an_escrow_that_has_ended():
    ended = (Seen.RELEASED, Seen.DISPUTED, Seen.REFUNDED, Seen.CANCELLED)
    assert not [facts for _, facts in having(action=Action.ACT) if facts.seen in ended]


def test_settled_rests_on_the_services_word_alone():
    for intent, facts in having(action=Action.SETTLE):
        outcome = decide(intent, facts).outcome
        if facts.seen in STATUSES:
            assert outcome.value.lower() == {"released": "paid"}.get(facts.seen.value, facts.seen.value)
        else:
            assert facts.answer is ActResult.ACCEPTED
            assert outcome is outcome_of(WANTED[intent])


def test_a_conflict_counts_as_paid_only_once_a_read_says_released():
    for seen, left in itertools.product(Seen, (True, False)):
        facts = Facts(seen, ActResult.CONFLICT, left, left)
        paid = decide(Intent.RELEASE, facts).outcome is Outcome.PAID
        assert paid == (facts.seen is Seen.RELEASED)


def test_a_release_of_unknown_outcome_that_reads_refunded_is_for_a_person():
    for seen in (Seen.REFUNDED, Seen.DISPUTED, Seen.CANCELLED):
        assert decide(Intent.RELEASE, Facts(seen, ActResult.UNKNOWN)).action is Action.REVIEW


@pytest.mark.parametrize("answer", ActResult)
def test_only_a_silent_service_is_waited_for_without_end(answer):
    for intent, seen in itertools.product(Intent, Seen):
        action = decide(intent, Facts(seen, answer, attempts_left=False, patience_left=False)).action
        if answer is ActResult.NONE and action is Action.ACT:
            continue  # nothing was sent so far: this act is the first one
        assert action is (Action.WAIT if seen is Seen.SILENT else action)
        assert action is not Action.ACT
        assert action is not Action.WAIT or seen is Seen.SILENT


def cell(intent, where, answer) -> str:
    """One cell: the action, what follows when attempts and patience are used up, and the outcome."""
    seen = next(s for s in Seen if standing(intent, s) is where)
    first, last = (decide(intent, Facts(seen, answer, left, left)).action.value for left in (True, False))
    return first if first == last else f"{first}, then {last}"


def tables() -> str:
    """The document's two tables, from the code."""
    lines = ["| intent | " + " | ".join(STATUSES) + " |", "|---" * (len(STATUSES) + 1) + "|"]
    lines += [f"| {intent} | " + " | ".join(standing(intent, seen) for seen in STATUSES) + " |" for intent in Intent]
    lines += ["", "| standing | " + " | ".join(ActResult) + " |", "|---" * (len(ActResult) + 1) + "|"]
    lines += [
        f"| {where} | " + " | ".join(cell(Intent.RELEASE, where, answer) for answer in ActResult) + " |"
        for where in RULES
    ]
    return "\n".join(lines) + "\n"


def test_a_cell_does_not_depend_on_which_intent_or_status_led_to_its_standing():
    for where, answer, left in itertools.product(Standing, ActResult, (True, False)):
        actions = {
            decide(intent, Facts(seen, answer, left, left)).action
            for intent, seen in itertools.product(Intent, Seen)
            if standing(intent, seen) is where
        }
        assert len(actions) == 1


def test_the_document_shows_the_table_that_the_code_follows():
    shown = DOC.read_text().split(BEGIN)[1].split(END)[0]
    assert shown == tables(), f"replace the part between the markers of {DOC.name} by:\n{tables()}"
