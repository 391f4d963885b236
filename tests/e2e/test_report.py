"""The report of `make e2e`, without a cluster: complete, truthful, and whole in a real browser."""

import json
import os
import re
import subprocess
import sys

import pytest

from runtime.money import Usdc
from tests.e2e import __main__ as make_e2e
from tests.e2e import report
from tests.e2e.books import Books
from tests.e2e.checklist import CHECKLIST
from tests.toolchain.browser import browser
from tests.toolchain.tools import Missing

EVIL = "<script>alert(1)</script>"
BOOKS = {"payments": "4", "paid": "0.396", "lost": "0.00", "paid_twice": "0"}


def result(test="tests/test_a.py::test_a", **more):
    given = {"checklist": [], "trial": "", "outcome": "passed", "seconds": 1.0, "reason": "", "seen": [], "figures": []}
    return {**given, "books": [], "test": test, **more}


RESULTS = [
    result(checklist=["K1", "K5"], seen=[["claimed", "1.00 USDC", "K5"], [EVIL, EVIL]], figures=[["memory", "40 MiB"]]),
    result(checklist=["K5"], outcome="skipped", reason="[node] there is no cluster"),
    result(checklist=["K2"], outcome="failed", reason="assert 1 == 2 " + "x" * 200),
    result(checklist=["K3"], outcome="skipped", reason="[node] there is no cluster"),
    result(trial="a full disk", books=[BOOKS], seen=[["refused", "3 times"]]),
    result(trial="a lost node", outcome="failed", reason="not within 60 s: it is ready"),
    result(trial="a clock", outcome="skipped", reason="no libfaketime"),
]


def test_every_item_of_the_checklist_has_a_test_and_no_other():
    text = "".join(file.read_text() for file in make_e2e.files())
    marks = [re.findall(r'"(\w+)"', words) for words in re.findall(r"mark\.checklist\((.*?)\)", text)]
    assert {name for names in marks for name in names} == {*CHECKLIST}


def test_what_did_not_run_is_no_success_and_unknown_money_is_not_zero():
    told = report.document(RESULTS, [["wall", "1 s"]])
    lines = {key: line["result"] for key, line in told["checklist"].items()}
    assert (lines["K1"], lines["K5"], lines["K2"], lines["K3"], lines["K4"]) == (
        "passed", "passed", "failed", "not run", "not run"
    )  # fmt: skip
    assert [len(told["checklist"][key]["tests"][0]["seen"]) for key in ("K1", "K5")] == [1, 2]
    assert told["totals"] == {
        "faults_tried": 2,
        "without_books": 1,
        "payments": 4,
        "paid_usdc": "0.396",
        "lost_usdc": "0.00",
        "paid_twice": 0,
    }
    assert told["figures"] == [["wall", "1 s"], ["memory", "40 MiB"]]
    assert "K5     passed   Faucet init container" in report.text(told)


def test_a_browser_shows_all_of_it_and_nothing_runs_or_is_fetched():
    html = report.page(report.document(RESULTS, [["`make e2e`, wall time", "300 s"]]))
    asked = []
    try:
        with browser() as started:
            page = started.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("dialog", lambda dialog: asked.append(dialog.message))
            for wide in (360, 1280):
                page.set_viewport_size({"width": wide, "height": 800})
                page.set_content(html)
                assert page.evaluate("document.documentElement.scrollWidth") <= wide
            shown = page.locator("body").inner_text()
    except Missing as missing:
        pytest.skip(f"[browser] {missing}")
    assert [url for url in asked if not url.startswith("data:")] == []
    for words in (*CHECKLIST, "1.00 USDC", EVIL, "no test of it was run", "unknown, not zero", "a full disk", "300 s"):
        assert words in shown


def test_a_run_writes_what_its_tests_saw(tmp_path):
    """By the plugin, in a pytest and in its workers."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.e2e.checklist"]\n')
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom runtime.money import Usdc\nfrom tests.e2e.books import Books\n"
        '@pytest.mark.checklist("K1", "K2")\n'
        'def test_sees(seen):\n    seen("paid", 1)\n    seen.figure("size", "1 MB")\n'
        '@pytest.mark.trial("a fault")\n@pytest.mark.opt_in\n'
        "def test_fails(seen):\n    seen.books(Books(1, Usdc(1), Usdc(0), 0))\n    assert 0, 'lost'\n"
        "def test_has_no_mark():\n    pass\n"
    )
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", f"{tmp_path}", f"{tmp_path}"]
    results = tmp_path / "results.json"
    bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    written = subprocess.run(
        [*run, "-p", "xdist", "-n", "1", "--e2e-results", f"{results}"],
        env=bare, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert written.returncode == 1, written.stdout + written.stderr
    sees, fails = sorted(json.loads(results.read_text()), key=lambda one: one["trial"])
    assert (sees["checklist"], sees["seen"], sees["figures"]) == (["K1", "K2"], [["paid", "1"]], [["size", "1 MB"]])
    assert (fails["trial"], fails["outcome"], fails["books"]) == (
        "a fault",
        "failed",
        [{"payments": "1", "paid": "0.000001", "lost": "0.00", "paid_twice": "0"}],
    )
    assert "lost" in fails["reason"]
    without = subprocess.run(run, env=bare, check=False, capture_output=True, text=True)
    assert "2 passed, 1 skipped" in without.stdout, "it is opt-in"


def test_books_tell_what_was_lost_and_paid_twice():
    def escrow(payee, status):
        return {"to": payee, "status": status, "locked_usdc": "0.10", "paid_usdc": "0.099"}

    ends = {"once": ["released"], "twice": ["released"] * 2, "never": ["disputed"], "stranded": ["released", "funded"]}
    ends |= {"returned": ["released", "cancelled"]}
    entries = [escrow(payee, status) for payee, statuses in ends.items() for status in statuses]
    statement = {"balanced": True, "findings": [], "escrows": [*entries, escrow("another's", "released")]}
    owed = dict.fromkeys([*ends, "unheard of"], "0.10")
    assert Books.of(statement, owed) == Books(5, Usdc.parse("0.495"), Usdc.parse("0.30"), 1)
