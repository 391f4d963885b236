import json
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import AmountError, Permanent
from runtime.money import MAX_MICRO, ZERO, Usdc, loads

amounts = st.integers(0, MAX_MICRO).map(Usdc)


def test_an_amount_is_no_truth_value():
    """Else `amount or default` takes an amount of zero for one that was not given."""
    for amount in (ZERO, Usdc(1)):
        with pytest.raises(TypeError, match="ask `is None`"):
            bool(amount)


@given(amounts)
def test_text_and_json_number_read_back_as_the_same_amount(amount):
    assert Usdc.parse(str(amount)) == amount
    assert Usdc.parse(loads(json.dumps(amount.to_json_number()))) == amount
    assert Usdc.parse(loads(str(amount))) == amount


@given(amounts)
def test_text_is_canonical(amount):
    whole, decimals = str(amount).split(".")
    assert whole == str(int(whole))
    assert 2 <= len(decimals) <= 6
    assert len(decimals) == 2 or not decimals.endswith("0")


@given(amounts, amounts)
def test_adding_and_taking_away_lose_nothing(one, other):
    if one.micro + other.micro <= MAX_MICRO:
        assert one + other - other == one
        assert sum((one, other), ZERO) == one + other
    smaller, larger = sorted((one, other))
    assert smaller + (larger - smaller) == larger
    if smaller < larger:
        with pytest.raises(AmountError):
            smaller - larger


@given(amounts)
def test_fee_and_net_make_up_the_amount_and_the_referral_lies_within_the_fee(amount):
    assert amount.fee() + amount.net() == amount
    assert amount.referral() <= amount.fee()


@given(amounts)
def test_fee_is_one_percent_to_within_one_micro_of_exact_rounding(amount):
    def exact(share, rate):
        return int((Decimal(share.micro) * Decimal(rate)).quantize(Decimal(1), ROUND_HALF_UP))

    assert abs(amount.fee().micro - exact(amount, "0.01")) <= 1
    assert abs(amount.referral().micro - exact(amount.fee(), "0.15")) <= 1


@pytest.mark.parametrize(
    ("amount", "fee", "referral"),
    [  # what JavaScript's parseFloat((amount * 0.01).toFixed(6)) gives, from Node.js
        ("0.10", "0.001", "0.00015"),
        ("1", "0.01", "0.0015"),
        ("100", "1", "0.15"),
        ("0.10045", "0.001004", "0.000151"),  # exact decimals would say 0.001005
        ("1.00005", "0.010001", "0.0015"),
        ("0.78125", "0.007813", "0.001172"),  # a tie in binary too: up, not to the even digit
        ("0.000050", "0.000001", "0"),
        ("0.000049", "0", "0"),
        ("999999999.999999", "10000000", "1500000"),
    ],
)
def test_rounding_is_the_published_servers(amount, fee, referral):
    assert Usdc.parse(amount).fee() == Usdc.parse(fee)
    assert Usdc.parse(amount).referral() == Usdc.parse(referral)


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        True,
        None,
        [],
        b"1",
        -1,
        10**6000,
        "",
        "-0.10",
        "+1",
        "1e3",
        "1_000",
        "1,000",
        " 1",
        "1.",
        ".5",
        "0x1",
        "NaN",
        "inf",
        "٣",
        "0.1000001",
        "1000000000",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-0.1"),
        Decimal("1e-7"),
        Decimal("1e999999999"),
        Decimal("1e-999999999"),
        Decimal("0.1000000000000000000000000000000000001"),
    ],
    ids=lambda value: repr(value) if not isinstance(value, int) or value < 10 else "huge",
)
def test_what_is_not_an_amount_is_refused(value):
    with pytest.raises(AmountError) as caught:
        Usdc.parse(value)
    assert isinstance(caught.value, Permanent)
    assert len(str(caught.value)) < 200


def test_zeros_after_the_sixth_decimal_lose_nothing():
    assert Usdc.parse("0.10000000") == Usdc.parse(Decimal("1e-1")) == Usdc(100_000)
    assert Usdc.parse(Decimal("0e-999999999")) == ZERO


@pytest.mark.parametrize("micro", [1.0, True, "1", -1, MAX_MICRO + 1])
def test_only_whole_bounded_micro_amounts_can_be_made(micro):
    with pytest.raises(AmountError):
        Usdc(micro)


def test_amounts_do_not_mix_with_bare_numbers():
    with pytest.raises(TypeError):
        Usdc(1) + 1
    with pytest.raises(TypeError):
        assert Usdc(1) < 2
    assert Usdc(1) != 1


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[" * 100_000, "9" * 5_000, "", "{", b"\xff"])
def test_json_that_no_one_should_send_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - its text is Python's own
        loads(text)


def test_json_fractions_are_never_floats():
    assert loads('{"amount": 0.1}') == {"amount": Decimal("0.1")}
