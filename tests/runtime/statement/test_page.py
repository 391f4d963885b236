"""The page, in a real Chromium: whole, readable on a phone, on paper, with nothing from elsewhere."""

from datetime import UTC, datetime

import pytest

from runtime.statement.page import MOST, Page
from runtime.statement.period import Period
from tests.runtime.statement.accounts import NOVEMBER, account, day, of_every_kind, paid, statement_of
from tests.toolchain import tools
from tests.toolchain.browser import browser

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
EVIL = "<script>document.title = 'evil'</script>"


@pytest.fixture(scope="module")
def chromium():
    try:
        with browser() as started:
            yield started
    except tools.Missing as missing:
        pytest.skip(f"[browser] {missing}")


@pytest.fixture
def opened(chromium):
    """Shows a page in a window of that size; what it asked for and complained of is in its lists."""
    contexts = []

    def show(html, viewport):
        context = chromium.new_context(viewport=viewport)
        contexts.append(context)
        tab = context.new_page()
        tab.asked, tab.complaints = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(f"{error}"))
        tab.set_content(html)
        return tab

    yield show
    for context in contexts:
        context.close()


def page(escrows, by="agent"):
    return statement_of(escrows, NOVEMBER, by, Page)


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_it_shows_the_sums_and_fits_the_window(opened, viewport):
    statement, html = page([*of_every_kind(), paid(payee=EVIL, namespace=EVIL)])
    tab = opened(html, viewport)
    assert tab.inner_text(".chip") == "adds up"
    assert tab.title() == "Statement · Purple Flea"
    totals = dict(
        zip(tab.locator(".totals dt").all_inner_texts(), tab.locator(".totals dd").all_inner_texts(), strict=True)
    )
    assert totals["paid"] == f"{statement.total.paid / 10**6:.6f}"
    assert tab.locator(".total").is_visible()
    wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "nothing has to be scrolled sideways"
    assert tab.locator("svg rect").count() >= 3
    assert (tab.asked, tab.complaints) == ([], [])


def test_a_time_without_a_payment_has_its_place():
    _, html = page([paid(closed_at=day(4)), paid(closed_at=day(8))])
    assert [f"<title>2026-11-{number:02}: " in html for number in range(3, 10)] == [False, *[True] * 5, False]
    august = datetime(2026, 8, 1, tzinfo=UTC)
    _, html = statement_of([paid(locked_at=august, closed_at=august), paid()], Period(None, None), make=Page)
    assert "<title>2026-09: 0.000000" in html


def test_what_nobody_told_is_no_zero(opened):
    """A phone leaves out zeros."""
    tab = opened(page([paid(referral=None)])[1], PHONE)
    assert not tab.locator(".total [data-label=refunded]").is_visible()
    assert tab.locator(".total [data-label=referral]").is_visible()
    assert tab.inner_text(".total [data-label=referral]") == "0.000000+1?"


def test_what_does_not_add_up_comes_first(opened):
    _, html = page([paid(), paid(net="0.098999")])
    tab = opened(html, DESK)
    assert tab.inner_text(".chip") == "does not add up"
    assert "0.000001 USDC apart" in tab.inner_text(".problems li")


def test_it_prints_on_a4(opened):
    """As a table: paper is as narrow as a tablet, and must not be taken for a phone."""
    _, html = page([*of_every_kind(), *(paid(labels={"purpleflea.com/agent": f"agent-{n}"}) for n in range(30))])
    tab = opened(html, {"width": 703, "height": 1032})
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.querySelector('.total')).display") == "table-row"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 703
    printed = tab.pdf(prefer_css_page_size=True)
    assert b"/MediaBox [0 0 594.95996 841.91998]" in printed or b"/MediaBox [0 0 595 842]" in printed
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type/Page\n") <= 2


def test_many_accounts_are_summed_up(opened):
    many = [paid(namespace=f"n-{number}") for number in range(MOST + 20)]
    many += [account("Funded", locked="1", locked_at=day(3)) for _ in range(MOST + 5)]
    statement, html = page(many, by="namespace")
    tab = opened(html, DESK)
    assert len(html) < 200_000
    assert "all others" in tab.inner_text("tbody")
    assert "and 5 more, none of them larger" in tab.inner_text("body")
    assert tab.inner_text(".total td >> nth=0") == f"{statement.total.accounts}"
