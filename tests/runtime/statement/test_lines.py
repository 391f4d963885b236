"""One account, one period, one line: where its money came from and went."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import BadInput
from runtime.statement.lines import AMOUNTS, in_doubt, line_of
from runtime.statement.period import read_period
from runtime.statement.sums import Statement, grouping, shown
from tests.runtime.statement.accounts import NOVEMBER, account, day, paid, until


def money(escrow, period=NOVEMBER) -> dict[str, str]:
    """The amounts of its line that are not zero."""
    line = line_of(escrow, period)
    assert line is not None
    assert line.imbalance == 0
    return {name: shown(getattr(line, name)) for name in (*AMOUNTS, "referral") if getattr(line, name)}


def test_what_was_paid():
    assert money(paid()) == {"locked": "0.100000", "paid": "0.099000", "fee": "0.001000", "referral": "0.000150"}


@pytest.mark.parametrize(
    ("escrow", "expected"),
    [
        (account("Funded", locked="1", locked_at=day(3)), {"locked": "1.000000", "open": "1.000000"}),
        (account("Verifying", locked="1", locked_at=day(3)), {"locked": "1.000000", "open": "1.000000"}),
        (
            account("Settled", outcome="Disputed", locked="1", locked_at=day(3), closed_at=day(4)),
            {"locked": "1.000000", "disputed": "1.000000"},
        ),
        (
            account("NeedsReview", locked="1", locked_at=day(3), closed_at=day(4)),
            {"locked": "1.000000", "review": "1.000000"},
        ),
        (
            account("Settled", outcome="Cancelled", locked="1", locked_at=day(3), closed_at=day(4)),
            {"locked": "1.000000", "refunded": "1.000000"},
        ),
        (
            account("Settled", outcome="Refunded", locked="1", fee="0.01", locked_at=day(3), closed_at=day(4)),
            {"locked": "1.000000", "refunded": "0.990000", "fee": "0.010000", "referral": None},
        ),
        (
            account("Settled", outcome="Refunded", locked="1", locked_at=day(3), closed_at=day(4)),
            {"locked": "1.000000", "unexplained": "1.000000"},  # whether the service kept its fee nobody told
        ),
        (
            account("Settled", outcome="Paid", locked="1", locked_at=day(3), closed_at=day(4)),
            {"locked": "1.000000", "unexplained": "1.000000"},
        ),
    ],
)
def test_where_the_money_of_an_account_is(escrow, expected):
    assert money(escrow) == {name: amount for name, amount in expected.items() if amount}


def test_a_task_of_payroll_counts_as_a_job_does():
    task = account("Settled", kind="Task", outcome="Paid", locked="1", paid="0.99", fee="0.01", closed_at=day(4))
    line = line_of(task, NOVEMBER)
    assert line is not None
    assert (line.kind, line.agent, line.paid) == ("Task", "pf-agent-workers", 990_000)


def test_nothing_is_claimed_of_an_escrow_that_was_never_bound():
    """The second Job that names an escrow is in review; the money is the first one's."""
    assert line_of(account("NeedsReview", closed_at=day(4), payee=None), NOVEMBER) is None
    waiting = account("Pending", spec={"escrowId": None, "amountUsdc": "1"})
    assert (line_of(waiting, NOVEMBER), in_doubt(waiting)) == (None, False)
    sent = {"fingerprint": "f", "sentAt": "2026-11-03T00:00:00Z", "attempts": 1}
    assert in_doubt(account("Pending", spec={"escrowId": None, "amountUsdc": "1"}, creation=sent))


def test_an_unknown_amount_is_in_no_sum_and_is_counted():
    statement = Statement(NOVEMBER, grouping("namespace"))
    for escrow in (paid(), account("Funded", locked_at=day(3))):
        statement.add(line_of(escrow, NOVEMBER))
    assert (statement.total.accounts, statement.total.amounts_unknown, statement.total.locked) == (2, 1, 100_000)


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last():
    escrow = paid(locked_at=day(3, 0), closed_at=day(4, 0))
    assert money(escrow, until(day(4, 0))) == {"locked": "0.100000", "open": "0.100000"}
    assert money(escrow, until(day(5, 0), day(4, 0))) == {
        "opening": "0.100000",
        "paid": "0.099000",
        "fee": "0.001000",
        "referral": "0.000150",
    }
    assert line_of(escrow, until(day(3, 0))) is None
    assert line_of(escrow, until(day(9), day(4, 1))) is None
    later = account("NeedsReview", locked="1", locked_at=day(3), closed_at=day(10))
    assert money(later, until(day(9))) == {"locked": "1.000000", "open": "1.000000"}


def test_what_is_disputed_is_held_in_every_later_period():
    escrow = account("Settled", outcome="Disputed", locked="1", locked_at=day(3), closed_at=day(4))
    assert money(escrow, until(day(20), day(10))) == {"opening": "1.000000", "disputed": "1.000000"}


@given(
    st.lists(
        st.datetimes(datetime(2026, 10, 25), datetime(2026, 12, 5), timezones=st.just(UTC)), min_size=2, max_size=5
    ),
    st.sampled_from(["Paid", "Disputed", "Cancelled", "Refunded", "review", "open", "untold"]),
    st.datetimes(datetime(2026, 10, 26), datetime(2026, 12, 3), timezones=st.just(UTC)),
    st.timedeltas(timedelta(0), timedelta(days=10)),
)
def test_periods_side_by_side_come_to_the_whole(moments, ending, locked_at, took):
    """However time is cut: each period opens with what the one before held, and the flows add up to those of all."""
    facts = {"locked": "0.10045", "locked_at": locked_at} | (
        {} if ending == "open" else {"closed_at": locked_at + took}
    )
    if ending in ("open", "review"):
        escrow = account("Funded" if ending == "open" else "NeedsReview", **facts)
    else:
        told = {"paid": "0.099446", "fee": "0.001004"} if ending == "Paid" else {}
        escrow = account("Settled", outcome="Paid" if ending == "untold" else ending, **facts, **told)
    ends = sorted({*moments, datetime(2027, 1, 1, tzinfo=UTC)})
    whole = line_of(escrow, until(ends[-1]))
    sums, held, since = dict.fromkeys(("locked", "paid", "fee", "refunded"), 0), 0, None
    for end in ends:
        line = line_of(escrow, until(end, since))
        since = end
        if line is None:
            assert held == 0
            continue
        assert line.opening == held
        assert line.imbalance == 0
        held = line.held
        sums = {name: total + getattr(line, name) for name, total in sums.items()}
    assert whole is not None
    assert sums == {name: getattr(whole, name) for name in sums}
    assert held == whole.held


def test_one_micro_usdc_is_a_flaw():
    statement = Statement(NOVEMBER, grouping("namespace"))
    statement.add(line_of(paid(net="0.098999"), NOVEMBER))
    assert len(statement.flaws) == 1
    assert statement.flaws[0].endswith("is held; 0.000001 USDC apart")


def test_groups():
    labels = {"purpleflea.com/agent": "summariser", "topology.kubernetes.io/region": "lhr", "team": "a"}
    line = line_of(paid(labels=labels, namespace="one"), NOVEMBER)
    bare = line_of(paid(), NOVEMBER)
    assert line is not None
    assert bare is not None
    assert grouping("agent,region,label:team,namespace,payee,kind")(line) == "summariser lhr a one payee-1 Job"
    assert grouping("agent,label:team")(bare) == "(none) (none)"
    with pytest.raises(BadInput, match="--by pod: there are account, agent"):
        grouping("agent,pod")


@pytest.mark.parametrize(
    ("words", "since", "until_"),
    [
        ((None, None, "2026-12", "UTC"), "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        # A day of 23 hours, and one of 25.
        (("2026-03-29", "2026-03-30", None, "Europe/Berlin"), "2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"),
        (("2026-10-25", "2026-10-26", None, "Europe/Berlin"), "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00"),
        (
            ("2026-11-01T10:00:00+02:00", "2026-11-02", None, "UTC"),
            "2026-11-01T08:00:00+00:00",
            "2026-11-02T00:00:00+00:00",
        ),
    ],
)
def test_periods_of_a_command_line(words, since, until_):
    period = read_period(*words)
    assert period.since is not None
    assert (period.since.isoformat(), period.until.isoformat()) == (since, until_)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((None, None, "2026-13", "UTC"), "--month 2026-13: expected a month like 2026-11"),
        ((None, None, "2026-1", "UTC"), "--month 2026-1: expected a month like 2026-11"),
        ((None, None, "9999-12", "UTC"), "--month 9999-12: expected a month like 2026-11"),
        ((None, None, "0001-01", "Asia/Tokyo"), "--month 0001-01: expected a month like 2026-11"),
        (("0001-01-01", None, None, "Asia/Tokyo"), "--since 0001-01-01: expected a date like"),
        (("2026-W48", None, None, "UTC"), "--since 2026-W48: expected a date like"),
        ((None, "2026-11-31", None, "UTC"), "--until 2026-11-31: expected a date like"),
        (("2026-11-01", None, "2026-11", "UTC"), "--month is a period of its own"),
        (("last Monday", None, None, "UTC"), "--since last Monday: expected a date like"),
        (("2026-11-02", "2026-11-02", None, "UTC"), "the period is empty"),
        ((None, None, None, "Mars/Olympus"), "--time-zone Mars/Olympus: not in this machine's database"),
        ((None, None, None, "../etc/passwd"), "--time-zone ../etc/passwd"),
    ],
)
def test_periods_that_cannot_be(words, problem):
    with pytest.raises(BadInput, match=problem.replace("..", r"\.\.")):
        read_period(*words)


def test_sums_are_exact_without_a_bound():
    statement = Statement(NOVEMBER, grouping("namespace"))
    for _ in range(3):
        statement.add(line_of(account("Funded", locked="999999999.999999", locked_at=day(3)), NOVEMBER))
    assert shown(statement.total.locked) == "2999999999.999997"
    assert shown(-1) == "-0.000001"
