"""What may be told of the queue: unknown is not zero, and one zero is not enough."""

import pytest

from runtime.metrics_server.custom_metrics import quantity
from runtime.metrics_server.reading import MOST, MOST_GROUPS, Groups, Reading, Readings, Unknown
from runtime.metrics_server.selectors import MalformedSelector, parse


class World:
    """Readings on a clock of our own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.readings = Readings(30, lambda: self.now)

    def took(self, under_way: int = 0, /, **counts: int) -> None:
        groups = Groups()
        for payee, count in counts.items():
            groups.add({"payee": payee}, count * 100_000, 500.0, count)
        self.readings.took(Reading(self.now, self.now, groups, under_way))

    def one(self, micro: int | None, since: float | None) -> None:
        groups = Groups()
        groups.add({}, micro, since)
        self.readings.took(Reading(self.now, self.now, groups))

    def depth(self, selector: str = "") -> int | None:
        try:
            return self.readings.figures(parse(selector) if selector else None).depth
        except Unknown:
            return None


def test_a_zero_is_told_when_it_was_read_twice_in_a_row():
    world = World()
    assert world.depth() is None
    world.took()
    assert (world.depth(), world.readings.wants_confirmation) == (None, True)
    world.took()
    assert (world.depth(), world.readings.wants_confirmation) == (0, False)


def test_until_then_the_last_depth_holds():
    world = World()
    world.took(a=7)
    world.now += 15
    world.took()
    assert world.depth() == 7, "read by one reading only"
    world.now += 15.1
    assert world.depth() is None, "and no longer than it is fresh"
    world.took()
    assert world.depth() == 0


def test_two_zeros_around_a_failure_are_not_two_in_a_row():
    world = World()
    world.took()
    world.readings.failed("503")
    world.took()
    assert world.depth() is None
    world.took()
    assert world.depth() == 0
    world.readings.failed("503")
    assert world.depth() is None, "the service does not answer: it is not known whether still nothing waits"


def test_a_depth_holds_over_failures_for_half_a_minute():
    world = World()
    world.took(a=3)
    world.readings.failed("503")
    world.now += 30
    assert world.depth() == 3
    world.now += 0.1
    with pytest.raises(Unknown, match="30 s old: 503"):
        world.readings.figures()


def test_what_is_under_way_keeps_its_worker():
    world = World()
    for _ in range(3):
        world.took(2)
    assert world.depth() == 2
    with pytest.raises(Unknown):
        quantity(world.readings.figures(), "escrow_queue_value_usdc")
    world.took()
    assert world.depth() == 2, "the reading before had some"
    world.took()
    assert world.depth() == 0


def test_selectors_have_their_own_zeros():
    world = World()
    world.took(a=1, b=2)
    assert (world.depth("payee=a"), world.depth("payee=c")) == (1, None)
    world.took(b=2)
    assert (world.depth("payee=a"), world.depth("payee=b"), world.depth("payee=c")) == (1, 2, 0)
    world.took(b=2)
    assert (world.depth("payee=a"), world.depth("payee!=a"), world.depth()) == (0, 2, 2)


def test_figures_are_bounded_and_never_null():
    world = World()
    world.took(a=10**7)
    assert world.depth() == MOST
    assert MOST * 1000 < 2**31, "replicas wanted at a target of 0.001"
    figures = world.readings.figures()
    assert quantity(figures, "escrow_queue_value_usdc") == "1000000"
    assert quantity(figures, "escrow_queue_oldest_seconds") == "500"
    world.one(None, None)
    for metric in ("escrow_queue_value_usdc", "escrow_queue_oldest_seconds"):
        with pytest.raises(Unknown):
            quantity(world.readings.figures(), metric)


def test_so_many_sets_of_labels_are_counted_as_a_whole_only():
    """A hundred thousand payees would take more memory than the server may have."""
    world = World()
    world.took(**{f"payee-{number}": 1 for number in range(MOST_GROUPS)})
    assert (world.depth(), world.depth("payee=payee-1")) == (MOST_GROUPS, 1)
    world.took(**{f"payee-{number}": 1 for number in range(MOST_GROUPS + 1)})
    assert (world.depth(), world.depth("payee=payee-1")) == (MOST_GROUPS + 1, None)


@pytest.mark.parametrize(("micro", "text"), [(1_500_000, "1500m"), (100_001, "100001u"), (0, "0"), (2_000_000, "2")])
def test_amounts_are_written_as_quantities(micro, text):
    world = World()
    world.one(micro, 1.0)
    assert quantity(world.readings.figures(), "escrow_queue_value_usdc") == text


LABELS = {"payee": "a", "team": "x", "size": "7"}


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ("payee=a", True),
        ("payee==a,team!=y", True),
        ("payee in (b, a)", True),
        ("payee notin (a)", False),
        ("other notin (a)", True),
        ("team,!other", True),
        ("!team", False),
        ("size>6,size<8", True),
        ("team>6", False),
        ("other!=a", True),
        ("other=", False),
        (" team = x ", True),
    ],
)
def test_selectors_are_kubernetes(selector, selects):
    assert parse(selector)(LABELS) is selects


@pytest.mark.parametrize(
    "selector",
    [
        "a=b=c",
        "=a",
        "a in b",
        "a in (b",
        "a,",
        ",",
        "a b",
        "a in (ä)",
        "a>x",
        "-a",
        "a;b",
        "a" * 5000,
        " " * 4000 + "(",
    ],
)
def test_malformed_selectors_are_refused(selector):
    with pytest.raises(MalformedSelector):
        parse(selector)
