"""The arithmetic of a Budget: never more than a limit, each step once however often it is done."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.contract import MOST_IN_FLIGHT, MOST_NAMES
from runtime.kubernetes.budget import BUDGET, BUSY, Book
from runtime.kubernetes.escrow import Reservation
from runtime.kubernetes.limits import Limit, Limits, Refusal
from runtime.money import ZERO, Usdc

DAY, NOW = "2026-11-27", datetime(2026, 11, 27, 12, tzinfo=UTC)
ONE = Usdc.parse("1.00")
NAMESPACE = Limits(namespace=Limit(locked=Usdc.parse("2.00"), daily=Usdc.parse("3.00")))


def wanted(number: object, amount: Usdc = ONE, *, agent: str = "a", payee: str = "p", day: str = DAY) -> Reservation:
    return Reservation(id=f"id-{number}", amount_usdc=amount, day=day, agent=agent, payee=payee)


def book(day: str = DAY) -> Book:
    made = Book()
    made.begin(day)
    return made


def refused(found: object) -> str:
    assert isinstance(found, Refusal)
    return found.message


def test_what_is_reserved_twice_is_reserved_once():
    made = book()
    first = made.reserve("e", wanted(1), NAMESPACE, NOW)
    assert made.reserve("e", wanted(2), NAMESPACE, NOW) == first
    assert made.total.locked_usdc == ONE
    made.confirm("e", "id-1")
    made.confirm("e", "id-1")
    assert made.total.locked_usdc == ONE
    assert not made.pending


def test_what_another_attempt_reserved_beside_it_is_taken_back():
    made = book()
    made.reserve("e", wanted("late"), NAMESPACE, NOW)
    made.confirm("e", "id-of-the-escrow")
    assert made.total.locked_usdc == made.total.spent_usdc == ZERO


def test_what_is_released_or_given_back_twice_is_so_once():
    made = book()
    for name in ("released", "settled"):
        made.reserve(name, wanted(name), NAMESPACE, NOW)
    for _ in range(2):
        made.release("released")
        assert made.give_back("settled", wanted("settled"))
    assert made.total.locked_usdc == ZERO
    assert made.total.spent_usdc == ONE, "what was locked that day was spent, what never was is not"
    made.forget("settled")
    assert not made.returned


def test_a_new_day_begins_with_nothing_spent_and_what_is_locked_stays():
    made = book()
    made.reserve("e", wanted(1), NAMESPACE, NOW)
    made.begin("2026-11-28")
    assert (made.total.locked_usdc, made.total.spent_usdc) == (ONE, ZERO)
    made.release("e")
    assert (made.total.locked_usdc, made.total.spent_usdc) == (ZERO, ZERO), "it was spent on another day"
    made.begin(DAY)
    assert made.day == "2026-11-28", "a clock that is behind brings no day back"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(namespace=Limit(locked=ONE)), "1.00 that the namespace may have locked at one time"),
        (Limits(namespace=Limit(daily=ONE)), "1.00 a day of the namespace"),
        (Limits(agent=Limit(locked=ONE)), "1.00 that agent a may have"),
        (Limits(agent=Limit(daily=ONE)), "1.00 a day of agent a"),
        (Limits(payee=Limit(locked=ONE)), "1.00 that payee p may have"),
        (Limits(payee=Limit(daily=ONE)), "1.00 a day of payee p"),
    ],
)
def test_each_limit_bounds_and_says_which_it_is(limits, words):
    made = book()
    assert isinstance(made.reserve("fits", wanted(1), limits, NOW), Reservation)
    before = made.copy()
    assert words in refused(made.reserve("too much", wanted(2, Usdc(1)), limits, NOW))
    assert made == before, "what is refused changes nothing"
    if limits.namespace.is_set:
        return
    other = wanted(3, agent="b", payee="q")
    assert isinstance(made.reserve("another's", other, limits, NOW), Reservation)


def test_what_is_in_flight_is_bounded_and_so_are_the_lines():
    made, wide = book(), Limits(namespace=Limit(locked=Usdc.parse("999999")))
    for number in range(MOST_IN_FLIGHT):
        made.reserve(f"e-{number}", wanted(number), wide, NOW)
    busy = made.reserve("one more", wanted("more"), wide, NOW)
    assert isinstance(busy, Refusal)
    assert busy.reason == BUSY
    for number in range(MOST_IN_FLIGHT):
        assert made.give_back(f"e-{number}", wanted(number))
    assert not made.give_back("one more", wanted("more")), "come back once something is forgotten"
    full = book()
    for number in range(MOST_NAMES):
        full.reserve("e", wanted(number, payee=f"p-{number}"), wide, NOW)
        full.confirm("e", f"id-{number}")
    assert f"{MOST_NAMES} payees" in refused(full.reserve("e", wanted("new", payee="new"), wide, NOW))
    full.begin("2026-11-28")
    full.give_back("p-0", wanted(0, payee="p-0"))
    assert isinstance(full.reserve("e", wanted("new", payee="new", day="2026-11-28"), wide, NOW), Reservation)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_an_edit_by_hand_never_makes_it_negative(locked, returned):
    made = book()
    made.reserve("e", wanted(1, Usdc(locked)), Limits(), NOW)
    made.give_back("e", wanted(1, Usdc(returned)))
    assert made.total.locked_usdc == Usdc(max(0, locked - returned))


@pytest.mark.parametrize(
    ("zone", "day"), [("Etc/UTC", "2026-11-27"), ("Asia/Tokyo", "2026-11-28"), ("America/New_York", "2026-11-27")]
)
def test_a_day_is_the_time_zones(zone, day):
    assert Limits(zone=ZoneInfo(zone)).day(datetime(2026, 11, 27, 16, 30, tzinfo=UTC)) == day


def test_a_recount_sets_what_is_locked_and_leaves_what_was_spent():
    made, counted = book(), Book()
    for name, agent in (("kept", "a"), ("deleted", "b")):
        made.reserve(name, wanted(name, agent=agent), NAMESPACE, NOW)
        made.confirm(name, f"id-{name}")
    counted.add(wanted("kept", agent="a"))
    counted.add(wanted("unknown", agent="c"))
    made.recount(counted)
    assert (made.total.locked_usdc, made.total.spent_usdc) == (Usdc.parse("2.00"), Usdc.parse("2.00"))
    assert {name: str(line.locked_usdc) for name, line in made.agents.items()} == {
        "a": "1.00",
        "b": "0.00",
        "c": "1.00",
    }


def test_it_is_written_and_read_as_it_is():
    made = book()
    for number in range(3):
        made.reserve(f"e-{number}", wanted(number, agent=f"a-{number}", payee=""), NAMESPACE, NOW)
    made.give_back("e-0", wanted(0, agent="a-0", payee=""))
    status = made.status(NAMESPACE)
    assert (status["limitUsdc"], status["leftUsdc"]) == ("2.00", "1.00")
    assert (status["dailyLimitUsdc"], status["leftTodayUsdc"]) == ("3.00", "1.00")
    read = BUDGET.read(msgspec.json.encode({"metadata": {"name": "pf-budget"}, "status": status}))
    assert Book.of(read.status) == made
    assert read.status is not None
    assert book() == Book.of(BUDGET.read(msgspec.json.encode({"metadata": {}, "status": {"day": DAY}})).status)


class Flow(RuleBasedStateMachine):
    """Escrows in any order through a book that is read and written each time; the sums are those of a plain list."""

    LIMITS = Limits(
        namespace=Limit(locked=Usdc(100), daily=Usdc(300)), agent=Limit(locked=Usdc(60)), payee=Limit(daily=Usdc(150))
    )

    def __init__(self) -> None:
        super().__init__()
        self.book = book()
        self.held: dict[str, Reservation] = {}
        self.spent: list[Reservation] = []
        self.count = 0

    @rule(amount=st.integers(1, 60), agent=st.sampled_from("ab"), payee=st.sampled_from("pqr"))
    def reserve(self, amount, agent, payee):
        self.count += 1
        one = wanted(self.count, Usdc(amount), agent=agent, payee=payee)
        if isinstance(self.book.reserve(f"e-{self.count}", one, self.LIMITS, NOW), Reservation):
            self.held[f"e-{self.count}"] = one
            self.spent.append(one)

    @precondition(lambda self: self.held)
    @rule(n=st.integers(0, 99))
    def settle(self, n):
        name = list(self.held)[n % len(self.held)]
        one = self.held.pop(name)
        self.book.give_back(name, one)
        if n % 2:
            self.book.forget(name)

    @precondition(lambda self: self.book.pending)
    @rule(n=st.integers(0, 99))
    def confirm_or_release(self, n):
        name = list(self.book.pending)[n % len(self.book.pending)]
        if n % 2:
            self.book.confirm(name, self.held[name].id)
        else:
            self.book.release(name)
            self.spent.remove(self.held.pop(name))

    @rule()
    def write_and_read(self):
        self.book = Book.of(
            BUDGET.read(msgspec.json.encode({"metadata": {}, "status": self.book.status(self.LIMITS)})).status
        )

    @invariant()
    def the_sums_are_right_and_within_the_limits(self):
        def total(found, **of):
            return sum(
                one.amount_usdc.micro for one in found if all(getattr(one, key) == value for key, value in of.items())
            )

        assert self.book.total.locked_usdc.micro == total(self.held.values()) <= 100
        assert self.book.total.spent_usdc.micro == total(self.spent) <= 300
        for agent in "ab":
            line = self.book.agents.get(agent)
            assert (line.locked_usdc.micro if line else 0) == total(self.held.values(), agent=agent) <= 60
        for payee in "pqr":
            line = self.book.payees.get(payee)
            assert (line.spent_usdc.micro if line else 0) == total(self.spent, payee=payee) <= 150


TestFlow = Flow.TestCase
